//! Migrating the fleet: plan, run, resume; and what the registry has of runs.
//!
//! What is run is the fleet's schema, and files that are newer. Files of a run that comes to its end for the whole fleet belong
//! to that schema from then on: also where nobody lacked them, so that the next to sign up has them.
//!
//! Who has an older schema than the newest is planned for, by what the registry says; what a tenant really lacks is read in
//! its own database when its turn comes. A run has all migrations that are not built in, with their texts: whoever resumes
//! it needs no files.

use crate::{Control, TenantError, lint::lint_files};
use portero_kernel::{MigrationRunId, SchemaVersion, Subdomain, TenantId};
use portero_pg::{Migration, Migrations, SetError};
use portero_provisioner::{
    TENANT_MIGRATIONS,
    fleet::{self, Complaint, FleetSchema, RUN_LEASE, SchemaSource, Tell, Unfit, Waves, files_of, set_of},
};
use portero_registry::{
    MigrationCounts, MigrationRunRow, MigrationRunStatus, MigrationState, MigrationTenantRow,
    NewMigrationRun, NewMigrationTenant, RegistryError,
};
use serde::Serialize;
use std::{
    path::{Path, PathBuf},
    time::Duration,
};
use time::OffsetDateTime;
use tokio::sync::watch;

/// Whom to migrate to what, and how.
#[derive(Debug, Clone)]
pub struct MigrationRequest {
    /// These only; empty for all.
    pub tenants: Vec<Subdomain>,
    /// Who comes first.
    pub waves: Waves,
    /// How many at once on a server; fewer where Portero's own connections there leave less room.
    pub jobs: u16,
    /// How many may fail before no more begin. Nothing: none before the last wave, any number in it.
    pub max_failures: Option<u16>,
    /// How long a statement waits for a lock, and requests of that tenant behind it.
    pub lock_timeout: Duration,
    /// Where migrations are that are newer than those built in.
    pub directory: Option<PathBuf>,
}

/// What a run would do.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationPlan {
    /// The version that tenants are to have.
    pub target: SchemaVersion,
    /// What somebody lacks, in order.
    pub migrations: Vec<PlannedMigration>,
    /// Who is migrated in which wave.
    pub waves: Vec<Vec<PlannedTenant>>,
    /// How many have the version already.
    pub current: usize,
    /// Who has a newer one, which these migrations know nothing of.
    pub newer: Vec<PlannedTenant>,
    /// What the lint says of those that are not built in.
    pub complaints: Vec<Complaint>,
}

/// A migration that somebody lacks.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedMigration {
    /// Its version.
    pub version: SchemaVersion,
    /// Its name.
    pub name: String,
    /// Whether it is built into this program.
    pub built_in: bool,
    /// Whether it runs in a transaction.
    pub transaction: bool,
    /// How many tenants lack it, by what the registry says.
    pub tenants: usize,
}

/// A tenant, and the version that the registry says it has.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedTenant {
    /// Its subdomain.
    pub subdomain: String,
    /// Its version.
    pub version: SchemaVersion,
}

/// A run, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationRunView {
    /// Its id.
    pub id: MigrationRunId,
    /// `running`, `interrupted` (nobody works at it, and it is not at rest), `stopped` or `finished`.
    pub status: &'static str,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// The version that tenants are to have.
    pub target: SchemaVersion,
    /// Whether it is for all of the fleet; else for companies that were named.
    pub whole_fleet: bool,
    /// As they were asked for.
    pub waves: String,
    /// The wave that it is at.
    pub wave: i32,
    /// The last wave.
    pub last_wave: i32,
    /// Not begun.
    pub pending: i64,
    /// Under way.
    pub running: i64,
    /// They have the version.
    pub done: i64,
    /// They have not.
    pub failed: i64,
    /// They were left out.
    pub skipped: i64,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it came to rest.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// What became of a tenant in a run.
#[derive(Debug, Clone, Serialize)]
pub struct MigratedTenant {
    /// Its id.
    pub id: TenantId,
    /// As it was called when the run began.
    pub subdomain: String,
    /// The server that its database was on.
    pub server: String,
    /// Its wave.
    pub wave: i32,
    /// `pending`, `running`, `done`, `failed` or `skipped`.
    pub state: &'static str,
    /// The version of its schema before.
    pub version_before: SchemaVersion,
    /// The version afterwards, as its own history said.
    pub version_after: Option<SchemaVersion>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// How long it took, with pauses between tries.
    pub took_ms: Option<u64>,
    /// Why it failed or was left out.
    pub error: Option<String>,
}

