//! Questions that a tenant's database answers without a table.

use portero_pg::TenantDb;
use tokio_postgres::Error;

/// A round trip, and no more.
pub(crate) async fn database_answers(db: &TenantDb) -> Result<(), Error> {
    db.query_one("SELECT 1", &[]).await?;
    Ok(())
}

/// The nonce as it came back, and the mark of the database that it came back from.
pub(crate) async fn nonce_and_mark(db: &TenantDb, nonce: &str) -> Result<(String, Option<String>), Error> {
    let row = db
        .query_one(
            "SELECT $1::text AS nonce, pg_catalog.shobj_description(oid, 'pg_database') AS mark
             FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()",
            &[&nonce],
        )
        .await?;
    Ok((row.get("nonce"), row.get("mark")))
}
