//! Jobs and their steps: long work that survives whoever was doing it.
//!
//! How a worker claims one and writes down what it does is in `job_log`.

use crate::{NewTenant, Registry, RegistryError, Result, TenantRow, connection::Transaction};
use portero_kernel::{JobId, SecretString, ServerId, Subdomain, TenantId};
use portero_pg::violated_constraint;
use std::{collections::HashMap, time::Duration};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// Where a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus {
    /// Its steps are being done.
    Running,
    /// A step failed for good; what was done is being undone.
    Undoing,
    /// All steps are done.
    Done,
    /// All that was done is undone.
    Undone,
    /// An undo failed for good, or a step that can't be undone: a person is needed.
    Stuck,
    /// A person gave it up. What is left of it is theirs to remove.
    Abandoned,
}

impl JobStatus {
    /// As the registry writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Undoing => "undoing",
            Self::Done => "done",
            Self::Undone => "undone",
            Self::Stuck => "stuck",
            Self::Abandoned => "abandoned",
        }
    }

    pub(crate) fn parse(text: &str) -> Result<Self> {
        [Self::Running, Self::Undoing, Self::Done, Self::Undone, Self::Stuck, Self::Abandoned]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(RegistryError::Unreadable("job's status"))
    }

    /// Whether nobody needs to work on it.
    #[must_use]
    pub const fn is_at_rest(self) -> bool {
        !matches!(self, Self::Running | Self::Undoing)
    }
}

/// Where a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepStatus {
    /// Not begun.
    Pending,
    /// Begun; whether it had its effect is unknown until it says so.
    Running,
    /// Done.
    Done,
    /// Failed for good.
    Failed,
    /// Its undo has begun.
    Undoing,
    /// Undone.
    Undone,
}

impl StepStatus {
    /// As the registry and the wire write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Undoing => "undoing",
            Self::Undone => "undone",
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Pending, Self::Running, Self::Done, Self::Failed, Self::Undoing, Self::Undone]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(RegistryError::Unreadable("step's status"))
    }
}

/// A job as it is about to be written.
pub struct NewJob<'a> {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: &'static str,
    /// The names of its steps, in order.
    pub steps: &'a [&'static str],
    /// What the steps need and nobody should read, if they need any.
    pub secret: Option<&'a SecretString>,
    /// SHA-256 of what the asking browser holds, if one asked.
    pub claim: Option<&'a [u8]>,
}

/// A job and its steps.
#[derive(Debug, Clone)]
pub struct JobRow {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: String,
    /// For whom.
    pub tenant: TenantId,
    /// The subdomain it was for; it outlives a tenant that was undone.
    pub subdomain: String,
    /// Where it is.
    pub status: JobStatus,
    /// Why it failed, for operators.
    pub error: Option<String>,
    /// When it was asked for.
    pub created_at: OffsetDateTime,
    /// When it came to rest.
    pub finished_at: Option<OffsetDateTime>,
    /// Until when whoever claimed it last has it; nothing where nobody has.
    pub lease_until: Option<OffsetDateTime>,
    /// What it found, if it kept anything.
    pub report: Option<serde_json::Value>,
    /// Its steps, in order.
    pub steps: Vec<StepRow>,
}

/// A step of a job.
#[derive(Debug, Clone)]
pub struct StepRow {
    /// Its name, also the key of its words.
    pub name: String,
    /// Where it is.
    pub status: StepStatus,
    /// How often its action or its undo was begun.
    pub attempts: i32,
    /// Why it failed, or the last try of it, for operators.
    pub error: Option<String>,
    /// When it last began.
    pub started_at: Option<OffsetDateTime>,
    /// When it last ended.
    pub finished_at: Option<OffsetDateTime>,
}

impl Registry {
    /// Reserves the tenant's name and writes the job that will make it: both or neither.
    ///
    /// # Errors
    /// [`RegistryError::SubdomainTaken`], [`RegistryError::NoServer`].
    pub(crate) async fn job_insert_with_tenant_in_txn(
        &self,
        txn: &Transaction<'_>,
        job: &NewJob<'_>,
        tenant: &NewTenant<'_>,
    ) -> Result<()> {
        self.tenant_insert_in_txn(txn, tenant).await?;
        self.job_insert_in_txn(txn, job, tenant.id, tenant.subdomain).await
    }

    /// Writes a job for a tenant that is there.
    ///
    /// # Errors
    /// [`RegistryError::JobOpen`] where another job of this tenant is not at rest, or stuck.
    pub async fn job_insert_for(&self, job: &NewJob<'_>, tenant: &TenantRow) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        self.job_insert_in_txn(&txn, job, tenant.id, &tenant.subdomain).await?;
        txn.commit().await?;
        Ok(())
    }

