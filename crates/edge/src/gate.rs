//! The host gate: `Host`, parsed once, decides whose door this is. Nothing else does: no path, query, body or other
//! header. A request whose host is doubled, missing, or contradicts an absolute request line is refused.

use crate::{Edge, Kind, Problem, context::Here};
use actix_web::{HttpMessage, HttpRequest, http::header};
use portero_kernel::{HostName, Place};
use portero_registry::TenantStatus;

/// The host that the client asked for, in its one spelling.
#[derive(Debug, Clone)]
pub struct Host(pub HostName);

/// Where the stylesheet and its like are, the same on every host.
pub(crate) const STATIC: &str = "/static/";

/// Reads the host and notes in the request whose door it stands at.
///
/// # Errors
/// [`Kind::HostInvalid`], [`Kind::TenantNotFound`], or the state of the tenant.
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

fn place(edge: &Edge, request: &HttpRequest) -> Result<Here, Problem> {
    let host = read_host(request)?;
    let place = host.place(&edge.site.apex);
    request.extensions_mut().insert(Host(host));
    match place {
        Place::Apex => Ok(Here::Apex),
        Place::Elsewhere => Err(Problem::new(Kind::TenantNotFound)),
        Place::Tenant(subdomain) => {
            let route = edge.router.lookup(&subdomain).ok_or(Problem::new(Kind::TenantNotFound))?;
            match route.status {
                TenantStatus::Active => Ok(Here::Tenant(route)),
                TenantStatus::Provisioning => Err(Problem::new(Kind::TenantProvisioning)),
                TenantStatus::Paused => Err(Problem::new(Kind::TenantPaused)),
            }
        }
    }
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
