//! The central database: which company has which database, on which server, and what is being done about it.
//!
//! All SQL on the registry's tables is here, a module per noun, a function per statement. Secrets go in sealed and
//! come out only by the functions that say so. This room knows nothing of a tenant's schema and nothing of HTTP.
//! Next: `router` reads routes from here, `provisioner` works the jobs.

mod audit;
mod audit_walk;
mod bell;
mod budget;
mod connection;
mod holdings;
mod job_log;
mod jobs;
mod life;
mod lines;
mod listings;
mod migration_log;
mod migration_pages;
mod migration_runs;
mod names;
mod operators;
mod outbox;
mod routers;
mod routes;
mod secrets;
mod servers;
mod signups;
mod snapshot;
mod spares;
mod tenants;
mod verbs;

pub use audit::{Actor, AuditFilter, AuditRow, Entry, Outcome};
pub use audit_walk::{AuditFault, AuditHead, AuditVerdict, NotAHead};
pub use bell::{Bell, BellQueue, Channel};
pub use holdings::{HoldingRow, registries_with};
pub use job_log::{Claim, Lease};
pub use jobs::{JobRow, JobStatus, NewJob, StepRow, StepStatus};
pub use life::{
    Deletions, FormerSubdomain, GRACE_DAYS, QUARANTINE_DAYS, REDIRECT_DAYS, Remains, Tombstone, daily_cap,
};
pub use listings::{FailingJob, JobLine, JobQuery, TenantFilter, TenantOrder};
pub use migration_log::{Claimant, StopRule};
pub use migration_pages::MigrationWave;
pub use migration_runs::{
    AppliedFile, ClaimedMigration, FleetRun, MigrationCounts, MigrationPlace, MigrationResult,
    MigrationRunRow, MigrationRunStatus, MigrationState, MigrationTenantRow, NewMigrationRun,
    NewMigrationTenant,
};
pub use operators::OperatorRow;
pub use outbox::{Letter, Mail, MailRow, MailState};
pub use routers::{Answer, Beat, LapsedLease, LeaseRow, RouterRow, Use};
pub use routes::{FormerName, RouteChange, RouteChanges, RouteRow};
pub use secrets::{TenantLogin, server_config};
pub use servers::{ServerRow, ServerStatus};
pub use signups::{
    Bound, Invitation, InvitationRow, InvitationState, KeyAnswer, NewPending, Pending, SignUpKey, Terms,
    Token,
};
pub use snapshot::SnapshotHead;
pub use spares::{Origin, RefillRow, Refilled, SpareFigures, SpareRow, SpareState, Stopped};
pub use tenants::{NewTenant, TenantPlan, TenantRow, TenantStatus};
pub use verbs::Verb;

// A registry can't be opened without one.
pub use portero_auth::MasterKey;

use connection::{Connection, Transaction};
use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, QueueMode, RecyclingMethod, Runtime};
use lines::Lines;
use portero_auth::{Chain, Digester, Sealer};
use portero_kernel::{SchemaVersion, Subdomain};
use portero_pg::{Class, MigrateError, Migrations, Session, classify, hardened};
use std::{
    sync::{Arc, LazyLock},
    time::Duration,
};
use tokio_postgres::Config;

mod embedded {
    refinery::embed_migrations!("../../registry-migrations");
}

/// The registry's own schema.
pub static MIGRATIONS: LazyLock<Migrations> =
    LazyLock::new(|| Migrations::embedded(&embedded::migrations::runner()));

