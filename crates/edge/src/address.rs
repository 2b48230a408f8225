//! Who is calling: the peer, or whom a trusted proxy says it speaks for.

use crate::{Edge, operators::AtOperators};
use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, http::header, web};
use futures_util::future::{Ready, ready};
use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

/// The client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

impl ClientAddress {
    /// `X-Forwarded-For` counts only from a trusted peer, and then its last entry: the one that peer wrote itself. On the
    /// operators' listener, which is asked from its own machine, it counts only where that has a name: else no proxy is meant.
    #[must_use]
    pub fn of(request: &HttpRequest) -> Self {
        let peer = request
            .peer_addr()
            .map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |address| address.ip().to_canonical());
        if !Self::peer_is_trusted(request) || Self::is_asked_directly(request) {
            return Self(peer);
        }
        let told = request
            .headers()
            .get_all("x-forwarded-for")
            .last()
            .and_then(|value| value.to_str().ok())
            .and_then(|list| list.rsplit(',').next())
            .and_then(address_in);
        Self(told.unwrap_or(peer))
    }

    fn is_asked_directly(request: &HttpRequest) -> bool {
        let named = request.app_data::<web::Data<Edge>>().is_some_and(|edge| !edge.admin_hosts.is_empty());
        !named && request.extensions().contains::<AtOperators>()
    }

    pub(crate) fn peer_is_trusted(request: &HttpRequest) -> bool {
        let Some(edge) = request.app_data::<web::Data<Edge>>() else { return false };
        request.peer_addr().is_some_and(|peer| edge.trusted_proxies.contains(&peer.ip().to_canonical()))
    }
}

/// An address as proxies write it: bare, or with the client's port.
fn address_in(entry: &str) -> Option<IpAddr> {
    let entry = entry.trim();
    let bare = entry.parse::<IpAddr>().ok();
    let address = bare.or_else(|| entry.parse::<SocketAddr>().ok().map(|told| told.ip()))?;
    Some(address.to_canonical())
}

/// What a client calls itself, if that can be read.
#[must_use]
pub fn user_agent(request: &HttpRequest) -> Option<String> {
    let agent = request.headers().get(header::USER_AGENT)?;
    agent.to_str().ok().map(str::to_owned)
}

impl FromRequest for ClientAddress {
    type Error = Infallible;
    type Future = Ready<Result<Self, Infallible>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self::of(request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_in_each_way_that_proxies_write_it() {
        for (entry, address) in [
            (" 192.0.2.1 ", Some("192.0.2.1")),
            ("192.0.2.1:4711", Some("192.0.2.1")),
            ("::ffff:192.0.2.1", Some("192.0.2.1")),
            ("[::ffff:192.0.2.1]:4711", Some("192.0.2.1")),
            ("2001:db8::1", Some("2001:db8::1")),
            ("[2001:db8::1]:4711", Some("2001:db8::1")),
            ("unknown", None),
            ("", None),
        ] {
            assert_eq!(address_in(entry), address.map(|address| address.parse().unwrap()), "{entry}");
        }
    }
}
