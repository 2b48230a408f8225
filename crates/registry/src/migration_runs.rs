//! Migrations of the tenants' databases, as they are kept: which run, which tenant in which wave, and what came of it.
//!
//! Whoever works at a run claims some tenants for a while, by this database's clock, and writes down what came of many at
//! once (`migration_log`): a commit for each would cost more than its migration. What somebody writes who has lost a tenant
//! meanwhile doesn't count. That two never migrate one database is not said here, but by a lock in the database itself.

use crate::{Registry, RegistryError, Result, TenantStatus};
use portero_kernel::{DatabaseName, MigrationRunId, SchemaVersion, ServerId, Subdomain, TenantId};
use std::time::Duration;
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// For how long a run at rest is remembered.
const REMEMBERED_DAYS: i32 = 90;

/// A run that is about to begin.
#[derive(Debug, Clone)]
pub struct NewMigrationRun {
    /// Its id.
    pub id: MigrationRunId,
    /// The version that tenants are to have.
    pub target: SchemaVersion,
    /// Of all migrations up to there.
    pub digest: u64,
    /// Those that are not built in.
    pub files: serde_json::Value,
    /// Whether tenants that come meanwhile belong to it.
    pub whole_fleet: bool,
    /// As they were asked for.
    pub waves: String,
    /// After how many failures no more begin; nothing for the usual rule.
    pub max_failures: Option<i32>,
    /// How many at once on a server.
    pub jobs: i32,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// Whom to migrate, in order.
    pub tenants: Vec<NewMigrationTenant>,
}

/// A tenant that a run is to migrate.
#[derive(Debug, Clone)]
pub struct NewMigrationTenant {
    /// Who.
    pub tenant: TenantId,
    /// Its subdomain.
    pub subdomain: Subdomain,
    /// Where its database is.
    pub server: ServerId,
    /// When: 1 is the first wave.
    pub wave: i32,
    /// The version of its schema, as the registry has it.
    pub version: SchemaVersion,
}

/// Where a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationRunStatus {
    /// Somebody works at it, or has died over it.
    Running,
    /// Too many have failed: the others were left as they are.
    Stopped,
    /// Every tenant was seen to.
    Finished,
}

impl MigrationRunStatus {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Stopped => "stopped",
            Self::Finished => "finished",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Running, Self::Stopped, Self::Finished]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(RegistryError::Unreadable("migration run's status"))
    }
}

/// A run.
#[derive(Debug, Clone)]
pub struct MigrationRunRow {
    /// Its id.
    pub id: MigrationRunId,
    /// Where it is.
    pub status: MigrationRunStatus,
    /// The version that tenants are to have.
    pub target: SchemaVersion,
    /// Of all migrations up to there.
    pub digest: u64,
    /// Those that were not built in.
    pub files: serde_json::Value,
    /// Whether tenants that come meanwhile belong to it.
    pub whole_fleet: bool,
    /// As they were asked for.
    pub waves: String,
    /// The wave that is being worked at.
    pub wave: i32,
    /// The last wave.
    pub last_wave: i32,
    /// After how many failures no more begin; nothing for the usual rule.
    pub max_failures: Option<i32>,
    /// How many at once on a server.
    pub jobs: i32,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// Whether somebody works at it.
    pub alive: bool,
    /// When it began.
    pub created_at: OffsetDateTime,
    /// When it came to rest.
    pub finished_at: Option<OffsetDateTime>,
    /// Whether it has seen to everybody once, and was opened again if it isn't at rest.
    pub completed: bool,
    /// How many tenants are in which state.
    pub counts: MigrationCounts,
}

/// A file that tenants have from a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedFile {
    /// What it was called, without its ending.
    pub name: String,
    /// Its text.
    pub sql: String,
    /// The newest run that brought it.
    pub run: MigrationRunId,
}

