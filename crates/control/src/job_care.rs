//! Looking after jobs: list, show, retry, abandon.

use crate::Control;
use portero_kernel::{JobId, TenantId, with_causes};
use portero_provisioner::{Direction, left_of, remove_left, workflows};
use portero_registry::{JobRow, JobStatus, RegistryError, TenantStatus};
use serde::Serialize;
use time::OffsetDateTime;

/// Which jobs to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobFilter {
    /// Under way.
    Open,
    /// Waiting for a person.
    Stuck,
    /// Undone or given up.
    Failed,
    /// Done.
    Done,
    /// All.
    All,
}

impl JobFilter {
    const fn states(self) -> &'static [JobStatus] {
        use JobStatus::{Abandoned, Done, Running, Stuck, Undoing, Undone};
        match self {
            Self::Open => &[Running, Undoing],
            Self::Stuck => &[Stuck],
            Self::Failed => &[Undone, Abandoned],
            Self::Done => &[Done],
            Self::All => &[Running, Undoing, Stuck, Undone, Abandoned, Done],
        }
    }
}

/// A job, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct JobDetails {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: String,
    /// For whom.
    pub tenant: TenantId,
    /// The subdomain it was for.
    pub subdomain: String,
    /// `running`, `undoing`, `done`, `undone`, `stuck` or `abandoned`.
    pub status: &'static str,
    /// Why it failed.
    pub error: Option<String>,
    /// When it was asked for.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// When it came to rest.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
    /// Until when a worker has it, unless it renews that.
    #[serde(with = "time::serde::rfc3339::option")]
    pub lease_until: Option<OffsetDateTime>,
    /// What it found, if it kept anything: the proof of a purge.
    pub report: Option<serde_json::Value>,
    /// Its steps, in order.
    pub steps: Vec<StepDetails>,
}

/// A step of a job, as operators see it.
#[derive(Debug, Clone, Serialize)]
pub struct StepDetails {
    /// Its name.
    pub name: String,
    /// `pending`, `running`, `done`, `failed`, `undoing` or `undone`.
    pub status: &'static str,
    /// How often its action or its undo was begun.
    pub attempts: i32,
    /// Why it failed, or the last try of it.
    pub error: Option<String>,
    /// When it last began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it last ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// What a job has left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Leftovers {
    /// What there is on the server: `database t_…`, `role t_…`.
    pub on_server: Vec<String>,
    /// Why nobody could look there.
    pub unseen: Option<String>,
    /// Whether the subdomain is reserved for a tenant that is not made.
    pub reserved: bool,
    /// Whether it was removing a tenant, which is not over without another job: `portero tenant purge`.
    pub purging: bool,
    /// What was there, and was removed.
    pub removed: Vec<String>,
    /// Why what there is could not be removed.
    pub kept: Option<String>,
}

