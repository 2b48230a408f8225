//! The fence: what makes a pause certain, whatever a router has heard. The role may not log in, and whoever of it is
//! connected is cut off.

use crate::{ServerError, server::session_in};
use portero_kernel::RoleName;
use portero_pg::ident;
use tokio_postgres::Config;

/// Shuts a role out of the server that `admin` logs in to. Repeating it changes nothing.
///
/// # Errors
/// As PostgreSQL says. On success no session of the role is left that began before.
pub async fn raise(admin: &Config, role: &RoleName) -> Result<(), ServerError> {
    let session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    session.batch_execute(&format!("ALTER ROLE {} NOLOGIN", ident(role.as_str()))).await?;
    session
        .execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_catalog.pg_stat_activity WHERE usename = $1",
            &[&role.as_str()],
        )
        .await?;
    session.close().await;
    Ok(())
}

/// Lets the role in again.
///
/// # Errors
/// As PostgreSQL says.
pub async fn lower(admin: &Config, role: &RoleName) -> Result<(), ServerError> {
    let session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    session.batch_execute(&format!("ALTER ROLE {} LOGIN", ident(role.as_str()))).await?;
    session.close().await;
    Ok(())
}
