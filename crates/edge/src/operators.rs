//! The layer around the operators' listener: which names it answers to, whether the page that asks is its own, and then
//! what [`crate::door()`] does for answers.
//!
//! A browser of an operator can be led to any address by any page: a name that an attacker's DNS points to 127.0.0.1
//! would make their page's origin the console's (DNS rebinding). So only names that can't be pointed here by others are
//! answered: loopback's, IP addresses, and those in the settings.

use crate::{Edge, Kind, Problem, door};
use actix_web::{
    Error, HttpMessage, HttpRequest, HttpResponse,
    body::{BoxBody, EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::header,
    middleware::Next,
    web,
};
use std::{net::IpAddr, time::Instant};

/// Where operators log in. Browsers that have to are sent there.
pub const OPERATORS_LOGIN: &str = "/console/login";

/// A request came by the operators' listener, whether it is answered or not.
pub(crate) struct AtOperators;

/// The host by which the operators' listener was asked.
#[derive(Debug, Clone)]
pub struct OperatorsHost {
    /// As the browser has it, with its port.
    authority: String,
    /// Whether its browsers come by https: it is one of the names in the settings, and the platform is on https.
    pub secure: bool,
}

impl OperatorsHost {
    /// What the layer noted; nothing on the public listener.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }
}

/// Wraps everything on the operators' listener.
///
/// # Errors
/// None of the layers inside fails: each answers.
pub async fn operators_door<B: MessageBody + 'static>(
    edge: web::Data<Edge>,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B, BoxBody>>, Error> {
    let began = Instant::now();
    request.extensions_mut().insert(AtOperators);
    let request_id = door::request_id(request.request());
    if let Err(problem) = admit(&edge, request.request()) {
        edge.refusals.problem(problem.kind);
        let request = request.into_parts().0;
        return Ok(door::answer_with(&edge, request, &problem, None, &request_id, began));
    }
    let answered = next.call(request).await?;
    let Some(problem) = door::problem_in(&answered) else {
        return Ok(door::sealed(answered.map_into_left_body(), &request_id, began));
    };
    let request = answered.request();
    if problem.kind == Kind::Unauthorized && request.method().is_safe() && door::wants_page(request) {
        let login = HttpResponse::SeeOther().insert_header((header::LOCATION, OPERATORS_LOGIN)).finish();
        let answer = ServiceResponse::new(answered.into_parts().0, login).map_into_right_body();
        return Ok(door::sealed(answer, &request_id, began));
    }
    edge.refusals.problem(problem.kind);
    let allow = answered.headers().get(header::ALLOW).cloned();
    Ok(door::answer_with(&edge, answered.into_parts().0, &problem, allow, &request_id, began))
}

fn admit(edge: &Edge, request: &HttpRequest) -> Result<(), Problem> {
    let mut hosts = request.headers().get_all(header::HOST);
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::new(Kind::HostInvalid).detail("exactly one Host header is needed"));
    };
    let host = host.to_str().ok().and_then(|host| answered_host(host, &edge.admin_hosts, edge.site.https));
    let host = host.ok_or(Problem::new(Kind::Misdirected))?;
    // RFC 9112, 3.2.2: an absolute request line carries a host of its own.
    let told = request.uri().authority();
    if told.is_some_and(|told| !told.as_str().eq_ignore_ascii_case(&host.authority)) {
        return Err(Problem::new(Kind::HostInvalid));
    }
    let from_here = request.method().is_safe() || from_here(request, &host);
    request.extensions_mut().insert(host);
    if from_here { Ok(()) } else { Err(Problem::new(Kind::CrossOrigin)) }
}

fn answered_host(host: &str, names: &[String], https: bool) -> Option<OperatorsHost> {
    let authority = host.to_ascii_lowercase();
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (authority.as_str(), None),
    };
    if port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return None;
    }
    let ip = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let plain = ip.parse::<IpAddr>().is_ok() || name == "localhost" || name.ends_with(".localhost");
    let named = names.iter().any(|known| known == name);
    (plain || named).then_some(OperatorsHost { secure: named && https, authority })
}

/// Whether no page asks, or one of this very origin. Unlike companies' doors this one has neighbours on other ports of the
/// same machine: a port counts wherever both name one.
fn from_here(request: &HttpRequest, host: &OperatorsHost) -> bool {
    let headers = request.headers();
    let site_is_same =
        headers.get_all("sec-fetch-site").all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let origin_is_same = headers
        .get_all(header::ORIGIN)
        .all(|origin| origin.to_str().is_ok_and(|origin| is_origin_of(origin, host)));
    site_is_same && origin_is_same
}

fn is_origin_of(origin: &str, host: &OperatorsHost) -> bool {
    let scheme = if host.secure { "https://" } else { "http://" };
    let Some(authority) = origin.strip_prefix(scheme) else { return false };
    authority.eq_ignore_ascii_case(&host.authority)
        // A proxy that tells the host without its port.
        || (!host.authority.ends_with(|last: char| last.is_ascii_digit())
            && authority
                .rsplit_once(':')
                .is_some_and(|(name, port)| name.eq_ignore_ascii_case(&host.authority) && port.parse::<u16>().is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(host: &str) -> Option<OperatorsHost> {
        answered_host(host, &["ops.ejemplo.com".to_owned()], true)
    }

    #[test]
    fn only_names_that_nobody_else_can_point_here_are_answered() {
        for (name, secure) in [
            ("localhost", false),
            ("LOCALHOST:8081", false),
            ("admin.localhost:8081", false),
            ("127.0.0.1:8081", false),
            ("10.0.0.5", false),
            ("[::1]:8081", false),
            ("[::1]", false),
            ("ops.ejemplo.com", true),
            ("Ops.Ejemplo.com:8443", true),
        ] {
            assert_eq!(host(name).map(|host| host.secure), Some(secure), "{name}");
        }
        for name in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.nip.io",
            "127.0.0.1.evil.example:8081",
            "evillocalhost",
            "ops.ejemplo.com.evil.example",
            "x.ops.ejemplo.com",
            "localhost:port",
            "localhost:8081:8081",
            "user@localhost",
            "[::1",
        ] {
            assert!(host(name).is_none(), "{name}");
        }
    }

    #[test]
    fn a_neighbour_on_another_port_is_another_origin() {
        let local = host("127.0.0.1:8081").unwrap();
        assert!(is_origin_of("http://127.0.0.1:8081", &local));
        for other in ["http://127.0.0.1:3000", "http://127.0.0.1", "https://127.0.0.1:8081", "null", ""] {
            assert!(!is_origin_of(other, &local), "{other}");
        }
        let named = host("ops.ejemplo.com").unwrap();
        assert!(is_origin_of("https://ops.ejemplo.com", &named));
        assert!(is_origin_of("https://ops.ejemplo.com:8443", &named));
        for other in ["http://ops.ejemplo.com", "https://ejemplo.com", "https://ops.ejemplo.com.evil.example"]
        {
            assert!(!is_origin_of(other, &named), "{other}");
        }
    }
}
