//! The end of a tenant: its role fenced out, its database and role dropped, a tombstone in its place, and all of that
//! proven by looking for what is left.
//!
//! There is no way back from the first drop, so it goes forward only: what fails is tried again, or waits for a person.

use super::subject::fenced_session;
use crate::{
    Direction, Plan,
    engine::{Step, StepError},
    fence, removal,
    server::{self, Mark},
};
use portero_kernel::{DatabaseName, JobId, RoleName, TenantId};
use portero_pg::Session;
use portero_registry::{Claim, Lease, NewJob, Registry, RegistryError, ServerRow};
use serde::Serialize;
use std::time::Duration;

/// The job's kind in the log.
pub const KIND: &str = "purge_tenant";

/// The workflow.
pub static WORKFLOW: Plan<Context> = Plan {
    kind: KIND,
    direction: Direction::ForwardOnly,
    steps: &STEPS,
    load: |registry, claim| Box::pin(Context::load(registry, claim)),
};

static STEPS: [Step<Context>; 5] = [
    Step::new("fence", |c| Box::pin(raise_fence(c))),
    Step::new("drop_database", |c| Box::pin(drop_database(c))),
    Step::new("drop_role", |c| Box::pin(drop_role(c))),
    Step::new("bury", |c| Box::pin(bury(c))),
    Step::new("prove", |c| Box::pin(prove_absent(c))),
];

/// Writes the job that purges a deleted tenant; says whether it was there to be purged. To be called with the tenant's
/// lock held.
///
/// # Errors
/// [`RegistryError::JobOpen`] where another job for it is not at rest, or the registry.
pub async fn begin(registry: &Registry, job: JobId, tenant: TenantId) -> Result<bool, RegistryError> {
    let steps: Vec<_> = STEPS.iter().map(Step::name).collect();
    let job = NewJob { id: job, kind: KIND, steps: &steps, secret: None, claim: None };
    registry.purge_insert(&job, tenant).await
}

/// What the steps work with.
pub struct Context {
    registry: Registry,
    lease: Lease,
    tenant: TenantId,
    database: DatabaseName,
    server: ServerRow,
}

impl Context {
    /// Reads what the steps need: of the tenant, or of its tombstone.
    async fn load(registry: &Registry, claim: &Claim) -> Result<Self, RegistryError> {
        let tenant = claim.job.tenant;
        let (database, server) = match registry.tenant_by_id(tenant).await? {
            Some(row) => (row.database, row.server),
            None => {
                let stone = registry.tombstone(tenant).await?;
                let stone = stone.ok_or(RegistryError::Unreadable("purge without a tenant"))?;
                (stone.database, stone.server)
            }
        };
        let server = registry.server_by_id(server).await?;
        let server = server.ok_or(RegistryError::Unreadable("tenant's server"))?;
        Ok(Self { registry: registry.clone(), lease: claim.lease.clone(), tenant, database, server })
    }

    fn role(&self) -> RoleName {
        RoleName::from(&self.database)
    }

    /// Portero's own session in the server's maintenance database.
    async fn on_server(&self) -> Result<Session, StepError> {
        let admin = &self.server.admin;
        fenced_session(&self.registry, &self.lease, admin, admin.get_dbname().unwrap_or("postgres")).await
    }
}

/// Again, whatever was done at the deletion: nobody is in the database that is dropped next.
async fn raise_fence(context: &Context) -> Result<(), StepError> {
    let session = context.on_server().await?;
    let there = server::has_role(&session, &context.role(), context.tenant).await?;
    session.close().await;
    if there {
        fence::raise(&context.server.admin, &context.role(), Duration::ZERO).await?;
    }
    Ok(())
}

async fn drop_database(context: &Context) -> Result<(), StepError> {
    let session = context.on_server().await?;
    let marks = [Mark::tenant(context.tenant)];
    removal::drop_database(&session, &context.server.admin, &context.database, &marks).await?;
    session.close().await;
    Ok(())
}

async fn drop_role(context: &Context) -> Result<(), StepError> {
    let session = context.on_server().await?;
    let marks = [Mark::tenant(context.tenant)];
    removal::drop_role(&session, &context.server.admin, &context.role(), &marks).await?;
    session.close().await;
    Ok(())
}

async fn bury(context: &Context) -> Result<(), StepError> {
    Ok(context.registry.tenant_bury(context.tenant, &context.lease).await?)
}

/// What the proof looked at.
#[derive(Serialize)]
struct Look {
    what: &'static str,
    place: String,
    found: i64,
}

/// Looks for everything that there was, by its name and by its mark, and keeps with the job what it found: nothing.
async fn prove_absent(context: &Context) -> Result<(), StepError> {
    let session = context.on_server().await?;
    let left = server::remains(&session, &context.database, context.tenant).await?;
    session.close().await;
    let here = context.registry.tenant_remains(context.tenant).await?;
    let at = |catalogue: &str| format!("{catalogue} on {}", context.server.name);
    let registry = |table: &str| format!("{table} in the registry");
    let looks = [
        Look { what: "database", place: at("pg_database"), found: left.databases },
        Look { what: "role", place: at("pg_roles"), found: left.roles },
        Look { what: "sessions", place: at("pg_stat_activity"), found: left.sessions },
        Look { what: "row, route and login", place: registry("tenants"), found: here.rows },
        Look { what: "secrets of jobs", place: registry("jobs"), found: here.secrets },
        Look { what: "names that lead to it", place: registry("former_subdomains"), found: here.redirects },
    ];
    let report = serde_json::json!({ "database": context.database.as_str(), "looked_for": looks });
    context.registry.job_set_report(&context.lease, &report).await?;
    let left: Vec<_> = looks.iter().filter(|look| look.found > 0).map(|look| look.what).collect();
    if left.is_empty() {
        Ok(())
    } else {
        Err(StepError::Again(format!("there is still something of it: {}", left.join(", "))))
    }
}
