//! Jobs and their steps: long work that survives whoever was doing it.
//!
//! A worker claims a job for a while (the lease, in the database's time) and with a number that grows with each claim
//! (the fence). Every write of a step names that number; a worker that was away longer than its lease finds that
//! somebody else has the job, and that its writes no longer count.

use crate::{NewTenant, Registry, RegistryError, Result};
use deadpool_postgres::Transaction;
use portero_kernel::{JobId, SecretString, TenantId};
use std::time::Duration;
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
    /// An undo failed for good: a person is needed.
    Stuck,
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
        }
    }

    fn parse(text: &str) -> Result<Self> {
        [Self::Running, Self::Undoing, Self::Done, Self::Undone, Self::Stuck]
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(RegistryError::Unreadable("job's status"))
    }

    /// Whether nobody needs to work on it.
    #[must_use]
    pub const fn is_at_rest(self) -> bool {
        matches!(self, Self::Done | Self::Undone | Self::Stuck)
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
    /// What the steps need and nobody should read.
    pub secret: &'a SecretString,
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
    /// When it last began.
    pub started_at: Option<OffsetDateTime>,
    /// When it last ended.
    pub finished_at: Option<OffsetDateTime>,
}

/// The right to work on one job, as long as the lease lasts.
#[derive(Debug, Clone)]
pub struct Lease {
    job: JobId,
    fence: i64,
}

/// A claimed job: what a worker needs to go on with it.
pub struct Claim {
    /// The right to it.
    pub lease: Lease,
    /// The job as it was found.
    pub job: JobRow,
    /// What the steps need; nothing where a job has no secret.
    pub secret: Option<SecretString>,
}

impl Lease {
    /// The job.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// Holds the job's row until the transaction ends, if it is still this worker's.
    pub(crate) async fn check_in_txn(&self, txn: &Transaction<'_>) -> Result<()> {
        txn.query_opt(
            "SELECT FROM jobs WHERE id = $1 AND fence = $2 FOR UPDATE",
            &[&self.job.uuid(), &self.fence],
        )
        .await?
        .map(|_| ())
        .ok_or(RegistryError::LeaseLost)
    }
}