/// The run whose files belong to the schema of new tenants.
#[derive(Debug, Clone)]
pub struct FleetRun {
    /// Its id.
    pub id: MigrationRunId,
    /// The version that tenants have since.
    pub target: SchemaVersion,
    /// Of all migrations up to there.
    pub digest: u64,
    /// Those that were not built in.
    pub files: serde_json::Value,
}

/// How many tenants of a run are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MigrationCounts {
    /// Not begun.
    pub pending: i64,
    /// Under way.
    pub running: i64,
    /// They have the version.
    pub done: i64,
    /// They have not, and why is written down.
    pub failed: i64,
    /// They were left out, and why is written down.
    pub skipped: i64,
}

/// Where a tenant is in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationState {
    /// Not begun.
    Pending,
    /// Under way.
    Running,
    /// It has the version: its own history said so.
    Done,
    /// It has not.
    Failed,
    /// It was left out.
    Skipped,
}

impl MigrationState {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        }
    }

    /// The state that is written like this, if any is.
    #[must_use]
    pub fn from_code(text: &str) -> Option<Self> {
        [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Skipped]
            .into_iter()
            .find(|state| state.as_str() == text)
    }

    fn parse(text: &str) -> Result<Self> {
        Self::from_code(text).ok_or(RegistryError::Unreadable("migration's state"))
    }
}

/// A tenant of a run.
#[derive(Debug, Clone)]
pub struct MigrationTenantRow {
    /// Who.
    pub tenant: TenantId,
    /// As it was called when the run began.
    pub subdomain: String,
    /// The name of the server that its database was on.
    pub server: String,
    /// Its wave.
    pub wave: i32,
    /// Its place in the run, from 1.
    pub position: i32,
    /// Where it is.
    pub state: MigrationState,
    /// The version of its schema before.
    pub version_before: SchemaVersion,
    /// The version afterwards, as its own history said.
    pub version_after: Option<SchemaVersion>,
    /// How often it was tried.
    pub attempts: i32,
    /// When it was begun.
    pub started_at: Option<OffsetDateTime>,
    /// How long it took, with pauses between tries.
    pub took: Option<Duration>,
    /// Why it failed or was skipped.
    pub error: Option<String>,
}

/// A tenant that a worker has claimed, as it is now.
#[derive(Debug, Clone)]
pub struct ClaimedMigration {
    /// Who.
    pub tenant: TenantId,
    /// As it was called when the run began.
    pub subdomain: String,
    /// Its state, server and database; nothing where it is gone.
    pub at: Option<MigrationPlace>,
}

/// Where a tenant's database is, and whether it may be migrated.
#[derive(Debug, Clone)]
pub struct MigrationPlace {
    /// Where it is in its life.
    pub status: TenantStatus,
    /// Its server.
    pub server: ServerId,
    /// Its database.
    pub database: DatabaseName,
    /// The version of its schema, as the registry has it.
    pub version: SchemaVersion,
}

/// What came of one tenant.
#[derive(Debug, Clone)]
pub struct MigrationResult {
    /// Who.
    pub tenant: TenantId,
    /// [`MigrationState::Done`], `Failed` or `Skipped`.
    pub state: MigrationState,
    /// As its own history said; nothing where that was never read.
    pub before: Option<SchemaVersion>,
    /// The same, afterwards.
    pub after: Option<SchemaVersion>,
    /// How often it was tried.
    pub attempts: i32,
    /// How long that took, with pauses between.
    pub took: Duration,
    /// Why it failed or was skipped.
    pub error: Option<String>,
}

pub(crate) const RUN: &str = "SELECT r.id, r.status, r.target, r.digest, r.files, r.whole_fleet, r.waves, r.wave, r.max_failures,
        r.jobs, r.lock_timeout_ms, r.reason, r.created_at, r.finished_at,
        r.completed_at IS NOT NULL AS completed,
        r.status = 'running' AND r.alive_until > now() AS alive,
        coalesce(t.last_wave, 0) AS last_wave, t.pending, t.running, t.done, t.failed, t.skipped
    FROM migration_runs r, LATERAL (
        SELECT max(wave) AS last_wave,
               count(*) FILTER (WHERE state = 'pending') AS pending, count(*) FILTER (WHERE state = 'running') AS running,
               count(*) FILTER (WHERE state = 'done') AS done, count(*) FILTER (WHERE state = 'failed') AS failed,
               count(*) FILTER (WHERE state = 'skipped') AS skipped
        FROM migration_run_tenants WHERE run_id = r.id) t";

