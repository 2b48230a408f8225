//! What most workflows work on: a tenant, its login, its server; and sessions there that outlive no claim.
//!
//! The registry's fence numbers don't reach a tenants' server, so sessions are fenced there by their name. Each bears that
//! of its job (`application_name`). Once it is open it looks whether the job is still ours, and then ends all others of that
//! name: those of a worker that is frozen, of a process that was killed, of a try whose answer was lost. What they were
//! told to do has happened by then or never will. One that is opened later finds, looking, that the job is another's.

use crate::{engine::StepError, points, server};
use portero_kernel::{RoleName, with_causes};
use portero_pg::{Session, prove};
use portero_registry::{Claim, Lease, Registry, RegistryError, TenantLogin, TenantRow};
use tokio_postgres::Config;

/// The tenant of a job, and the right to act on it.
pub(crate) struct Subject {
    pub(crate) registry: Registry,
    pub(crate) lease: Lease,
    pub(crate) tenant: TenantRow,
    pub(crate) login: TenantLogin,
    pub(crate) admin: Config,
}

impl Subject {
    /// Reads it; nothing where the tenant is not in the registry any more.
    pub(crate) async fn load(registry: &Registry, claim: &Claim) -> Result<Option<Self>, RegistryError> {
        let Some(tenant) = registry.tenant_by_id(claim.job.tenant).await? else { return Ok(None) };
        let login =
            registry.tenant_login(tenant.id).await?.ok_or(RegistryError::Unreadable("tenant's login"))?;
        let server = registry
            .server_by_id(tenant.server)
            .await?
            .ok_or(RegistryError::Unreadable("tenant's server"))?;
        let (registry, lease) = (registry.clone(), claim.lease.clone());
        Ok(Some(Self { registry, lease, tenant, login, admin: server.admin }))
    }

    pub(crate) fn role(&self) -> RoleName {
        self.login.role()
    }

    /// Portero's own session in the server's maintenance database. It ends whatever other session this job has there.
    pub(crate) async fn on_server(&self) -> Result<Session, StepError> {
        self.session_in(self.admin.get_dbname().unwrap_or("postgres")).await
    }

    /// Portero's own session in the tenant's database. It ends whatever other session this job has on that server.
    pub(crate) async fn in_database(&self) -> Result<Session, StepError> {
        let session = self.session_in(self.tenant.database.as_str()).await?;
        prove(&session, self.tenant.id).await.map_err(|error| StepError::Never(with_causes(&error)))?;
        // Nothing that a tenant may have planted in another schema is ever found by name.
        session.batch_execute("SET search_path = public").await?;
        Ok(session)
    }

    async fn session_in(&self, database: &str) -> Result<Session, StepError> {
        fenced_session(&self.registry, &self.lease, &self.admin, database).await
    }
}

/// Portero's own session of a job. It ends whatever other session this job has on that server.
pub(crate) async fn fenced_session(
    registry: &Registry,
    lease: &Lease,
    admin: &Config,
    database: &str,
) -> Result<Session, StepError> {
    let session = server::session_of_job_in(admin, database, lease.job()).await?;
    registry.lease_check(lease).await?;
    server::end_others_of_that_name(&session).await?;
    points::pass("opened").await?;
    Ok(session)
}