/// A run and its tenants.
#[derive(Debug, Clone, Serialize)]
pub struct MigrationReport {
    /// The run.
    pub run: MigrationRunView,
    /// Its tenants, in the order in which they have their turns.
    pub tenants: Vec<MigratedTenant>,
}

/// Why the fleet was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The files are no set of migrations.
    #[error("these can't be the tenants' migrations")]
    Set(#[from] SetError),
    /// A file is another than what companies have.
    #[error(
        "{file}.sql is not the {was}.sql that run {run} gave to companies: a migration is never changed. Take back what was changed, \
         and put the change into a file with a new number"
    )]
    Ran {
        /// The file's name, without its ending.
        file: String,
        /// The one that was run.
        was: String,
        /// The run.
        run: MigrationRunId,
    },
    /// One that companies have is not there.
    #[error("{was}.sql, which run {run} gave to companies, is not among the migrations: put it back")]
    LeftOut {
        /// The one that was run.
        was: String,
        /// The run.
        run: MigrationRunId,
    },
    /// A file has a number below what companies have.
    #[error(
        "{file}.sql is older than {newest}.sql, which companies have already, and was never run: give it a number above that"
    )]
    Late {
        /// The file's name, without its ending.
        file: String,
        /// The newest that companies have.
        newest: String,
    },
    /// The lint says that one of them does harm, and the file doesn't say why it is fine.
    #[error(
        "nothing was run, because of {}: `portero migrate lint DIR` says more. Change the file, or say in a comment before the statement why it is fine: -- portero: allow RULE: REASON",
        places(.0)
    )]
    Lint(Vec<Complaint>),
    /// A tenant that was named is not there.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// There is none.
    #[error("no migration run has the id {0}: see `portero migrate runs`")]
    NotFound(String),
    /// Several are meant.
    #[error("several migration runs have an id like {0}: write more of it")]
    Ambiguous(String),
    /// It has come to its end.
    #[error("migration run {0} has come to its end, and none of its tenants failed")]
    AtEnd(MigrationRunId),
    /// This program has other migrations.
    #[error("migration run {0} began with other migrations than this Portero has: begin another")]
    Other(MigrationRunId),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
}

impl Control {
    /// What a run would do, and no more than that.
    ///
    /// # Errors
    /// [`MigrationError::Set`], [`MigrationError::Tenant`], or the registry.
    pub async fn migration_plan(&self, request: &MigrationRequest) -> Result<MigrationPlan, MigrationError> {
        let set = self.migration_set_to_run(request.directory.as_deref()).await?;
        let tenants = self.asked_for(request).await?;
        Ok(plan(&set, &request.waves, &tenants))
    }

    /// The fleet's schema, and the migrations of this directory that are newer.
    ///
    /// # Errors
    /// [`MigrationError::Set`], [`MigrationError::Ran`], or the registry.
    pub async fn migration_set(&self, directory: Option<&Path>) -> Result<Migrations, MigrationError> {
        joined(&FleetSchema::read(&self.registry).await?, directory)
    }

    /// The same, if it is what companies have of it already: what can be run.
    ///
    /// # Errors
    /// [`MigrationError::Set`], [`MigrationError::Ran`], [`MigrationError::LeftOut`], [`MigrationError::Late`], or the registry.
    pub async fn migration_set_to_run(&self, directory: Option<&Path>) -> Result<Migrations, MigrationError> {
        self.schema_and_set(directory).await.map(|(_, set)| set)
    }

    async fn schema_and_set(
        &self,
        directory: Option<&Path>,
    ) -> Result<(FleetSchema, Migrations), MigrationError> {
        let schema = FleetSchema::read(&self.registry).await?;
        let set = joined(&schema, directory)?;
        self.check_files(&set, &schema).await?;
        Ok((schema, set))
    }

