//! Requests that change something must come from a page of the same host, or from no page at all.
//!
//! Companies are siblings on one registrable domain, so "same-site" is no protection and cookies' `SameSite` neither.
//! Browsers tell: `Sec-Fetch-Site` says whether the very same origin asks, and `Origin` which one does. Both are
//! forbidden header names, out of a script's reach. A client that sends neither is not a browser; forms of logged-in
//! users carry a token bound to the session besides.

use crate::{Edge, Host, Kind, Problem};
use actix_web::{HttpMessage, HttpRequest, http::header};
use portero_kernel::HostName;

/// Refuses unsafe methods from pages of another origin.
///
/// # Errors
/// [`Kind::CrossOrigin`].
pub(crate) fn check(edge: &Edge, request: &HttpRequest) -> Result<(), Problem> {
    if request.method().is_safe() || from_here(request, edge.site.https) {
        Ok(())
    } else {
        Err(Problem::new(Kind::CrossOrigin))
    }
}

fn from_here(request: &HttpRequest, https: bool) -> bool {
    let headers = request.headers();
    let site_is_same =
        headers.get_all("sec-fetch-site").all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"));
    let origin_is_same = headers.get_all(header::ORIGIN).all(|origin| {
        let extensions = request.extensions();
        let here = extensions.get::<Host>();
        origin.to_str().is_ok_and(|origin| here.is_some_and(|here| is_origin_of(origin, &here.0, https)))
    });
    site_is_same && origin_is_same
}

/// The port is left out of it, as cookies leave it out.
fn is_origin_of(origin: &str, host: &HostName, https: bool) -> bool {
    let scheme = if https { "https://" } else { "http://" };
    origin.strip_prefix(scheme).and_then(|rest| HostName::parse(rest).ok()).is_some_and(|name| name == *host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_same_host_and_scheme_are_an_origin() {
        let host = HostName::parse("acme.ejemplo.com").unwrap();
        assert!(is_origin_of("https://acme.ejemplo.com", &host, true));
        assert!(is_origin_of("https://acme.ejemplo.com:8443", &host, true));
        assert!(is_origin_of("http://acme.ejemplo.com:8080", &host, false));
        for other in [
            "null",
            "",
            "https://",
            "https://globex.ejemplo.com",
            "https://ejemplo.com",
            "http://acme.ejemplo.com",
            "https://acme.ejemplo.com.evil.example",
            "https://evil.example/acme.ejemplo.com",
            "https://acme.ejemplo.com@evil.example",
            "acme.ejemplo.com",
            "https://acme.ejemplo.com/",
        ] {
            assert!(!is_origin_of(other, &host, true), "{other}");
        }
    }
}
