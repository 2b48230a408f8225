//! Prepared transactions of tenants' roles. They hold locks, and their database, and belong to no session that could be
//! ended: nothing of what they hold on to can be removed before somebody has rolled them back. PostgreSQL has none unless it
//! was started with `max_prepared_transactions`.

use portero_pg::{Session, literal};
use std::fmt;
use tokio_postgres::Error;

/// More of them are not worth reading.
const MOST: i64 = 10;

/// A transaction that waits for its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The database that it is in, and that its end must be told in.
    pub database: String,
    /// What whoever prepared it calls it.
    gid: String,
}

/// The statement that ends it.
impl fmt::Display for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ROLLBACK PREPARED {} in {}", literal(&self.gid), self.database)
    }
}

/// Those that tenants' roles have on the server, the oldest first, ten at most.
///
/// # Errors
/// As PostgreSQL says.
pub async fn prepared_by_tenants(session: &Session) -> Result<Vec<Prepared>, Error> {
    let rows = session
        .query(
            "SELECT database::text, gid FROM pg_catalog.pg_prepared_xacts
             WHERE owner ~ '^t_[0-9a-f]{32}$' ORDER BY prepared LIMIT $1",
            &[&MOST],
        )
        .await?;
    Ok(rows.iter().map(|row| Prepared { database: row.get(0), gid: row.get(1) }).collect())
}