impl Registry {
    /// Reserves the tenant's name and writes the job that will make it, in one transaction: both or neither.
    ///
    /// # Errors
    /// [`RegistryError::SubdomainTaken`], [`RegistryError::NoServer`].
    pub async fn job_insert_with_tenant(&self, job: &NewJob<'_>, tenant: &NewTenant<'_>) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        self.job_insert_with_tenant_in_txn(&txn, job, tenant).await?;
        txn.commit().await?;
        Ok(())
    }

    pub(crate) async fn job_insert_with_tenant_in_txn(
        &self,
        txn: &Transaction<'_>,
        job: &NewJob<'_>,
        tenant: &NewTenant<'_>,
    ) -> Result<()> {
        self.tenant_insert_in_txn(txn, tenant).await?;
        let secret = self.seal_job_secret(job.id, job.secret);
        txn.execute(
            "INSERT INTO jobs (id, kind, tenant_id, subdomain, secret, claim) VALUES ($1, $2, $3, $4, $5, $6)",
            &[&job.id.uuid(), &job.kind, &tenant.id.uuid(), &tenant.subdomain.as_str(), &secret, &job.claim],
        )
        .await?;
        txn.execute(
            "INSERT INTO job_steps (job_id, position, name)
             SELECT $1, position::integer, name FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)",
            &[&job.id.uuid(), &job.steps],
        )
        .await?;
        txn.execute("SELECT pg_notify('portero_jobs', $1)", &[&job.id.to_string()]).await?;
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
                "SELECT id, kind, tenant_id, subdomain, status, error, created_at, finished_at FROM jobs WHERE id = $1",
                &[&id.uuid()],
            )
            .await?;
        let Some(job) = job else { return Ok(None) };
        let steps = client
            .query("SELECT name, status, started_at, finished_at FROM job_steps WHERE job_id = $1 ORDER BY position", &[&id.uuid()])
            .await?;
        job_from_rows(&job, &steps).map(Some)
    }

    /// The ids of jobs in this state, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_with_status(&self, status: JobStatus, limit: i64) -> Result<Vec<JobId>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT id FROM jobs WHERE status = $1 ORDER BY created_at LIMIT $2",
                &[&status.as_str(), &limit],
            )
            .await?;
        Ok(rows.iter().map(|row| JobId::from(row.get::<_, Uuid>(0))).collect())
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

    /// Claims a job that nobody is working on, or the one named if nobody is: one that is new before one that was left,
    /// the one that was left longest ago before others.
    ///
    /// # Errors
    /// The registry, or a secret that doesn't open.
    pub async fn job_claim(
        &self,
        worker: Uuid,
        lease: Duration,
        only: Option<JobId>,
    ) -> Result<Option<Claim>> {
        let row = self
            .client()
            .await?
            .query_opt(
                "UPDATE jobs SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), fence = fence + 1
                 WHERE id = (SELECT id FROM jobs
                             WHERE status IN ('running', 'undoing')
                               AND (lease_until IS NULL OR lease_until < now())
                               AND ($3::uuid IS NULL OR id = $3)
                             ORDER BY lease_until NULLS FIRST, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING id, fence, secret",
                &[&worker, &lease.as_secs_f64(), &only.map(JobId::uuid)],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = JobId::from(row.get::<_, Uuid>("id"));
        let secret = row
            .get::<_, Option<&[u8]>>("secret")
            .map(|sealed| self.open_job_secret(id, sealed))
            .transpose()?;
        let job = self.job_by_id(id).await?.ok_or(RegistryError::Unreadable("job"))?;
        Ok(Some(Claim { lease: Lease { job: id, fence: row.get("fence") }, job, secret }))
    }

    /// Makes the lease last longer.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn job_renew(&self, lease: &Lease, by: Duration) -> Result<()> {
        let renewed = self
            .client()
            .await?
            .execute(
                "UPDATE jobs SET lease_until = now() + make_interval(secs => $3) WHERE id = $1 AND fence = $2",
                &[&lease.job.uuid(), &lease.fence, &by.as_secs_f64()],
            )
            .await?;
        if renewed == 1 { Ok(()) } else { Err(RegistryError::LeaseLost) }
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

    /// Gives back what a worker that stops was working on, for whoever claims it next. It must have stopped before.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs_give_back(&self, worker: Uuid) -> Result<u64> {
        let given = self
            .client()
            .await?
            .execute(
                "UPDATE jobs SET lease_until = NULL WHERE lease_owner = $1 AND lease_until IS NOT NULL",
                &[&worker],
            )
            .await?;
        Ok(given)
    }

    /// Writes down the steps that a job of an older version lacks.
    ///
    /// # Errors
    /// The registry.
    pub async fn steps_ensure(&self, job: JobId, steps: &[&'static str]) -> Result<()> {
        self.client()
            .await?
            .execute(
                "INSERT INTO job_steps (job_id, position, name)
                 SELECT $1, 1000 + position::integer, name FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)
                 WHERE name NOT IN (SELECT name FROM job_steps WHERE job_id = $1)",
                &[&job.uuid(), &steps],
            )
            .await?;
        Ok(())
    }

    /// Notes where a step is. `error` is for operators and bears no secret.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn step_set(
        &self,
        lease: &Lease,
        name: &str,
        status: StepStatus,
        error: Option<&str>,
    ) -> Result<()> {
        let begins = matches!(status, StepStatus::Running | StepStatus::Undoing);
        let written = self
            .client()
            .await?
            .execute(
                "UPDATE job_steps SET status = $4,
                        attempt = attempt + $5::boolean::integer,
                        started_at = CASE WHEN $5 THEN now() ELSE started_at END,
                        finished_at = CASE WHEN $5 THEN NULL ELSE now() END,
                        error = $6
                 WHERE job_id = $1 AND name = $3
                   AND EXISTS (SELECT FROM jobs WHERE id = $1 AND fence = $2 FOR SHARE)",
                &[&lease.job.uuid(), &lease.fence, &name, &status.as_str(), &begins, &error],
            )
            .await?;
        if written == 1 { Ok(()) } else { Err(RegistryError::LeaseLost) }
    }

    /// Moves the job on. At rest its secret is erased and its lease ends.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn job_set(&self, lease: &Lease, status: JobStatus, error: Option<&str>) -> Result<()> {
        let written = self
            .client()
            .await?
            .execute(
                "UPDATE jobs SET status = $3, error = coalesce($4, error),
                        secret = CASE WHEN $5 THEN NULL ELSE secret END,
                        lease_until = CASE WHEN $5 THEN NULL ELSE lease_until END,
                        finished_at = CASE WHEN $5 THEN now() END
                 WHERE id = $1 AND fence = $2",
                &[&lease.job.uuid(), &lease.fence, &status.as_str(), &error, &status.is_at_rest()],
            )
            .await?;
        if written == 1 { Ok(()) } else { Err(RegistryError::LeaseLost) }
    }
}

fn job_from_rows(job: &Row, steps: &[Row]) -> Result<JobRow> {
    let steps = steps
        .iter()
        .map(|row| {
            Ok(StepRow {
                name: row.get("name"),
                status: StepStatus::parse(row.get("status"))?,
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
        steps,
    })
}
