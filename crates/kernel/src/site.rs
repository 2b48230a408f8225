//! Where the platform is on the web: what every link it writes is made from, never from a request's headers.

use crate::{HostName, Subdomain};

/// The platform's public address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// The host of the landing page; companies are one label below.
    pub apex: HostName,
    /// Whether browsers reach it by https. Decides the scheme of links and the `Secure` of cookies.
    pub https: bool,
    /// The port that browsers see, where it isn't the scheme's own.
    pub port: Option<u16>,
}

impl Site {
    /// `https://ejemplo.com`, without a slash at the end.
    #[must_use]
    pub fn apex_url(&self) -> String {
        self.url(self.apex.as_str())
    }

    /// `https://acme.ejemplo.com`, without a slash at the end.
    #[must_use]
    pub fn tenant_url(&self, subdomain: &Subdomain) -> String {
        self.url(&format!("{subdomain}.{}", self.apex))
    }

    /// What follows a company's label in an address: `.ejemplo.com`, with the port if browsers see one.
    #[must_use]
    pub fn suffix(&self) -> String {
        format!(".{}{}", self.apex, self.port_text())
    }

    fn url(&self, host: &str) -> String {
        let scheme = if self.https { "https" } else { "http" };
        format!("{scheme}://{host}{}", self.port_text())
    }

    fn port_text(&self) -> String {
        self.port.map(|port| format!(":{port}")).unwrap_or_default()
    }
}
