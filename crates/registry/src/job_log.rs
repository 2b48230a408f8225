//! The log of a job, as the worker writes it that has the job.
//!
//! A worker claims a job for a while (the lease, in the database's time) and with a number that grows with each claim
//! (the fence). Every write of a step names that number; a worker that was away longer than its lease finds that
//! somebody else has the job, and that its writes no longer count. Each write is heard at once by whoever watches
//! the job.

use crate::{JobRow, JobStatus, Registry, RegistryError, Result, StepStatus, connection::Transaction};
use portero_kernel::{JobId, SecretString, ServerId};
use std::time::Duration;
use uuid::Uuid;

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
    /// Where its tenant is; nothing where the tenant is not in the registry any more.
    pub server: Option<ServerId>,
    /// What the steps need; nothing where a job has no secret.
    pub secret: Option<SecretString>,
}

impl Lease {
    /// The job.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// Whether nobody had the job before.
    #[must_use]
    pub const fn is_first(&self) -> bool {
        self.fence == 1
    }

    /// The fence, for a statement that looks at it itself.
    pub(crate) const fn fence(&self) -> i64 {
        self.fence
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
    /// Claims a job that nobody is working on, or the one named if nobody is: one that is new before one that was left,
    /// the one that was left longest ago before others. None of a kind that is in `but` with its tenant's server.
    ///
    /// # Errors
    /// The registry, or a secret that doesn't open.
    pub async fn job_claim(
        &self,
        worker: Uuid,
        lease: Duration,
        only: Option<JobId>,
        but: &[(ServerId, String)],
    ) -> Result<Option<Claim>> {
        let (servers, kinds): (Vec<_>, Vec<_>) =
            but.iter().map(|(server, kind)| (server.uuid(), kind.as_str())).unzip();
        let row = self
            .client()
            .await?
            .query_opt(
                "UPDATE jobs SET lease_owner = $1, lease_until = now() + make_interval(secs => $2), fence = fence + 1
                 WHERE id = (SELECT id FROM jobs job
                             WHERE status IN ('running', 'undoing')
                               AND (lease_until IS NULL OR lease_until < now())
                               AND ($3::uuid IS NULL OR id = $3)
                               AND NOT EXISTS (
                                   SELECT FROM tenants
                                   JOIN unnest($4::uuid[], $5::text[]) AS but (server, kind) ON server = server_id
                                   WHERE tenants.id = job.tenant_id AND but.kind = job.kind)
                             ORDER BY lease_until NULLS FIRST, created_at LIMIT 1 FOR UPDATE SKIP LOCKED)
                 RETURNING id, fence, secret, (SELECT server_id FROM tenants WHERE tenants.id = tenant_id) AS server",
                &[&worker, &lease.as_secs_f64(), &only.map(JobId::uuid), &servers, &kinds],
            )
            .await?;
        let Some(row) = row else { return Ok(None) };
        let id = JobId::from(row.get::<_, Uuid>("id"));
        let secret = row
            .get::<_, Option<&[u8]>>("secret")
            .map(|sealed| self.open_job_secret(id, sealed))
            .transpose()?;
        let job = self.job_by_id(id).await?.ok_or(RegistryError::Unreadable("job"))?;
        let server = row.get::<_, Option<Uuid>>("server").map(ServerId::from);
        Ok(Some(Claim { lease: Lease { job: id, fence: row.get("fence") }, job, server, secret }))
    }

    /// Makes the lease last longer. A job that came to rest in this very moment keeps none.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn job_renew(&self, lease: &Lease, by: Duration) -> Result<()> {
        let renewed = self
            .client()
            .await?
            .execute(
                "UPDATE jobs SET lease_until = CASE WHEN status IN ('running', 'undoing') THEN now() + make_interval(secs => $3) END
                 WHERE id = $1 AND fence = $2",
                &[&lease.job.uuid(), &lease.fence, &by.as_secs_f64()],
            )
            .await?;
        if renewed == 1 { Ok(()) } else { Err(RegistryError::LeaseLost) }
    }