    /// Begins a run and works at it until it is at rest, or until told to stop. Nothing where every tenant has the version, and
    /// who signs up has it, too.
    pub(crate) async fn do_migrate(
        &self,
        request: &MigrationRequest,
        tell: Tell<'_>,
        stop: watch::Receiver<bool>,
    ) -> Result<Option<MigrationReport>, MigrationError> {
        let (schema, set) = self.schema_and_set(request.directory.as_deref()).await?;
        let all = self.asked_for(request).await?;
        let new_to = newcomers(request, &all, schema.migrations.latest(), set.latest());
        let tenants = in_waves(all, &request.waves, set.latest());
        let lacking = tenants.iter().map(|tenant| tenant.version).chain(new_to);
        let Some(oldest) = lacking.min() else { return Ok(None) };
        let mut complaints = lint_files(&set, oldest);
        complaints.retain(Complaint::stops);
        if !complaints.is_empty() {
            return Err(MigrationError::Lint(complaints));
        }
        let new = NewMigrationRun {
            id: MigrationRunId::generate(),
            target: set.latest(),
            digest: set.digest(),
            files: files_of(&set),
            whole_fleet: request.tenants.is_empty(),
            waves: request.waves.to_string(),
            max_failures: request.max_failures.map(i32::from),
            jobs: i32::from(request.jobs),
            lock_timeout: request.lock_timeout,
            tenants,
        };
        self.registry.migration_run_insert(&new, RUN_LEASE).await?;
        tracing::info!(run = %new.id, target = new.target, tenants = new.tenants.len(), "a migration run begins");
        self.work_at(new.id, set, tell, stop).await.map(Some)
    }

    /// Goes on with a run that was left, or tries again what failed in one that came to rest.
    pub(crate) async fn do_migration_resume(
        &self,
        id: MigrationRunId,
        max_failures: Option<u16>,
        jobs: Option<u16>,
        tell: Tell<'_>,
        stop: watch::Receiver<bool>,
    ) -> Result<MigrationReport, MigrationError> {
        let run = self.migration_run(id).await?;
        let counts = &run.counts;
        if run.status == MigrationRunStatus::Finished && counts.failed + counts.skipped == 0 {
            return Err(MigrationError::AtEnd(id));
        }
        let set = set_of_run(&run)?;
        let (max_failures, jobs) = (max_failures.map(i32::from), jobs.map(i32::from));
        self.registry.migration_reopen(id, max_failures, jobs, RUN_LEASE).await?;
        tracing::info!(run = %id, "a migration run is resumed");
        self.work_at(id, set, tell, stop).await
    }

    /// The newest run that has not come to a good end, and was not followed by one that has, for all.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_left(&self) -> Result<Option<MigrationRunId>, MigrationError> {
        let runs = self.registry.migration_runs(None, 100).await?;
        let is_well =
            |run: &MigrationRunRow| run.status == MigrationRunStatus::Finished && run.counts.failed == 0;
        let mut since = runs.iter().take_while(|run| !(run.whole_fleet && is_well(run)));
        Ok(since.find(|run| !is_well(run)).map(|run| run.id))
    }

    /// The run with this id. Its beginning or its end will do, where that is of one only.
    ///
    /// # Errors
    /// [`MigrationError::NotFound`], [`MigrationError::Ambiguous`].
    pub async fn migration_find(&self, id: &str) -> Result<MigrationRunId, MigrationError> {
        let id = id.trim().to_ascii_lowercase();
        // What PostgreSQL can't hold is no id.
        let found = if id.is_empty() || id.contains('\0') {
            Vec::new()
        } else {
            self.registry.migration_runs_abbreviated(&id).await?
        };
        match found.as_slice() {
            [] => Err(MigrationError::NotFound(id)),
            [run] => Ok(*run),
            _ => Err(MigrationError::Ambiguous(id)),
        }
    }

    /// A run and what became of its tenants.
    ///
    /// # Errors
    /// [`MigrationError::NotFound`].
    pub async fn migration_report(&self, id: MigrationRunId) -> Result<MigrationReport, MigrationError> {
        let run = self.migration_run(id).await?.into();
        let tenants = self.registry.migration_run_tenants(id).await?;
        Ok(MigrationReport { run, tenants: tenants.into_iter().map(MigratedTenant::from).collect() })
    }

    async fn work_at(
        &self,
        id: MigrationRunId,
        set: Migrations,
        tell: Tell<'_>,
        stop: watch::Receiver<bool>,
    ) -> Result<MigrationReport, MigrationError> {
        let run = self.migration_run(id).await?;
        fleet::run(&self.registry, run, set, tell, stop).await?;
        let report = self.migration_report(id).await?;
        tracing::info!(run = %id, status = report.run.status, done = report.run.done, failed = report.run.failed, "a migration run was left or is at rest");
        Ok(report)
    }

    pub(crate) async fn migration_run(&self, id: MigrationRunId) -> Result<MigrationRunRow, MigrationError> {
        let run = self.registry.migration_run(id).await?;
        run.ok_or_else(|| MigrationError::NotFound(id.to_string()))
    }

    /// The tenants that were asked for, whatever version they have.
    async fn asked_for(&self, request: &MigrationRequest) -> Result<Vec<NewMigrationTenant>, MigrationError> {
        let mut tenants = self.registry.tenants_to_migrate().await?;
        if !request.tenants.is_empty() {
            for name in &request.tenants {
                if tenants.iter().all(|tenant| tenant.subdomain != *name) {
                    return Err(self.why_nobody(name).await?.into());
                }
            }
            tenants.retain(|tenant| request.tenants.contains(&tenant.subdomain));
        }
        Ok(tenants)
    }
}

