//! Removing what bears a tenant's mark and belongs to no tenant any more: what a crash of the registry's, or a person,
//! left behind. Whether it does belong to nobody is the caller's to know; nothing is dropped without the mark.

use crate::{
    ServerError,
    removal::{drop_the_database, drop_the_role},
    templates::maintenance,
};
use portero_kernel::{DatabaseName, RoleName, TenantId};
use portero_pg::{Session, database_mark};
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
    let session = maintenance(admin).await?;
    let dropped = drop_marked_database(&session, admin, database, tenant).await;
    session.close().await;
    dropped
}

/// The same for a role. One that has rights in a database that is there can't be dropped before the database.
///
/// # Errors
/// As [`drop_database`].
pub async fn drop_role(admin: &Config, role: &RoleName, tenant: TenantId) -> Result<bool, ServerError> {
    let session = maintenance(admin).await?;
    let dropped = drop_marked_role(&session, admin, role, tenant).await;
    session.close().await;
    dropped
}

/// Drops a database that belongs to no tenant, if it bears this one's mark and is ours; says whether it was there.
async fn drop_marked_database(
    session: &Session,
    admin: &Config,
    database: &DatabaseName,
    tenant: TenantId,
) -> Result<bool, ServerError> {
    let row = session
        .query_opt(
            "SELECT shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba) = current_user
             FROM pg_catalog.pg_database WHERE datname = $1",
            &[&database.as_str()],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    if row.get::<_, Option<String>>(0) != Some(database_mark(tenant)) || !row.get::<_, bool>(1) {
        return Err(ServerError::Foreign(format!("database {database}")));
    }
    drop_the_database(session, admin, database).await?;
    Ok(true)
}

/// Drops a role that belongs to no tenant, if it bears this one's mark; says whether it was there.
async fn drop_marked_role(
    session: &Session,
    admin: &Config,
    role: &RoleName,
    tenant: TenantId,
) -> Result<bool, ServerError> {
    let row = session
        .query_opt(
            "SELECT shobj_description(oid, 'pg_authid') FROM pg_catalog.pg_roles WHERE rolname = $1",
            &[&role.as_str()],
        )
        .await?;
    let Some(row) = row else { return Ok(false) };
    if row.get::<_, Option<String>>(0) != Some(database_mark(tenant)) {
        return Err(ServerError::Foreign(format!("role {role}")));
    }
    drop_the_role(session, admin, role).await?;
    Ok(true)
}