    /// Looks whether the job is still this worker's.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn lease_check(&self, lease: &Lease) -> Result<()> {
        self.client()
            .await?
            .query_opt("SELECT FROM jobs WHERE id = $1 AND fence = $2", &[&lease.job.uuid(), &lease.fence])
            .await?
            .map(|_| ())
            .ok_or(RegistryError::LeaseLost)
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
    /// [`RegistryError::LeaseLost`].
    pub async fn steps_ensure(&self, lease: &Lease, steps: &[&'static str]) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lease.check_in_txn(&txn).await?;
        txn.execute(
            "INSERT INTO job_steps (job_id, position, name)
             SELECT $1, 1000 + position::integer, name FROM unnest($2::text[]) WITH ORDINALITY AS step (name, position)
             WHERE name NOT IN (SELECT name FROM job_steps WHERE job_id = $1)",
            &[&lease.job.uuid(), &steps],
        )
        .await?;
        txn.commit().await?;
        Ok(())
    }

    /// Notes where a step is. The error of a try before stays until it is done or undone; `error` is for operators and
    /// bears no secret.
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
            .query_opt(
                "WITH written AS (
                     UPDATE job_steps SET status = $4,
                            attempt = attempt + $5::boolean::integer,
                            started_at = CASE WHEN $5 THEN now() ELSE started_at END,
                            finished_at = CASE WHEN $5 THEN NULL ELSE now() END,
                            error = CASE WHEN $5 THEN error ELSE $6 END
                     WHERE job_id = $1 AND name = $3
                       AND EXISTS (SELECT FROM jobs WHERE id = $1 AND fence = $2 FOR SHARE)
                     RETURNING job_id)
                 SELECT public.ring('portero_job_events', job_id::text) FROM written",
                &[&lease.job.uuid(), &lease.fence, &name, &status.as_str(), &begins, &error],
            )
            .await?;
        written.map(|_| ()).ok_or(RegistryError::LeaseLost)
    }

    /// Notes why a try of a step failed that is not the last. `error` is for operators and bears no secret.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn step_note(&self, lease: &Lease, name: &str, error: &str) -> Result<()> {
        let written = self
            .client()
            .await?
            .query_opt(
                "WITH written AS (
                     UPDATE job_steps SET error = $4
                     WHERE job_id = $1 AND name = $3
                       AND EXISTS (SELECT FROM jobs WHERE id = $1 AND fence = $2 FOR SHARE)
                     RETURNING job_id)
                 SELECT public.ring('portero_job_events', job_id::text) FROM written",
                &[&lease.job.uuid(), &lease.fence, &name, &error],
            )
            .await?;
        written.map(|_| ()).ok_or(RegistryError::LeaseLost)
    }

    /// Moves the job on. Only a job that goes forward still needs its secret: one that is undone, or rests, loses it. At
    /// rest its lease ends.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`].
    pub async fn job_set(&self, lease: &Lease, status: JobStatus, error: Option<&str>) -> Result<()> {
        let goes_forward = matches!(status, JobStatus::Running | JobStatus::Stuck);
        let written = self
            .client()
            .await?
            .query_opt(
                "WITH written AS (
                     UPDATE jobs SET status = $3, error = coalesce($4, error),
                            secret = CASE WHEN $6 THEN secret END,
                            lease_until = CASE WHEN $5 THEN NULL ELSE lease_until END,
                            finished_at = CASE WHEN $5 THEN now() END
                     WHERE id = $1 AND fence = $2
                     RETURNING id)
                 SELECT public.ring('portero_job_events', id::text) FROM written",
                &[
                    &lease.job.uuid(),
                    &lease.fence,
                    &status.as_str(),
                    &error,
                    &status.is_at_rest(),
                    &goes_forward,
                ],
            )
            .await?;
        written.map(|_| ()).ok_or(RegistryError::LeaseLost)
    }
}