fn plan(set: &Migrations, waves: &Waves, tenants: &[NewMigrationTenant]) -> MigrationPlan {
    let target = set.latest();
    let planned = in_waves(tenants.to_vec(), waves, target);
    let count = planned.last().map_or(0, |tenant| tenant.wave);
    let of_wave =
        |wave| planned.iter().filter(|tenant| tenant.wave == wave).map(PlannedTenant::from).collect();
    let lacked = |migration: &Migration| {
        let tenants = planned.iter().filter(|tenant| tenant.version < migration.version).count();
        PlannedMigration {
            version: migration.version,
            name: migration.name.clone(),
            built_in: TENANT_MIGRATIONS.find(migration.version).is_some(),
            transaction: migration.is_transactional(),
            tenants,
        }
    };
    MigrationPlan {
        target,
        migrations: set.all().iter().map(lacked).filter(|migration| migration.tenants > 0).collect(),
        waves: (1..=count).map(of_wave).collect(),
        current: tenants.iter().filter(|tenant| tenant.version == target).count(),
        newer: tenants.iter().filter(|tenant| tenant.version > target).map(PlannedTenant::from).collect(),
        complaints: planned
            .iter()
            .map(|tenant| tenant.version)
            .min()
            .map_or_else(Vec::new, |oldest| lint_files(set, oldest)),
    }
}

/// Where the lint found what, in short.
fn places(complaints: &[Complaint]) -> String {
    let place = |one: &Complaint| format!("{} ({}.sql, line {})", one.rule, one.migration, one.line);
    complaints.iter().map(place).collect::<Vec<_>>().join(", ")
}

/// Those whose schema is older, in order, each in its wave.
fn in_waves(
    tenants: Vec<NewMigrationTenant>,
    waves: &Waves,
    target: SchemaVersion,
) -> Vec<NewMigrationTenant> {
    let mut behind: Vec<_> = tenants.into_iter().filter(|tenant| tenant.version < target).collect();
    let sizes = waves.sizes(behind.len());
    let numbers = (1..).zip(sizes).flat_map(|(wave, size)| std::iter::repeat_n(wave, size));
    for (tenant, wave) in behind.iter_mut().zip(numbers) {
        tenant.wave = wave;
    }
    behind
}

/// The migrations that a run began with.
fn set_of_run(run: &MigrationRunRow) -> Result<Migrations, MigrationError> {
    set_of(run.target, run.digest, &run.files).map_err(|unfit| match unfit {
        Unfit::Unreadable => RegistryError::Unreadable("migration run's files").into(),
        Unfit::Differs(_) | Unfit::Unknown => MigrationError::Other(run.id),
    })
}

