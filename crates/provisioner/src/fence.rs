//! The fence: what makes a pause certain, whatever a router has heard. The role may not log in, and whoever of it is
//! connected is cut off.

use crate::{
    ServerError,
    server::{create_role, session_in},
};
use portero_kernel::{RoleName, TenantId};
use portero_pg::{ident, scram_verifier};
use portero_registry::TenantLogin;
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

/// Lets the role in again, with the password that the registry has and the settings that every tenant's role has: what
/// the role may have changed of itself is undone.
///
/// # Errors
/// As PostgreSQL says.
pub async fn lower(admin: &Config, tenant: TenantId, login: &TenantLogin) -> Result<(), ServerError> {
    let mut session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    create_role(&mut session, &login.role(), &scram_verifier(&login.password), tenant).await?;
    session.close().await;
    Ok(())
}