/// Why the registry didn't answer, or refused.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It can't be reached, or has no connection free in time.
    #[error("the registry can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It answered with an error.
    #[error("a statement on the registry failed")]
    Statement(#[source] tokio_postgres::Error),
    /// The subdomain belongs to somebody.
    #[error("the subdomain is taken")]
    SubdomainTaken,
    /// As many tenants were deleted in the last 24 hours as may be.
    #[error("as many tenants were deleted in the last 24 hours as may be")]
    TooManyDeletions,
    /// A server has the name already.
    #[error("the server's name is taken")]
    ServerTaken,
    /// An operator has the name already.
    #[error("the operator's name is taken")]
    OperatorTaken,
    /// No server takes new tenants.
    #[error("no database server takes new tenants")]
    NoServer,
    /// The name reads like this one, which is another's.
    #[error("the subdomain reads like {0}, which is another's")]
    LookAlike(String),
    /// The `Idempotency-Key` was used before.
    #[error("the key was used before")]
    KeyUsed,
    /// The link of a mail or of an invitation was used, has expired, or was never given out.
    #[error("the link is no longer good")]
    TokenSpent,
    /// More companies are being made than may be at once.
    #[error("too many companies are being made at once")]
    InFlight,
    /// More companies wait to be confirmed than may.
    #[error("too many sign-ups wait to be confirmed")]
    PendingFull(Bound),
    /// A secret could not be opened.
    #[error("a secret in the registry can't be opened: {0}")]
    Secret(String),
    /// A row holds something that this version doesn't understand.
    #[error("the registry holds a {0} that this version of Portero doesn't understand")]
    Unreadable(&'static str),
    /// One job at a time for a tenant.
    #[error("another job for {0} is under way: wait for it, or see `portero jobs list`")]
    JobOpen(Subdomain),
    /// The lease of a job was lost to another worker: this one must stop.
    #[error("another worker has taken over the job")]
    LeaseLost,
}

impl From<tokio_postgres::Error> for RegistryError {
    fn from(error: tokio_postgres::Error) -> Self {
        match classify(&error) {
            Class::Unavailable | Class::TooManyConnections | Class::Refused => {
                Self::Unavailable(Box::new(error))
            }
            _ => Self::Statement(error),
        }
    }
}

impl From<PoolError> for RegistryError {
    fn from(error: PoolError) -> Self {
        Self::Unavailable(Box::new(error))
    }
}

/// The registry's result.
pub type Result<T> = std::result::Result<T, RegistryError>;

/// A handle to the registry: a small pool of connections and the key to its secrets. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    pool: Pool,
    lines: Lines,
    config: Config,
    sealer: Arc<Sealer>,
    digester: Digester,
    chain: Arc<Chain>,
    /// What the next change is written down as.
    note: Option<Arc<audit::Note>>,
}

impl Registry {
    /// A handle; nothing is connected yet.
    ///
    /// # Panics
    /// Never: the pool's builder fails only without a runtime for its timeouts, which it is given.
    #[must_use]
    pub fn new(config: Config, key: &MasterKey) -> Self {
        let config = hardened(config);
        let lines = Lines::default();
        let manager = Manager::from_connect(
            config.clone(),
            lines.clone(),
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(8)
            // The one that was used last has its statements prepared.
            .queue_mode(QueueMode::Lifo)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(Duration::from_secs(3)))
            .create_timeout(Some(Duration::from_secs(3)))
            .build()
            .expect("a runtime is given");
        Self {
            pool,
            lines,
            config,
            sealer: Arc::new(Sealer::new(key)),
            digester: Digester::new(key),
            chain: Arc::new(Chain::new(key)),
            note: None,
        }
    }

    /// Brings the registry's schema to this program's version.
    ///
    /// # Errors
    /// The connection, or a migration.
    pub async fn migrate(&self) -> std::result::Result<SchemaVersion, MigrateError> {
        let mut session = portero_pg::connect(&self.config).await?;
        let version = MIGRATIONS.run(&mut session).await;
        session.close().await;
        version
    }

    /// The version of the registry's schema.
    ///
    /// # Errors
    /// The connection.
    pub async fn schema_version(&self) -> std::result::Result<SchemaVersion, MigrateError> {
        let session = portero_pg::connect(&self.config).await?;
        let version = MIGRATIONS.version(&session).await;
        session.close().await;
        version
    }

    /// A connection outside the pool, for what lasts or looks around: LISTEN, checks.
    ///
    /// # Errors
    /// The connection.
    pub async fn session(&self) -> Result<Session> {
        Ok(portero_pg::connect(&self.config).await?)
    }

    /// Whether the registry answers.
    ///
    /// # Errors
    /// If it doesn't.
    pub async fn ping(&self) -> Result<()> {
        self.client().await?.query_one("SELECT 1", &[]).await?;
        Ok(())
    }

    /// Ends all connections to the registry that there are, since one of them was silent for too long. Whoever waits for an
    /// answer over one is told that the registry can't be reached; the next to ask has a new one.
    pub fn give_up_connections(&self) {
        self.lines.give_up();
    }

    /// A keyed digest of values that could be guessed from a plain one.
    #[must_use]
    pub fn digest(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.digester.of(purpose, parts)
    }

    async fn client(&self) -> Result<Connection> {
        Ok(self.pool.get().await?.into())
    }
}

/// Notes in the transaction of a change that the tenant's route is another now; returns the clock value of that.
async fn route_changed_in_txn(txn: &Transaction<'_>, tenant: portero_kernel::TenantId) -> Result<i64> {
    Ok(txn.query_one("SELECT public.route_changed($1)", &[&tenant.uuid()]).await?.get(0))
}
