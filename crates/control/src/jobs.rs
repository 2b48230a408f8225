//! Jobs as people and programs see them; what operators do about those that are stuck is in `job_care`.

use crate::Control;
use portero_kernel::{JobId, Subdomain, TenantId, UserId};
use portero_registry::{JobRow, JobStatus, Origin, RegistryError};
use serde::Serialize;
use time::OffsetDateTime;

/// A job, as the API, the progress page and `--json` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobView {
    /// Its id.
    pub id: JobId,
    /// Which workflow.
    pub kind: String,
    /// `running`, `done` or `failed`.
    pub status: &'static str,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
    /// Where its outcome is.
    pub url: String,
    /// What the company's database was made from, as far as that is known: `spare` (it was ready), `template` or
    /// `migrations`.
    pub origin: Option<&'static str>,
    /// What the company is called: its name, or its subdomain where the job was undone and the name forgotten.
    #[serde(skip)]
    pub company: String,
}

/// A step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepView {
    /// Its name.
    pub name: String,
    /// `pending`, `running`, `done`, `failed`, `undoing` or `undone`.
    pub status: &'static str,
    /// When it last began.
    #[serde(with = "time::serde::rfc3339::option")]
    pub started_at: Option<OffsetDateTime>,
    /// When it last ended.
    #[serde(with = "time::serde::rfc3339::option")]
    pub finished_at: Option<OffsetDateTime>,
}

/// A sign-up that is done, and who is led in.
#[derive(Debug, Clone)]
pub struct HandOver {
    /// The new tenant.
    pub tenant: TenantId,
    /// Its first admin.
    pub admin: UserId,
    /// Where it is.
    pub url: String,
}

impl Control {
    /// A job.
    ///
    /// # Errors
    /// The registry.
    pub async fn job(&self, id: JobId) -> Result<Option<JobView>, RegistryError> {
        let Some(job) = self.registry.job_by_id(id).await? else { return Ok(None) };
        let tenant = self.registry.tenant_by_id(job.tenant).await?;
        // It may have another name by now.
        let subdomain = tenant.as_ref().map(|tenant| tenant.subdomain.clone());
        let subdomain = subdomain.or_else(|| Subdomain::parse(&job.subdomain).ok());
        let url = subdomain.map(|subdomain| self.site.tenant_url(&subdomain)).unwrap_or_default();
        let company = tenant.map_or_else(|| job.subdomain.clone(), |tenant| tenant.name.to_string());
        let origin = self.registry.tenant_origin(job.tenant).await?;
        Ok(Some(Self::job_view(job, company, url, origin)))
    }

    /// Who may be led in when this job is done: its tenant's first admin, if `claim` is what the browser that signed up
    /// holds. It works once, and not for longer than an hour.
    ///
    /// # Errors
    /// The registry.
    pub async fn hand_over(&self, id: JobId, claim: &[u8]) -> Result<Option<HandOver>, RegistryError> {
        let Some(job) = self.registry.job_by_id(id).await? else { return Ok(None) };
        let recent = job.finished_at.is_some_and(|at| OffsetDateTime::now_utc() - at < time::Duration::HOUR);
        if job.status != JobStatus::Done || !recent || !self.registry.job_take_claim(id, claim).await? {
            return Ok(None);
        }
        let tenant = self.registry.tenant_by_id(job.tenant).await?;
        Ok(tenant.and_then(|tenant| {
            Some(HandOver {
                tenant: tenant.id,
                admin: tenant.admin?,
                url: self.site.tenant_url(&tenant.subdomain),
            })
        }))
    }

    fn job_view(job: JobRow, company: String, url: String, origin: Option<Origin>) -> JobView {
        let status = match job.status {
            JobStatus::Running | JobStatus::Undoing => "running",
            JobStatus::Done => "done",
            JobStatus::Undone | JobStatus::Stuck | JobStatus::Abandoned => "failed",
        };
        let steps = job
            .steps
            .into_iter()
            .map(|step| StepView {
                name: step.name,
                status: step.status.as_str(),
                started_at: step.started_at,
                finished_at: step.finished_at,
            })
            .collect();
        let origin = origin.map(Origin::as_str);
        JobView { id: job.id, kind: job.kind, status, steps, url, origin, company }
    }
}
