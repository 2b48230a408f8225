//! What most workflows work on: a tenant, its login, its server; and sessions there that outlive no claim.
//!
//! The registry's fence numbers don't reach a tenants' server, so sessions are fenced there by their name. Each bears that
//! of its job (`application_name`). Once it is open it looks whether the job is still ours, and then ends all others of that
//! name: those of a worker that is frozen, of a process that was killed, of a try whose answer was lost. What they were
//! told to do has happened by then or never will. One that is opened later finds, looking, that the job is another's.
//!
//! A step may leave its session for the next, since a login costs as much as what most steps do. Whoever takes it looks
//! first whether the job is still ours; once it is another's, the first session of theirs ends it. A step that takes one and
//! leaves none, after an error above all, has the next begin anew: what it was told to do is not waited for.

use crate::{
    engine::StepError,
    points,
    server::{self, Mark},
};
use portero_kernel::{RoleName, with_causes};
use portero_pg::{Session, prove};
use portero_registry::{Claim, Lease, Registry, RegistryError, TenantLogin, TenantRow};
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio_postgres::Config;

/// The tenant of a job, and the right to act on it.
pub(crate) struct Subject {
    pub(crate) registry: Registry,
    pub(crate) lease: Lease,
    pub(crate) tenant: TenantRow,
    pub(crate) login: TenantLogin,
    pub(crate) admin: Config,
    left: Mutex<Left>,
}

/// Sessions that steps have left for the next.
#[derive(Default)]
struct Left {
    on_server: Option<Session>,
    in_database: Option<Session>,
    /// A step has one, or ended without leaving it.
    is_out: bool,
    /// There is no other session of this job but those of steps that ended well.
    alone: bool,
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
        let left = Mutex::new(Left { alone: lease.is_first(), ..Left::default() });
        Ok(Some(Self { registry, lease, tenant, login, admin: server.admin, left }))
    }

    pub(crate) fn role(&self) -> RoleName {
        self.login.role()
    }

    /// What its role and database bear: the tenant's mark, and before that maybe a spare's. The name is in this tenant's row
    /// and in no other, so a spare that is there under it is this tenant's.
    pub(crate) fn marks(&self) -> [Mark; 2] {
        [Mark::tenant(self.tenant.id), Mark::spare(self.tenant.server)]
    }

    /// Portero's own session in the server's maintenance database: what a step has left, or a new one.
    pub(crate) async fn on_server(&self) -> Result<Session, StepError> {
        let left = self.take().on_server.take();
        match left {
            Some(session) => self.again(session).await,
            None => self.session_in(self.admin.get_dbname().unwrap_or("postgres")).await,
        }
    }

    /// Portero's own session in the tenant's database: what a step has left, or a new one.
    pub(crate) async fn in_database(&self) -> Result<Session, StepError> {
        let left = self.take().in_database.take();
        if let Some(session) = left {
            return self.again(session).await;
        }
        let session = self.session_in(self.tenant.database.as_str()).await?;
        prove(&session, self.tenant.id).await.map_err(|error| StepError::Never(with_causes(&error)))?;
        // Nothing that a tenant may have planted in another schema is ever found by name.
        session.batch_execute("SET search_path = public").await?;
        Ok(session)
    }

    /// Leaves a session of [`on_server`](Self::on_server) for the next step. Nothing that it was told is under way.
    pub(crate) fn leave_on_server(&self, session: Session) {
        let mut left = self.left();
        (left.on_server, left.is_out) = (Some(session), false);
    }

    /// Leaves a session of [`in_database`](Self::in_database) for the next step. Nothing that it was told is under way.
    pub(crate) fn leave_in_database(&self, session: Session) {
        let mut left = self.left();
        (left.in_database, left.is_out) = (Some(session), false);
    }

    /// What is left, if it is of use; from here on one of them is out.
    fn take(&self) -> MutexGuard<'_, Left> {
        let mut left = self.left();
        if left.is_out {
            *left = Left::default();
        }
        let is_open = |session: &Session| !session.is_closed();
        left.on_server = left.on_server.take().filter(is_open);
        left.in_database = left.in_database.take().filter(is_open);
        left.is_out = true;
        left
    }

    fn left(&self) -> MutexGuard<'_, Left> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session that a step has left, if the job is still ours.
    async fn again(&self, session: Session) -> Result<Session, StepError> {
        self.registry.lease_check(&self.lease).await?;
        points::pass("opened").await?;
        Ok(session)
    }

    async fn session_in(&self, database: &str) -> Result<Session, StepError> {
        if !self.left().alone {
            let session = fenced_session(&self.registry, &self.lease, &self.admin, database).await?;
            self.left().alone = true;
            return Ok(session);
        }
        let session = server::session_of_job_in(&self.admin, database, self.lease.job()).await?;
        self.again(session).await
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
