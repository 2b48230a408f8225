//! What `control` tells, as the pages show it.

use crate::pages::{Connections, DeedRow, JobRow, StepRow, TenantRow};
use portero_control::{AuditView, JobDetails, JobLine, TenantLine};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub(super) fn rfc3339(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_default()
}

pub(super) fn tenant_row(tenant: &TenantLine, size: Option<i64>, connections: Connections) -> TenantRow {
    TenantRow {
        id: tenant.id.to_string(),
        subdomain: tenant.subdomain.clone(),
        name: tenant.name.clone(),
        state: tenant.status.to_owned(),
        server: tenant.server.clone(),
        schema: tenant.schema_version,
        size,
        connections,
        created: rfc3339(tenant.created_at),
    }
}

pub(super) fn job_row(job: JobLine) -> JobRow {
    JobRow {
        id: job.id.to_string(),
        kind: job.kind,
        subdomain: job.subdomain,
        tenant_id: job.tenant.to_string(),
        state: job.status,
        created: rfc3339(job.created_at),
        took_ms: between(job.created_at, job.finished_at),
        done: job.done,
        steps: job.steps,
        error: job.error,
        is_worked_on: job.is_worked_on,
    }
}

pub(super) fn job_with_steps(job: JobDetails) -> JobRow {
    let done = job.steps.iter().filter(|step| step.status == "done").count();
    JobRow {
        id: job.id.to_string(),
        kind: job.kind,
        subdomain: job.subdomain,
        tenant_id: job.tenant.to_string(),
        state: job.status.to_owned(),
        created: rfc3339(job.created_at),
        took_ms: between(job.created_at, job.finished_at),
        done: i64::try_from(done).unwrap_or(i64::MAX),
        steps: i64::try_from(job.steps.len()).unwrap_or(i64::MAX),
        error: job.error,
        is_worked_on: job.lease_until.is_some_and(|until| until > OffsetDateTime::now_utc()),
    }
}

pub(super) fn step_rows(job: &JobDetails) -> Vec<StepRow> {
    job.steps
        .iter()
        .map(|step| StepRow {
            name: step.name.clone(),
            state: step.status.to_owned(),
            attempts: step.attempts,
            span: step.started_at.map(|began| {
                (between(job.created_at, Some(began)).max(0), between(began, step.finished_at).max(0))
            }),
            error: step.error.clone(),
        })
        .collect()
}

pub(super) fn deed_row(entry: AuditView) -> DeedRow {
    DeedRow {
        at: rfc3339(entry.at),
        actor: format!("{} ({})", entry.actor, entry.actor_kind),
        verb: entry.verb,
        outcome: entry.outcome,
        address: entry.address,
    }
}

/// Milliseconds from one moment to the other, or to now.
fn between(from: OffsetDateTime, to: Option<OffsetDateTime>) -> i64 {
    let passed = to.unwrap_or_else(OffsetDateTime::now_utc) - from;
    i64::try_from(passed.whole_milliseconds()).unwrap_or(i64::MAX)
}
