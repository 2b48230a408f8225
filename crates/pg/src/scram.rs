//! SCRAM verifiers made on this side, so that no password ever stands in a statement, a server's log or
//! `pg_stat_statements`.

use portero_kernel::{ExposeSecret, SecretString};

/// The verifier to store with `PASSWORD '…'`: `SCRAM-SHA-256$4096:…` (RFC 5803), 4,096 rounds as PostgreSQL itself makes.
#[must_use]
pub fn scram_verifier(password: &SecretString) -> String {
    postgres_protocol::password::scram_sha_256(password.expose_secret().as_bytes())
}
