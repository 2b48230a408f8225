//! The `Host` header, parsed once: which company's door somebody stands at.

use crate::Subdomain;
use std::fmt;

/// A DNS host name in its one spelling: lower case, no port, no trailing dot, at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostName(String);

/// A `Host` that isn't one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HostNameError {
    /// Nothing there.
    #[error("the host is empty")]
    Empty,
    /// More than 253 characters.
    #[error("the host is longer than 253 characters")]
    TooLong,
    /// An IP address: certificates, cookies and tenants belong to names.
    #[error("the host is an IP address, not a name")]
    Address,
    /// A port that isn't a number from 0 to 65535.
    #[error("the host's port is not a number")]
    Port,
    /// A label that is empty, too long, or has other characters than letters, digits and inner hyphens.
    #[error("the host is not a DNS name")]
    Label,
}

/// Where a host leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The platform's own host: the landing page and sign-ups.
    Apex,
    /// One label under the apex.
    Tenant(Subdomain),
    /// A well-formed host that nobody here has.
    Elsewhere,
}

impl HostName {
    /// Parses the value of a `Host` header: `name[:port]`.
    ///
    /// # Errors
    /// Whatever isn't exactly one DNS name, with at most one trailing dot and one port.
    pub fn parse(raw: &str) -> Result<Self, HostNameError> {
        if raw.is_empty() {
            return Err(HostNameError::Empty);
        }
        if raw.starts_with('[') {
            return Err(HostNameError::Address);
        }
        let name = match raw.split_once(':') {
            None => raw,
            Some((name, port)) => {
                let number = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
                if !number || port.parse::<u16>().is_err() {
                    return Err(HostNameError::Port);
                }
                name
            }
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        if name.is_empty() {
            return Err(HostNameError::Empty);
        }
        if name.len() > 253 {
            return Err(HostNameError::TooLong);
        }
        if !name.split('.').all(is_label) {
            return Err(HostNameError::Label);
        }
        // Browsers read a host whose last label is a number as an IPv4 address (WHATWG URL, "ends in a number").
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x") {
            return Err(HostNameError::Address);
        }
        Ok(Self(name))
    }

    /// Where this host leads under the platform's `apex`.
    #[must_use]
    pub fn place(&self, apex: &Self) -> Place {
        if self == apex {
            return Place::Apex;
        }
        self.0
            .strip_suffix(apex.as_str())
            .and_then(|rest| rest.strip_suffix('.'))
            .and_then(|label| Subdomain::parse(label).ok())
            .map_or(Place::Elsewhere, Place::Tenant)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && label.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        && !label.starts_with('-')
        && !label.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place(host: &str) -> Option<Place> {
        let apex = HostName::parse("ejemplo.com").unwrap();
        HostName::parse(host).ok().map(|name| name.place(&apex))
    }

    fn tenant(label: &str) -> Option<Place> {
        Some(Place::Tenant(Subdomain::parse(label).unwrap()))
    }

    #[test]
    fn one_spelling_of_many() {
        for host in [
            "acme.ejemplo.com",
            "ACME.Ejemplo.COM",
            "acme.ejemplo.com.",
            "acme.ejemplo.com:8080",
            "acme.ejemplo.com.:0",
        ] {
            assert_eq!(place(host), tenant("acme"), "{host}");
        }
        assert_eq!(place("ejemplo.com"), Some(Place::Apex));
        assert_eq!(place("EJEMPLO.com.:443"), Some(Place::Apex));
    }

    #[test]
    fn well_formed_strangers_lead_nowhere() {
        for host in [
            "evilejemplo.com",
            "ejemplo.com.evil.example",
            "x.acme.ejemplo.com",
            "com",
            "ab.ejemplo.com",
            "xn--acme.ejemplo.com",
            "123.ejemplo.com",
        ] {
            assert_eq!(place(host), Some(Place::Elsewhere), "{host}");
        }
    }

    #[test]
    fn what_is_not_a_name_is_refused() {
        let long = format!("{}.ejemplo.com", "a".repeat(64));
        let longer = format!("{}ejemplo.com", "abcdefgh.".repeat(30));
        for host in [
            "",
            ".",
            ":80",
            "..",
            "acme..ejemplo.com",
            ".ejemplo.com",
            "acme.ejemplo.com..",
            "acme.ejemplo.com:",
            "acme.ejemplo.com:x",
            "acme.ejemplo.com:99999",
            "acme.ejemplo.com:80:80",
            "acme.ejemplo.com:+80",
            "127.0.0.1",
            "127.0.0.1:8080",
            "[::1]",
            "[::1]:8080",
            "::1",
            "1.2.3.0x7f",
            "acme_x.ejemplo.com",
            "-acme.ejemplo.com",
            "acme-.ejemplo.com",
            "acme .ejemplo.com",
            " acme.ejemplo.com",
            "acme.ejemplo.com ",
            "acme.ejemplo.com\t",
            "acme\0.ejemplo.com",
            "acme%2eejemplo.com",
            "añil.ejemplo.com",
            "acme.ejemplo.com/",
            "acme.ejemplo.com#",
            "user@acme.ejemplo.com",
            "acme,ejemplo.com",
            "*.ejemplo.com",
            long.as_str(),
            longer.as_str(),
        ] {
            assert_eq!(place(host), None, "{host:?}");
        }
    }

    proptest! {
        #[test]
        fn only_the_canonical_host_leads_to_a_tenant(host in "\\PC{0,80}|[a-zA-Z0-9.:\\-]{0,60}|(acme|ACME|b)[.:]?(ejemplo|EJEMPLO)\\.com[.:0-9]{0,6}") {
            if let Some(Place::Tenant(subdomain)) = place(&host) {
                let bare = host.split(':').next().unwrap().trim_end_matches('.').to_lowercase();
                prop_assert_eq!(bare, format!("{subdomain}.ejemplo.com"));
            }
        }

        #[test]
        fn a_parsed_name_parses_to_itself(host in "[a-zA-Z0-9.\\-]{1,80}(:[0-9]{1,5})?") {
            if let Ok(name) = HostName::parse(&host) {
                prop_assert_eq!(HostName::parse(name.as_str()), Ok(name.clone()));
            }
        }
    }
}