/// The run whose files new tenants get: it had files, it was for the whole fleet, and it came to its end with somebody who has
/// them. One that is opened again to try what failed stays that run, and so does one that is stopped in that. No fleet goes
/// back, so the newest is the one that went furthest. (A program that is older than `completed_at` doesn't write it.)
const FLEET_RUN: &str = "SELECT r.id, r.target, r.digest, r.files FROM migration_runs r
    WHERE r.whole_fleet AND r.files <> '[]' AND (r.completed_at IS NOT NULL OR r.status = 'finished')
      AND (EXISTS (SELECT FROM migration_run_tenants t WHERE t.run_id = r.id AND t.state = 'done')
           OR NOT EXISTS (SELECT FROM migration_run_tenants t WHERE t.run_id = r.id))
    ORDER BY r.target DESC, r.created_at DESC LIMIT 1";

pub(crate) fn counts(row: &Row) -> MigrationCounts {
    MigrationCounts {
        pending: row.get("pending"),
        running: row.get("running"),
        done: row.get("done"),
        failed: row.get("failed"),
        skipped: row.get("skipped"),
    }
}

/// As the registry has a digest: its bits, as a number with a sign.
fn digest(row: &Row) -> u64 {
    u64::from_ne_bytes(row.get::<_, i64>("digest").to_ne_bytes())
}

impl MigrationRunRow {
    pub(crate) fn from_row(row: &Row) -> Result<Self> {
        let status = MigrationRunStatus::parse(row.get("status"))?;
        let lock_timeout = u64::try_from(row.get::<_, i32>("lock_timeout_ms"))
            .map_err(|_| RegistryError::Unreadable("migration run's timeout"))?;
        Ok(Self {
            id: MigrationRunId::from(row.get::<_, Uuid>("id")),
            status,
            target: row.get("target"),
            digest: digest(row),
            files: row.get("files"),
            whole_fleet: row.get("whole_fleet"),
            waves: row.get("waves"),
            wave: row.get("wave"),
            last_wave: row.get("last_wave"),
            max_failures: row.get("max_failures"),
            jobs: row.get("jobs"),
            lock_timeout: Duration::from_millis(lock_timeout),
            reason: row.get("reason"),
            alive: row.get("alive"),
            created_at: row.get("created_at"),
            finished_at: row.get("finished_at"),
            completed: row.get("completed"),
            counts: counts(row),
        })
    }
}

impl MigrationTenantRow {
    pub(crate) fn from_row(row: &Row) -> Result<Self> {
        let took = row.get::<_, Option<i32>>("took_ms").and_then(|took| u64::try_from(took).ok());
        Ok(Self {
            tenant: TenantId::from(row.get::<_, Uuid>("tenant_id")),
            subdomain: row.get("subdomain"),
            server: row.get::<_, Option<String>>("server").unwrap_or_default(),
            wave: row.get("wave"),
            position: row.get("position"),
            state: MigrationState::parse(row.get("state"))?,
            version_before: row.get("version_before"),
            version_after: row.get("version_after"),
            attempts: row.get("attempts"),
            started_at: row.get("started_at"),
            took: took.map(Duration::from_millis),
            error: row.get("error"),
        })
    }
}

impl MigrationPlace {
    pub(crate) fn from_row(row: &Row) -> Result<Option<Self>> {
        let Some(status) = row.get::<_, Option<&str>>("status") else { return Ok(None) };
        let database = row.get::<_, &str>("db_name").parse();
        Ok(Some(Self {
            status: TenantStatus::parse(status)?,
            server: ServerId::from(row.get::<_, Uuid>("server_id")),
            database: database.map_err(|_| RegistryError::Unreadable("database's name"))?,
            version: row.get("schema_version"),
        }))
    }
}

