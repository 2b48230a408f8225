//! What `control` tells, as the pages show it.

use crate::{
    pages::{Connections, DeedRow, FormerName, JobRow, MigratedRow, SparesRow, StepRow, TenantRow},
    text::console::{AT_FAULT, ConsoleWords},
};
use portero_control::{
    AuditView, FormerNameView, JobDetails, JobLine, MigratedTenant, SparesView, TenantLine,
};
use portero_kernel::TenantId;
use serde_json::Value;
use std::collections::BTreeSet;
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

/// Where a company is looked at: its page, or, of one that isn't there any more, its history.
pub(super) fn tenant_href(id: TenantId, there: &BTreeSet<TenantId>) -> String {
    let place = if there.contains(&id) { "/console/tenants/" } else { "/console/audit?company=" };
    format!("{place}{id}")
}

pub(super) fn former_name(name: &FormerNameView) -> FormerName {
    let leads = name.redirects_until > OffsetDateTime::now_utc();
    FormerName {
        subdomain: name.subdomain.clone(),
        leads_until: leads.then(|| rfc3339(name.redirects_until)),
        kept_until: rfc3339(name.quarantined_until),
    }
}

pub(super) fn job_row(job: JobLine, there: &BTreeSet<TenantId>) -> JobRow {
    JobRow {
        id: job.id.to_string(),
        kind: job.kind,
        subdomain: job.subdomain,
        tenant_href: tenant_href(job.tenant, there),
        state: job.status,
        created: rfc3339(job.created_at),
        took_ms: between(job.created_at, job.finished_at),
        done: job.done,
        steps: job.steps,
        error: job.error,
        is_worked_on: job.is_worked_on,
    }
}

pub(super) fn job_with_steps(job: JobDetails, there: &BTreeSet<TenantId>) -> JobRow {
    let done = job.steps.iter().filter(|step| step.status == "done").count();
    JobRow {
        id: job.id.to_string(),
        kind: job.kind,
        subdomain: job.subdomain,
        tenant_href: tenant_href(job.tenant, there),
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

pub(super) fn migrated_row(tenant: MigratedTenant, there: &BTreeSet<TenantId>) -> MigratedRow {
    MigratedRow {
        href: tenant_href(tenant.id, there),
        subdomain: tenant.subdomain,
        wave: tenant.wave,
        state: tenant.state.to_owned(),
        versions: (tenant.version_before, tenant.version_after),
        attempts: tenant.attempts,
        took_ms: tenant.took_ms.and_then(|took| i64::try_from(took).ok()),
        error: tenant.error,
    }
}

/// Where a server takes no new companies, none are wanted, and that is as it should be.
pub(super) fn spares_row(spares: SparesView) -> Option<SparesRow> {
    let stopped = spares.reason.filter(|_| matches!(spares.stopped, Some("disk" | "error")));
    Some(SparesRow { ready: spares.ready, wanted: i64::from(spares.wanted?), stopped })
}

pub(super) fn deed_row(entry: AuditView, w: &ConsoleWords, there: &BTreeSet<TenantId>) -> DeedRow {
    let mut details = details(&entry.details, w);
    // What it was asked for by is the company's name, mostly.
    details.retain(|detail| Some(detail) != entry.subdomain.as_ref());
    DeedRow {
        at: entry.at.map(rfc3339),
        actor: entry.actor,
        actor_kind: entry.actor_kind,
        details,
        error: entry.details["error"].as_str().map(str::to_owned),
        company: entry.subdomain.or_else(|| entry.tenant.map(|id| id.to_string())),
        company_href: entry.tenant.map(|id| tenant_href(id, there)),
        verb: entry.verb,
        outcome: if entry.at_fault { AT_FAULT.to_owned() } else { entry.outcome },
        address: entry.address,
    }
}

/// What the audit log keeps beside the act, as far as there are words for it.
fn details(details: &Value, w: &ConsoleWords) -> Vec<String> {
    let text = |key: &str| details[key].as_str().map(str::to_owned);
    let named =
        ["server", "operator", "invitation", "job", "run", "asked", "for"].into_iter().filter_map(text);
    let several = [&details["asked"], &details["only"]].into_iter().filter_map(Value::as_array);
    let several = several.map(|names| names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "));
    let said = [
        text("to").map(|name| (w.renamed_to)(&name)),
        text("reason").map(|reason| (w.said)(&reason)),
        text("plan").map(|name| (w.plan_of)(&name)),
        details["weight"].as_i64().map(w.weight_of),
        details["count"].as_i64().map(w.times),
        (details["before_grace"] == true).then(|| w.before_grace.to_owned()),
        (details["unchanged"] == true).then(|| w.was_so.to_owned()),
    ];
    let all = named.chain(several).chain(said.into_iter().flatten());
    all.filter(|detail| !detail.is_empty()).collect()
}

/// Milliseconds from one moment to the other, or to now.
fn between(from: OffsetDateTime, to: Option<OffsetDateTime>) -> i64 {
    let passed = to.unwrap_or_else(OffsetDateTime::now_utc) - from;
    i64::try_from(passed.whole_milliseconds()).unwrap_or(i64::MAX)
}
