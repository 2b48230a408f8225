//! Removing what bears a tenant's mark and belongs to no tenant any more: what a crash of the registry's, or a person,
//! left behind. Whether it does belong to nobody is the caller's to know; nothing is dropped without the mark.

use crate::{
    ServerError,
    server::{drop_marked_database, drop_marked_role, session_in},
};
use portero_kernel::{DatabaseName, RoleName, TenantId};
use tokio_postgres::Config;

/// Drops the database that bears this tenant's mark; says whether it was there. Repeating it changes nothing.
///
/// # Errors
/// [`ServerError::Foreign`] where it bears another mark, or none, or is not Portero's own; else as PostgreSQL says.
pub async fn drop_database(
    admin: &Config,
    database: &DatabaseName,
    tenant: TenantId,
) -> Result<bool, ServerError> {
    let session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    let dropped = drop_marked_database(&session, database, tenant).await;
    session.close().await;
    dropped
}

/// The same for a role. One that has rights in a database that is there can't be dropped before the database.
///
/// # Errors
/// As [`drop_database`].
pub async fn drop_role(admin: &Config, role: &RoleName, tenant: TenantId) -> Result<bool, ServerError> {
    let session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    let dropped = drop_marked_role(&session, role, tenant).await;
    session.close().await;
    dropped
}