impl Registry {
    /// Every tenant that is not being purged, oldest first: whom a run may migrate.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenants_to_migrate(&self) -> Result<Vec<NewMigrationTenant>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT id, subdomain, server_id, schema_version FROM tenants WHERE status <> 'purging'
                 ORDER BY created_at, id",
                &[],
            )
            .await?;
        let read = |row: &Row| {
            Ok(NewMigrationTenant {
                tenant: TenantId::from(row.get::<_, Uuid>("id")),
                subdomain: Subdomain::parse(row.get("subdomain"))
                    .map_err(|_| RegistryError::Unreadable("subdomain"))?,
                server: ServerId::from(row.get::<_, Uuid>("server_id")),
                wave: 1,
                version: row.get("schema_version"),
            })
        };
        rows.iter().map(read).collect()
    }

    /// The run whose files belong to the schema of new tenants; nothing where what is built in is all there is.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run_of_fleet(&self) -> Result<Option<FleetRun>> {
        let row = self.client().await?.query_opt(FLEET_RUN, &[]).await?;
        Ok(row.map(|row| FleetRun {
            id: MigrationRunId::from(row.get::<_, Uuid>("id")),
            target: row.get("target"),
            digest: digest(&row),
            files: row.get("files"),
        }))
    }

    /// The files of runs that tenants have which are still there: each text once, with the newest of its runs, in order.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_files_applied(&self) -> Result<Vec<AppliedFile>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT DISTINCT ON (file.version, file.name, file.sql) file.name, file.sql, r.id
                 FROM migration_runs r, LATERAL (
                     SELECT name, sql, substring(name FROM '^V([0-9]{1,9})__')::integer AS version
                     FROM jsonb_to_recordset(r.files) AS f (name text, sql text)) file
                 WHERE EXISTS (
                     SELECT FROM migration_run_tenants t JOIN tenants ON tenants.id = t.tenant_id
                     WHERE t.run_id = r.id AND t.version_before < file.version AND file.version <= t.version_after)
                 ORDER BY file.version, file.name, file.sql, r.created_at DESC",
                &[],
            )
            .await?;
        let read = |row: &Row| AppliedFile {
            name: row.get("name"),
            sql: row.get("sql"),
            run: MigrationRunId::from(row.get::<_, Uuid>("id")),
        };
        Ok(rows.iter().map(read).collect())
    }

    /// Writes a run down, and forgets those that came to rest long ago; never the one whose files new tenants get.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run_insert(&self, new: &NewMigrationRun, lease: Duration) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let of_fleet = txn.query_opt(FLEET_RUN, &[]).await?.map(|row| row.get::<_, Uuid>("id"));
        txn.execute(
            "DELETE FROM migration_runs
             WHERE finished_at < now() - make_interval(days => $1) AND status <> 'running' AND id IS DISTINCT FROM $2",
            &[&REMEMBERED_DAYS, &of_fleet],
        )
        .await?;
        let digest = i64::from_ne_bytes(new.digest.to_ne_bytes());
        txn.execute(
            "INSERT INTO migration_runs
                 (id, target, digest, files, whole_fleet, waves, max_failures, jobs, lock_timeout_ms, alive_until)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, now() + make_interval(secs => $10))",
            &[
                &new.id.uuid(),
                &new.target,
                &digest,
                &new.files,
                &new.whole_fleet,
                &new.waves,
                &new.max_failures,
                &new.jobs,
                &millis(new.lock_timeout),
                &lease.as_secs_f64(),
            ],
        )
        .await?;
        let ids: Vec<_> = new.tenants.iter().map(|tenant| tenant.tenant.uuid()).collect();
        let names: Vec<_> = new.tenants.iter().map(|tenant| tenant.subdomain.as_str()).collect();
        let servers: Vec<_> = new.tenants.iter().map(|tenant| tenant.server.uuid()).collect();
        let waves: Vec<_> = new.tenants.iter().map(|tenant| tenant.wave).collect();
        let versions: Vec<_> = new.tenants.iter().map(|tenant| tenant.version).collect();
        txn.execute(
            "INSERT INTO migration_run_tenants (run_id, tenant_id, subdomain, server_id, wave, version_before, position)
             SELECT $1, * FROM unnest($2::uuid[], $3::text[], $4::uuid[], $5::integer[], $6::integer[]) WITH ORDINALITY",
            &[&new.id.uuid(), &ids, &names, &servers, &waves, &versions],
        )
        .await?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(())
    }

    /// A run.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run(&self, id: MigrationRunId) -> Result<Option<MigrationRunRow>> {
        let sql = [RUN, " WHERE r.id = $1"].concat();
        let row = self.client().await?.query_opt(&sql, &[&id.uuid()]).await?;
        row.as_ref().map(MigrationRunRow::from_row).transpose()
    }

    /// The ids that begin or end like this, at most two.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_runs_abbreviated(&self, text: &str) -> Result<Vec<MigrationRunId>> {
        const SQL: &str = "SELECT id FROM migration_runs
            WHERE starts_with(id::text, $1) OR right(id::text, length($1)) = $1 LIMIT 2";
        let rows = self.client().await?.query(SQL, &[&text]).await?;
        Ok(rows.iter().map(|row| MigrationRunId::from(row.get::<_, Uuid>(0))).collect())
    }

    /// The tenants of a run, in order.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_run_tenants(&self, id: MigrationRunId) -> Result<Vec<MigrationTenantRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT m.tenant_id, m.subdomain, s.name AS server, m.wave, m.position, m.state,
                        m.version_before, m.version_after, m.attempts, m.started_at, m.took_ms, m.error
                 FROM migration_run_tenants m LEFT JOIN servers s ON s.id = m.server_id
                 WHERE m.run_id = $1 ORDER BY m.wave, m.position",
                &[&id.uuid()],
            )
            .await?;
        rows.iter().map(MigrationTenantRow::from_row).collect()
    }

    /// Opens a run again: one that was left is gone on with as it is; of one that is at rest, those that failed are tried
    /// again. Of what is given here, nothing leaves it as it was.
    ///
    /// # Errors
    /// The registry.
    pub async fn migration_reopen(
        &self,
        run: MigrationRunId,
        max_failures: Option<i32>,
        jobs: Option<i32>,
        lease: Duration,
    ) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let sql = "SELECT status FROM migration_runs WHERE id = $1 FOR UPDATE";
        let was = txn.query_one(sql, &[&run.uuid()]).await?;
        if was.get::<_, &str>(0) != MigrationRunStatus::Running.as_str() {
            txn.execute(
                "UPDATE migration_run_tenants SET state = 'pending', error = NULL
                 WHERE run_id = $1 AND state IN ('failed', 'skipped')",
                &[&run.uuid()],
            )
            .await?;
        }
        txn.execute(
            "UPDATE migration_runs
             SET status = 'running', reason = NULL, finished_at = NULL,
                 max_failures = coalesce($2, max_failures), jobs = coalesce($3, jobs),
                 alive_until = now() + make_interval(secs => $4),
                 wave = coalesce((SELECT min(wave) FROM migration_run_tenants
                                  WHERE run_id = $1 AND state IN ('pending', 'running')), wave)
             WHERE id = $1",
            &[&run.uuid(), &max_failures, &jobs, &lease.as_secs_f64()],
        )
        .await?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(())
    }
}

/// As the tables keep a time: in whole milliseconds, and no longer than they can.
pub(crate) fn millis(time: Duration) -> i32 {
    i32::try_from(time.as_millis()).unwrap_or(i32::MAX)
}