    /// Writes a job for a tenant; its caller's transaction is what the job is about to go on from.
    ///
    /// # Errors
    /// [`RegistryError::JobOpen`] where another job of this tenant is not at rest, or stuck.
    pub(crate) async fn job_insert_in_txn(
        &self,
        txn: &Transaction<'_>,
        job: &NewJob<'_>,
        tenant: TenantId,
        subdomain: &Subdomain,
    ) -> Result<()> {
        let secret = job.secret.map(|secret| self.seal_job_secret(job.id, secret));
        txn.execute(
            "INSERT INTO jobs (id, kind, tenant_id, subdomain, secret, claim) VALUES ($1, $2, $3, $4, $5, $6)",
            &[&job.id.uuid(), &job.kind, &tenant.uuid(), &subdomain.as_str(), &secret, &job.claim],
        )
        .await
        .map_err(|error| match violated_constraint(&error) {
            Some("jobs_one_per_tenant") => RegistryError::JobOpen(subdomain.clone()),
            _ => error.into(),
        })?;
        txn.execute(
            "INSERT INTO job_steps (job_id, position, name)
             SELECT $1, position::integer, name FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)",
            &[&job.id.uuid(), &job.steps],
        )
        .await?;
        txn.execute("SELECT public.ring('portero_jobs', $1)", &[&job.id.to_string()]).await?;
        Ok(())
    }

    /// A job with its steps.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_by_id(&self, id: JobId) -> Result<Option<JobRow>> {
        let client = self.client().await?;
        let job = client
            .query_opt(
                "SELECT id, kind, tenant_id, subdomain, status, error, created_at, finished_at, lease_until, report
                 FROM jobs WHERE id = $1",
                &[&id.uuid()],
            )
            .await?;
        let Some(job) = job else { return Ok(None) };
        let steps = client
            .query("SELECT name, status, attempt, error, started_at, finished_at FROM job_steps WHERE job_id = $1 ORDER BY position", &[&id.uuid()])
            .await?;
        job_from_rows(&job, &steps).map(Some)
    }

    /// Up to `limit` jobs in one of these states with their steps, newest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_newest(&self, states: &[JobStatus], limit: i64) -> Result<Vec<JobRow>> {
        let states: Vec<_> = states.iter().map(|status| status.as_str()).collect();
        let client = self.client().await?;
        let jobs = client
            .query(
                "SELECT id, kind, tenant_id, subdomain, status, error, created_at, finished_at, lease_until, report
                 FROM jobs WHERE status = ANY($1) ORDER BY created_at DESC, id LIMIT $2",
                &[&states, &limit],
            )
            .await?;
        let ids: Vec<Uuid> = jobs.iter().map(|job| job.get("id")).collect();
        let mut steps: HashMap<Uuid, Vec<Row>> = HashMap::new();
        let rows = client
            .query(
                "SELECT job_id, name, status, attempt, error, started_at, finished_at
                 FROM job_steps WHERE job_id = ANY($1) ORDER BY position",
                &[&ids],
            )
            .await?;
        for row in rows {
            steps.entry(row.get("job_id")).or_default().push(row);
        }
        jobs.iter()
            .map(|job| job_from_rows(job, steps.get(&job.get("id")).map_or(&[][..], Vec::as_slice)))
            .collect()
    }

    /// The ids that begin or end like this, at most two. (They begin with the time, so that they differ at the end.)
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_abbreviated(&self, text: &str) -> Result<Vec<JobId>> {
        let rows = self
            .client()
            .await?
            .query("SELECT id FROM jobs WHERE starts_with(id::text, $1) OR right(id::text, length($1)) = $1 LIMIT 2", &[&text])
            .await?;
        Ok(rows.iter().map(|row| JobId::from(row.get::<_, Uuid>(0))).collect())
    }

    /// Lets a stuck job go on: with the undo that failed, or with the step, where none had to be undone. Says whether it
    /// was stuck.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_retry(&self, id: JobId) -> Result<bool> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let goes = txn
            .query_opt(
                "UPDATE jobs SET finished_at = NULL, lease_until = NULL,
                        status = CASE WHEN EXISTS (SELECT FROM job_steps WHERE job_id = $1 AND status = 'undoing')
                                      THEN 'undoing' ELSE 'running' END
                 WHERE id = $1 AND status = 'stuck' RETURNING status",
                &[&id.uuid()],
            )
            .await?;
        let Some(goes) = goes else { return Ok(false) };
        if JobStatus::parse(goes.get(0))? == JobStatus::Running {
            txn.execute(
                "UPDATE job_steps SET status = 'pending' WHERE job_id = $1 AND status = 'failed'",
                &[&id.uuid()],
            )
            .await?;
            txn.execute("UPDATE jobs SET error = NULL WHERE id = $1", &[&id.uuid()]).await?;
        }
        txn.execute(
            "SELECT public.ring('portero_jobs', $1), public.ring('portero_job_events', $1)",
            &[&id.to_string()],
        )
        .await?;
        self.note_in_txn(&txn, None).await?;
        txn.commit().await?;
        Ok(true)
    }

    /// Gives a job in one of these states up: whoever works on it finds that its writes no longer count. Says whether it
    /// was in one.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_abandon(&self, id: JobId, states: &[JobStatus]) -> Result<bool> {
        let states: Vec<_> = states.iter().map(|status| status.as_str()).collect();
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let written = txn
            .query_opt(
                "WITH written AS (
                     UPDATE jobs SET status = 'abandoned', fence = fence + 1, lease_until = NULL, secret = NULL,
                            finished_at = now()
                     WHERE id = $1 AND status = ANY($2)
                     RETURNING id)
                 SELECT public.ring('portero_job_events', id::text) FROM written",
                &[&id.uuid(), &states],
            )
            .await?;
        if written.is_some() {
            self.note_in_txn(&txn, None).await?;
        }
        txn.commit().await?;
        Ok(written.is_some())
    }

    /// Forgets jobs that came to rest longer ago than this, a thousand at most; says how many. Those that a person has yet
    /// to look after stay: what is stuck, and what was given up while a name is reserved for it.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_prune(&self, older: Duration) -> Result<u64> {
        let pruned = self
            .client()
            .await?
            .execute(
                "DELETE FROM jobs WHERE id IN (
                     SELECT id FROM jobs
                     WHERE status IN ('done', 'undone', 'abandoned')
                       AND finished_at < now() - make_interval(secs => $1)
                       AND NOT EXISTS (SELECT FROM tenants WHERE tenants.id = jobs.tenant_id AND tenants.status = 'provisioning')
                     ORDER BY created_at LIMIT 1000)",
                &[&older.as_secs_f64()],
            )
            .await?;
        Ok(pruned)
    }

    /// How many jobs are not at rest.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_open(&self) -> Result<i64> {
        let row = self
            .client()
            .await?
            .query_one("SELECT count(*) FROM jobs WHERE status IN ('running', 'undoing')", &[])
            .await?;
        Ok(row.get(0))
    }

    /// Whether a job is being worked on, or is about to be, whose tenant is on this server.
    ///
    /// # Errors
    /// The registry.
    pub async fn is_at_work_on(&self, server: ServerId) -> Result<bool> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT EXISTS (SELECT FROM jobs JOIN tenants ON tenants.id = tenant_id
                                WHERE jobs.status IN ('running', 'undoing') AND server_id = $1)",
                &[&server.uuid()],
            )
            .await?;
        Ok(row.get(0))
    }

    /// Uses up the claim of the browser that asked for this job; says whether it held the right one.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_take_claim(&self, id: JobId, claim: &[u8]) -> Result<bool> {
        let taken = self
            .client()
            .await?
            .execute("UPDATE jobs SET claim = NULL WHERE id = $1 AND claim = $2", &[&id.uuid(), &claim])
            .await?;
        Ok(taken == 1)
    }
}

fn job_from_rows(job: &Row, steps: &[Row]) -> Result<JobRow> {
    let steps = steps
        .iter()
        .map(|row| {
            Ok(StepRow {
                name: row.get("name"),
                status: StepStatus::parse(row.get("status"))?,
                attempts: row.get("attempt"),
                error: row.get("error"),
                started_at: row.get("started_at"),
                finished_at: row.get("finished_at"),
            })
        })
        .collect::<Result<_>>()?;
    Ok(JobRow {
        id: JobId::from(job.get::<_, Uuid>("id")),
        kind: job.get("kind"),
        tenant: TenantId::from(job.get::<_, Uuid>("tenant_id")),
        subdomain: job.get("subdomain"),
        status: JobStatus::parse(job.get("status"))?,
        error: job.get("error"),
        created_at: job.get("created_at"),
        finished_at: job.get("finished_at"),
        lease_until: job.get("lease_until"),
        report: job.get("report"),
        steps,
    })
}
