//! Who did what in this company. Rows are added and never changed: the role has no right to.

use portero_kernel::UserId;
use portero_pg::{TenantDb, TenantTxn};
use serde_json::Value;
use tokio_postgres::Error;

const INSERT: &str = "INSERT INTO audit (actor_id, action, subject_id, detail) VALUES ($1, $2, $3, $4)";

pub(crate) async fn audit_insert(
    db: &TenantDb,
    actor: Option<UserId>,
    action: &str,
    subject: Option<UserId>,
    detail: &Value,
) -> Result<(), Error> {
    db.execute(INSERT, &[&actor.map(UserId::uuid), &action, &subject.map(UserId::uuid), &detail]).await?;
    Ok(())
}

pub(crate) async fn audit_insert_in_txn(
    txn: &TenantTxn<'_>,
    actor: UserId,
    action: &str,
    subject: UserId,
    detail: &Value,
) -> Result<(), Error> {
    txn.execute(INSERT, &[&actor.uuid(), &action, &subject.uuid(), &detail]).await?;
    Ok(())
}
