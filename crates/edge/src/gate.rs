//! The host gate: `Host`, parsed once, decides whose door this is. Nothing else does: no path, query, body or other
//! header. A request whose host is doubled, missing, or contradicts an absolute request line is refused.

use crate::{Edge, Kind, Problem, context::Here};
use actix_web::{
    HttpMessage, HttpRequest,
    http::{Method, header},
};
use portero_kernel::{HostName, Place, Subdomain};
use portero_registry::TenantStatus;

/// The host that the client asked for, in its one spelling.
#[derive(Debug, Clone)]
pub struct Host(pub HostName);

/// Which hosts a process answers for. The others are another process's, on the same registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doors {
    /// The apex and the tenants'.
    All,
    /// The apex: the control plane.
    Apex,
    /// The tenants': the router.
    Tenants,
}

impl Doors {
    /// Whether the apex is answered for.
    #[must_use]
    pub const fn has_apex(self) -> bool {
        !matches!(self, Self::Tenants)
    }

    /// Whether the tenants' hosts are.
    #[must_use]
    pub const fn has_tenants(self) -> bool {
        !matches!(self, Self::Apex)
    }

    /// What is answered for a host that another process has.
    #[must_use]
    pub fn not_here(self) -> Problem {
        let (other, this) = if self.has_apex() { ("router", "control") } else { ("control", "router") };
        Problem::new(Kind::NotServedHere).detail(format!(
            "this process was started with --only {this}: this host is for one with --only {other}, or without it"
        ))
    }
}

/// Where the stylesheet and its like are, the same on every host.
pub(crate) const STATIC: &str = "/static/";

/// Reads the host and notes in the request whose door it stands at.
///
/// # Errors
/// [`Kind::HostInvalid`], [`Kind::NotServedHere`], [`Kind::TenantNotFound`], [`Kind::TenantMoved`], or the state of the
/// tenant.
pub(crate) fn open(edge: &Edge, request: &HttpRequest) -> Result<(), Problem> {
    match place(edge, request) {
        Ok(here) => {
            request.extensions_mut().insert(here);
            Ok(())
        }
        // What a page of refusal looks like is nobody's secret, and nobody's data.
        Err(_) if request.path().starts_with(STATIC) => Ok(()),
        Err(problem) => Err(problem),
    }
}

/// Lets a request wait for its tenant's migration, for as long as the settings say, and opens again.
///
/// # Errors
/// As [`open`]; [`Kind::TenantUpgrading`] where it waited in vain.
pub(crate) async fn hold(edge: &Edge, request: &HttpRequest) -> Result<(), Problem> {
    let host = request.extensions().get::<Host>().map(|host| host.0.place(&edge.site.apex));
    if let Some(Place::Tenant(subdomain)) = host
        && let Some(route) = edge.router.lookup(&subdomain)
    {
        edge.router.hold(route.tenant).await;
    }
    open(edge, request)
}

fn place(edge: &Edge, request: &HttpRequest) -> Result<Here, Problem> {
    let host = read_host(request)?;
    let place = host.place(&edge.site.apex);
    request.extensions_mut().insert(Host(host));
    match place {
        Place::Apex if edge.doors.has_apex() => Ok(Here::Apex),
        Place::Tenant(_) if !edge.doors.has_tenants() => Err(edge.doors.not_here()),
        Place::Apex => Err(edge.doors.not_here()),
        Place::Elsewhere => Err(Problem::new(Kind::TenantNotFound)),
        Place::Tenant(subdomain) => {
            let Some(route) = edge.router.lookup(&subdomain) else {
                return Err(nobody(edge, request, &subdomain));
            };
            match route.status {
                TenantStatus::Active if edge.router.serves(&route) => Ok(Here::Tenant(route)),
                TenantStatus::Active => Err(Problem::new(Kind::TenantUpgrading)),
                TenantStatus::Provisioning => Err(Problem::new(Kind::TenantProvisioning)),
                TenantStatus::Paused => Err(Problem::new(Kind::TenantPaused)),
                TenantStatus::Deleting | TenantStatus::Deleted | TenantStatus::Purging => {
                    Err(Problem::new(Kind::TenantDeleted))
                }
            }
        }
    }
}

/// Nobody has the name; whoever gave it up not long ago is at another. Reading is led there, path and query and all. What
/// might change something is not: its body and its credentials were meant for this host, so its sender decides.
fn nobody(edge: &Edge, request: &HttpRequest, subdomain: &Subdomain) -> Problem {
    let Some(route) = edge.router.moved(subdomain) else {
        return Problem::new(Kind::TenantNotFound);
    };
    let url = edge.site.tenant_url(&route.subdomain);
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        // Of an absolute request line these two alone: the host was the old one's.
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let way = if path.starts_with('/') { format!("{url}{path}") } else { format!("{url}/") };
        return Problem::new(Kind::TenantMoved).to(way);
    }
    Problem::new(Kind::TenantMoved).detail(format!("It is at {url} now: send this there"))
}

fn read_host(request: &HttpRequest) -> Result<HostName, Problem> {
    let refuse = |why: &str| Problem::new(Kind::HostInvalid).detail(why);
    let mut hosts = request.headers().get_all(header::HOST);
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(refuse("exactly one Host header is needed"));
    };
    let host = host.to_str().map_err(|_| refuse("the host is not a DNS name"))?;
    let name = HostName::parse(host).map_err(|error| refuse(&error.to_string()))?;
    // RFC 9112, 3.2.2: an absolute request line carries a host of its own.
    if let Some(authority) = request.uri().authority() {
        let same = HostName::parse(authority.as_str()).is_ok_and(|other| other == name);
        if !same {
            return Err(refuse("the request line and the Host header name different hosts"));
        }
    }
    Ok(name)
}
