//! How many connections a server has for tenants.

use crate::Session;
use tokio_postgres::Error;

/// Connections of every server that no tenant gets: for operators, for provisioning, and for the registry where it is on
/// the same server.
pub const RESERVE: usize = 24;

/// The connections that all tenants together may hold on the session's server: what ordinary roles may open, less
/// [`RESERVE`]. 0 where nothing is left.
///
/// # Errors
/// As PostgreSQL says.
pub async fn tenant_capacity(session: &Session) -> Result<usize, Error> {
    // Of these, PostgreSQL 16 has two.
    let row = session
        .query_one(
            "SELECT sum(CASE name WHEN 'max_connections' THEN setting::integer ELSE -setting::integer END)
             FROM pg_catalog.pg_settings
             WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')",
            &[],
        )
        .await?;
    Ok(usize::try_from(row.get::<_, i64>(0)).unwrap_or(0).saturating_sub(RESERVE))
}