/// Why a job was not looked after.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// There is none.
    #[error("no job has the id {0}: see `portero jobs list --state all`")]
    NotFound(String),
    /// Several are meant.
    #[error("several jobs have an id like {0}: write more of it")]
    Ambiguous(String),
    /// There is nothing to retry.
    #[error("job {0} is {1}: {next}", next = instead_of_retry(*.0, .1))]
    NotStuck(JobId, &'static str),
    /// It came to rest by itself.
    #[error("job {0} is {1}: there is nothing to give up")]
    AtRest(JobId, &'static str),
    /// It will come to rest by itself.
    #[error("job {0} is under way, and comes to rest by itself: see `portero jobs show {0}`")]
    UnderWay(JobId),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
}

impl Control {
    /// Up to `limit` jobs, newest first.
    ///
    /// # Errors
    /// The registry.
    pub async fn jobs(&self, filter: JobFilter, limit: i64) -> Result<Vec<JobDetails>, RegistryError> {
        let jobs = self.registry.jobs_newest(filter.states(), limit).await?;
        Ok(jobs.into_iter().map(JobDetails::from).collect())
    }

    /// The job with this id. Its beginning or its end will do, where that is of one job only.
    ///
    /// # Errors
    /// [`JobError::NotFound`], [`JobError::Ambiguous`].
    pub async fn job_details(&self, id: &str) -> Result<JobDetails, JobError> {
        let id = id.trim().to_ascii_lowercase();
        let none = id.is_empty() || id.contains('\0');
        let found = if none { Vec::new() } else { self.registry.jobs_abbreviated(&id).await? };
        let job = match found.as_slice() {
            [] => None,
            [job] => self.registry.job_by_id(*job).await?,
            _ => return Err(JobError::Ambiguous(id)),
        };
        job.map(JobDetails::from).ok_or(JobError::NotFound(id))
    }

    pub(crate) async fn do_job_retry(&self, id: JobId) -> Result<(), JobError> {
        if self.registry.job_retry(id).await? {
            tracing::info!(job = %id, "a stuck job is retried");
            return Ok(());
        }
        Err(JobError::NotStuck(id, self.find_job(id).await?.status.as_str()))
    }

    pub(crate) async fn do_job_abandon(&self, id: JobId) -> Result<Leftovers, JobError> {
        let job = self.find_job(id).await?;
        let mut may_be = vec![JobStatus::Stuck, JobStatus::Undoing, JobStatus::Abandoned];
        // One that can be undone will be. One that can't, or of a kind that nobody knows, may wait for ever.
        if workflows::of_kind(&job.kind).is_none_or(|known| known.direction() == Direction::ForwardOnly) {
            may_be.push(JobStatus::Running);
        }
        if !self.registry.job_abandon(id, &may_be).await? {
            return Err(match self.find_job(id).await?.status {
                JobStatus::Running => JobError::UnderWay(id),
                status => JobError::AtRest(id, status.as_str()),
            });
        }
        tracing::info!(job = %id, subdomain = job.subdomain, "a job was given up");
        // From here on no worker's session can add to what is there.
        let mut left = self.leftovers_of(&job).await?;
        if job.status == JobStatus::Abandoned && left.reserved {
            self.remove_left(&job, &mut left).await?;
        }
        if left.reserved && left.on_server.is_empty() && left.unseen.is_none() {
            left.reserved = !self.registry.tenant_release_given_up(id).await?;
        }
        Ok(left)
    }

    /// What a job would leave behind if it were given up now.
    ///
    /// # Errors
    /// [`JobError::NotFound`].
    pub async fn job_leftovers(&self, id: JobId) -> Result<Leftovers, JobError> {
        let job = self.find_job(id).await?;
        Ok(self.leftovers_of(&job).await?)
    }

    /// Removes what a job that was given up before has left of a tenant that was never made.
    async fn remove_left(&self, job: &JobRow, left: &mut Leftovers) -> Result<(), RegistryError> {
        let Some(tenant) = self.registry.tenant_by_id(job.tenant).await? else { return Ok(()) };
        if left.on_server.is_empty() || tenant.status != TenantStatus::Provisioning {
            return Ok(());
        }
        let server = self.registry.server_by_id(tenant.server).await?;
        let server = server.ok_or(RegistryError::Unreadable("tenant's server"))?;
        match remove_left(&server.admin, job.id, tenant.id, server.id, &tenant.database).await {
            Ok(()) => {
                tracing::info!(job = %job.id, subdomain = job.subdomain, "what a job left was removed");
                left.removed = std::mem::take(&mut left.on_server);
            }
            Err(error) => left.kept = Some(format!("{}: {}", server.name, with_causes(&error))),
        }
        Ok(())
    }

    async fn leftovers_of(&self, job: &JobRow) -> Result<Leftovers, RegistryError> {
        let mut left = Leftovers::default();
        let Some(tenant) = self.registry.tenant_by_id(job.tenant).await? else { return Ok(left) };
        left.reserved = tenant.status == TenantStatus::Provisioning;
        left.purging = tenant.status == TenantStatus::Purging;
        let server = self.registry.server_by_id(tenant.server).await?;
        let server = server.ok_or(RegistryError::Unreadable("tenant's server"))?;
        match left_of(&server.admin, job.id, &tenant.database).await {
            Ok(found) => left.on_server = found,
            Err(error) => left.unseen = Some(format!("{}: {}", server.name, with_causes(&error))),
        }
        Ok(left)
    }

    async fn find_job(&self, id: JobId) -> Result<JobRow, JobError> {
        self.registry.job_by_id(id).await?.ok_or_else(|| JobError::NotFound(id.to_string()))
    }
}

/// What to do about a job that isn't stuck.
fn instead_of_retry(id: JobId, status: &str) -> String {
    match status {
        "running" | "undoing" => {
            format!("it goes on by itself once what hinders it is gone; portero jobs show {id} names that")
        }
        "abandoned" => {
            format!(
                "it was given up, and portero jobs abandon {id} removes what it left of a company in the making"
            )
        }
        _ => "only a stuck one can be retried".to_owned(),
    }
}

impl From<JobRow> for JobDetails {
    fn from(job: JobRow) -> Self {
        let steps = job.steps.into_iter().map(|step| StepDetails {
            name: step.name,
            status: step.status.as_str(),
            attempts: step.attempts,
            error: step.error,
            started_at: step.started_at,
            finished_at: step.finished_at,
        });
        Self {
            id: job.id,
            kind: job.kind,
            tenant: job.tenant,
            subdomain: job.subdomain,
            status: job.status.as_str(),
            error: job.error,
            created_at: job.created_at,
            finished_at: job.finished_at,
            lease_until: job.lease_until,
            report: job.report,
            steps: steps.collect(),
        }
    }
}
