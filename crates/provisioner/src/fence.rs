//! The fence: what makes a pause certain, whatever a router has heard. The role may not log in, and whoever of it is
//! connected is cut off, after some time to finish.

use crate::{
    ServerError,
    server::{Door, Mark, create_role},
    templates::maintenance,
};
use portero_kernel::{RoleName, TenantId};
use portero_pg::{SessionsOf, ident, scram_verifier};
use portero_registry::TenantLogin;
use std::time::Duration;
use tokio_postgres::Config;

/// How long sessions that were told to end may take.
const END: Duration = Duration::from_secs(10);

/// Shuts a role out of the server that `admin` logs in to. Nobody logs in any more; whoever is connected has until `drain`
/// is over to end by themselves, and is cut off then. Says how many were. Repeating it changes nothing.
///
/// # Errors
/// As PostgreSQL says, or [`ServerError::SessionsLeft`]. On success no session of the role is left that began before.
pub async fn raise(admin: &Config, role: &RoleName, drain: Duration) -> Result<usize, ServerError> {
    let session = maintenance(admin).await?;
    session.batch_execute(&format!("ALTER ROLE {} NOLOGIN", ident(role.as_str()))).await?;
    let sessions = SessionsOf::Role(role.as_str());
    let cut =
        if sessions.have_ended(&session, drain).await? { 0 } else { sessions.end(&session, END).await? };
    session.close().await;
    Ok(cut)
}

/// Lets the role in again, with the password that the registry has and the settings that every tenant's role has: what
/// the role may have changed of itself is undone.
///
/// # Errors
/// As PostgreSQL says.
pub async fn lower(admin: &Config, tenant: TenantId, login: &TenantLogin) -> Result<(), ServerError> {
    let session = maintenance(admin).await?;
    let verifier = scram_verifier(&login.password);
    create_role(&session, &login.role(), Door::Open(&verifier), &[Mark::tenant(tenant)]).await?;
    session.close().await;
    Ok(())
}
