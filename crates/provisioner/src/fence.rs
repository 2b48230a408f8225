//! The fence: what makes a pause certain, whatever a router has heard. The role may not log in, and whoever of it is
//! connected is cut off, after some time to finish.

use crate::{
    ServerError,
    server::{create_role, session_in},
};
use portero_kernel::{RoleName, TenantId};
use portero_pg::{ident, scram_verifier};
use portero_registry::TenantLogin;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_postgres::Config;

const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Shuts a role out of the server that `admin` logs in to. Nobody logs in any more; whoever is connected has until `drain`
/// is over to end by themselves, and is cut off then. Says how many were. Repeating it changes nothing.
///
/// # Errors
/// As PostgreSQL says. On success no session of the role is left that began before.
pub async fn raise(admin: &Config, role: &RoleName, drain: Duration) -> Result<u64, ServerError> {
    const LEFT: &str = "SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE usename = $1";
    const CUT: &str = "SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, 5000)) FROM pg_catalog.pg_stat_activity WHERE usename = $1";
    let session = session_in(admin, admin.get_dbname().unwrap_or("postgres")).await?;
    session.batch_execute(&format!("ALTER ROLE {} NOLOGIN", ident(role.as_str()))).await?;
    let until = Instant::now() + drain;
    while Instant::now() < until && session.query_one(LEFT, &[&role.as_str()]).await?.get::<_, i64>(0) > 0 {
        sleep(LOOK_AGAIN).await;
    }
    let cut = session.query_one(CUT, &[&role.as_str()]).await?.get::<_, i64>(0);
    session.close().await;
    Ok(cut.unsigned_abs())
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
