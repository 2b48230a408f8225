//! Whom this process believes on the wire: TLS to PostgreSQL, with the server's certificate verified.
//!
//! | `sslmode` in the URL | what happens |
//! |---|---|
//! | `disable` | no TLS |
//! | `require` | TLS, and the certificate must be for that host (what libpq calls `verify-full`) |
//! | `prefer`, or none | on this very machine no TLS; anywhere else as `require` |

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use std::{
    net::IpAddr,
    path::Path,
    sync::{Arc, OnceLock},
};
use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};
use tokio_postgres_rustls::MakeRustlsConnect;

static TRUST: OnceLock<MakeRustlsConnect> = OnceLock::new();

/// Why a file of certificate authorities is of no use.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can't be read, or isn't PEM.
    #[error("the file of certificate authorities can't be read: {0}")]
    File(rustls::pki_types::pem::Error),
    /// There is no usable certificate in it.
    #[error("the file of certificate authorities holds no usable certificate")]
    Empty,
    /// Connections were opened before.
    #[error("whom to trust was decided before")]
    TooLate,
}

/// Trusts the authorities in a PEM file, and no others. Without this call the system's are trusted. To be called
/// before the first connection.
///
/// # Errors
/// [`TrustError`].
pub fn trust_only(file: &Path) -> Result<(), TrustError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(TrustError::File)? {
        // One that rustls doesn't understand is passed over; without any the file is refused below.
        let _ = roots.add(certificate.map_err(TrustError::File)?);
    }
    if roots.is_empty() {
        return Err(TrustError::Empty);
    }
    TRUST.set(connector_with(roots)).map_err(|_| TrustError::TooLate)
}

/// The connector for every connection of this process.
#[must_use]
pub fn connector() -> MakeRustlsConnect {
    TRUST
        .get_or_init(|| {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            connector_with(roots)
        })
        .clone()
}

/// The configuration with its `sslmode` decided.
pub(crate) fn secured(mut config: Config) -> Config {
    if config.get_ssl_mode() == SslMode::Prefer {
        let here = config.get_hosts().iter().all(is_this_machine)
            && config.get_hostaddrs().iter().all(IpAddr::is_loopback);
        config.ssl_mode(if here { SslMode::Disable } else { SslMode::Require });
    }
    config
}

fn is_this_machine(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn connector_with(roots: RootCertStore) -> MakeRustlsConnect {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring offers every protocol version that rustls has")
        .with_root_certificates(roots)
        .with_no_client_auth();
    MakeRustlsConnect::new(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wire_leaves_this_machine_encrypted_unless_told_otherwise() {
        for (url, mode) in [
            ("postgresql://u@127.0.0.1/d", SslMode::Disable),
            ("postgresql://u@localhost,127.0.0.2/d", SslMode::Disable),
            ("postgresql://u@[::1]/d", SslMode::Disable),
            ("postgresql://u@localhost,db.example/d", SslMode::Require),
            ("postgresql://u@10.0.0.5/d", SslMode::Require),
            ("postgresql://u@db.example/d?sslmode=prefer", SslMode::Require),
            ("postgresql://u@db.example/d?sslmode=disable", SslMode::Disable),
            ("postgresql://u@localhost/d?sslmode=require", SslMode::Require),
            ("host=localhost hostaddr=10.0.0.5 user=u", SslMode::Require),
        ] {
            assert_eq!(secured(url.parse().unwrap()).get_ssl_mode(), mode, "{url}");
        }
    }
}