/// A schema, and the migrations of this directory that are newer.
fn joined(schema: &FleetSchema, directory: Option<&Path>) -> Result<Migrations, MigrationError> {
    let Some(directory) = directory else { return Ok(schema.migrations.clone()) };
    // First beside those built in: what is wrong with the files themselves is said of them.
    let files = TENANT_MIGRATIONS.with_directory(directory)?;
    let newer = files.after(TENANT_MIGRATIONS.latest()).to_vec();
    schema.migrations.with(newer).map_err(|error| match (&schema.source, error) {
        (SchemaSource::Run(run), SetError::Changed(file)) => {
            MigrationError::Ran { was: file.clone(), file, run: *run }
        }
        (SchemaSource::Run(run), SetError::Twice(was, file)) => MigrationError::Ran { file, was, run: *run },
        (SchemaSource::Run(_), SetError::Old { file, newest }) => MigrationError::Late { file, newest },
        (_, error) => error.into(),
    })
}

/// The version that new tenants would have without this run, where it is about them, too.
fn newcomers(
    request: &MigrationRequest,
    tenants: &[NewMigrationTenant],
    have: SchemaVersion,
    target: SchemaVersion,
) -> Option<SchemaVersion> {
    let is_news = have < target && tenants.iter().all(|tenant| tenant.version <= target);
    (request.tenants.is_empty() && is_news).then_some(have)
}

impl From<&NewMigrationTenant> for PlannedTenant {
    fn from(tenant: &NewMigrationTenant) -> Self {
        Self { subdomain: tenant.subdomain.to_string(), version: tenant.version }
    }
}

impl From<MigrationRunRow> for MigrationRunView {
    fn from(run: MigrationRunRow) -> Self {
        let MigrationCounts { pending, running, done, failed, skipped } = run.counts;
        let status = match run.status {
            MigrationRunStatus::Running if !run.alive => "interrupted",
            status => status.as_str(),
        };
        Self {
            id: run.id,
            status,
            reason: run.reason,
            target: run.target,
            whole_fleet: run.whole_fleet,
            waves: run.waves,
            wave: run.wave,
            last_wave: run.last_wave,
            pending,
            running,
            done,
            failed,
            skipped,
            created_at: run.created_at,
            finished_at: run.finished_at,
        }
    }
}

impl From<MigrationTenantRow> for MigratedTenant {
    fn from(row: MigrationTenantRow) -> Self {
        Self {
            id: row.tenant,
            subdomain: row.subdomain,
            server: row.server,
            wave: row.wave,
            state: row.state.as_str(),
            version_before: row.version_before,
            version_after: row.version_after,
            attempts: row.attempts,
            started_at: row.started_at,
            took_ms: row.took.and_then(|took| u64::try_from(took.as_millis()).ok()),
            error: row.error.filter(|_| row.state != MigrationState::Done),
        }
    }
}

impl MigrationReport {
    /// Whether every tenant has the version, or was left out for a reason.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.run.status == MigrationRunStatus::Finished.as_str() && self.run.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::ServerId;

    fn tenants(versions: &[SchemaVersion]) -> Vec<NewMigrationTenant> {
        let tenant = |(number, version): (usize, &SchemaVersion)| NewMigrationTenant {
            tenant: TenantId::generate(),
            subdomain: Subdomain::parse(&format!("tenant-{number}")).unwrap(),
            server: ServerId::generate(),
            wave: 1,
            version: *version,
        };
        versions.iter().enumerate().map(tenant).collect()
    }

    #[test]
    fn a_plan_is_of_those_who_are_behind() {
        let latest = TENANT_MIGRATIONS.latest();
        let all = tenants(&[latest, latest - 1, latest - 2, latest + 1, latest - 1]);
        let plan = plan(&TENANT_MIGRATIONS, &"1,100%".parse().unwrap(), &all);
        assert_eq!((plan.target, plan.current, plan.newer.len()), (latest, 1, 1));
        let names =
            |wave: &Vec<PlannedTenant>| wave.iter().map(|one| one.subdomain.clone()).collect::<Vec<_>>();
        let waves: Vec<_> = plan.waves.iter().map(names).collect();
        assert_eq!(waves, [vec!["tenant-1"], vec!["tenant-2", "tenant-4"]]);
        let lacked: Vec<_> = plan.migrations.iter().map(|one| (one.version, one.tenants)).collect();
        assert_eq!(lacked, [(latest - 1, 1), (latest, 3)]);
        let none = super::plan(&TENANT_MIGRATIONS, &Waves::default(), &tenants(&[latest]));
        assert!(none.waves.is_empty() && none.migrations.is_empty());
    }
}
