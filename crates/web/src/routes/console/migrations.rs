//! Runs of migrations: all of them, and one with its waves and companies.

use super::{
    Desk, PAGE,
    rows::{migrated_row, rfc3339},
};
use crate::{
    pages::{MigrationPage, MigrationsPage, RunCounts, RunRow},
    text::console::{Section, migrations::RunState},
};
use actix_web::{HttpResponse, web};
use portero_control::{MigratedFilter, MigrationError, MigrationRunView, MigrationState};
use portero_edge::{Kind, Problem};
use portero_kernel::{MigrationRunId, TenantId};
use serde::Deserialize;

/// Where they are.
pub(super) const MIGRATIONS: &str = "/console/migrations";
/// What is asked for to see companies in any state.
const ALL: &str = "all";

#[derive(Deserialize)]
pub(super) struct ListQuery {
    #[serde(default)]
    after: String,
}

pub(super) async fn list(desk: Desk, query: web::Query<ListQuery>) -> Result<HttpResponse, Problem> {
    let after: Option<MigrationRunId> = query.after.parse().ok();
    let list = desk.control().migration_runs(after, limit()).await?;
    let page = MigrationsPage {
        frame: desk.frame(MIGRATIONS, Section::Migrations),
        runs: list.runs.into_iter().map(run_row).collect(),
        next_href: list.next.map(|id| format!("{MIGRATIONS}?after={id}")),
        is_later: after.is_some(),
    };
    desk.page(&page)
}

#[derive(Deserialize)]
pub(super) struct RunQuery {
    #[serde(default)]
    state: String,
    #[serde(default)]
    after: String,
}

pub(super) async fn show(
    desk: Desk,
    id: web::Path<String>,
    query: web::Query<RunQuery>,
) -> Result<HttpResponse, Problem> {
    let id: MigrationRunId = id.parse().map_err(|_| Problem::new(Kind::NotFound))?;
    let asked = MigrationState::from_code(&query.state);
    let after = query.after.parse().unwrap_or(0);
    let details = async |state| {
        let found = desk.control().migration_details(id, MigratedFilter { state, after }, limit()).await;
        found.map_err(|error| match error {
            MigrationError::Registry(error) => error.into(),
            _ => Problem::new(Kind::NotFound),
        })
    };
    let mut seen = details(asked).await?;
    let mut state = asked;
    // Unless something else is asked for: those that somebody has to do something about.
    if asked.is_none() && query.state != ALL && seen.run.failed > 0 {
        state = Some(MigrationState::Failed);
        seen = details(state).await?;
    }
    let state = state.map_or("", MigrationState::as_str);
    let ids: Vec<TenantId> = seen.tenants.iter().map(|tenant| tenant.id).collect();
    let there = desk.control().tenants_there(&ids).await?;
    let path = format!("{MIGRATIONS}/{id}");
    let shown = if state.is_empty() { ALL } else { state };
    let counts = |wave: &portero_control::WaveView| RunCounts {
        pending: wave.pending,
        running: wave.running,
        done: wave.done,
        failed: wave.failed,
        skipped: wave.skipped,
    };
    let page = MigrationPage {
        frame: desk.frame(&path, Section::Migrations),
        run: run_row(seen.run),
        waves: seen.waves.iter().map(|wave| (wave.number, counts(wave))).collect(),
        state,
        companies: seen.tenants.into_iter().map(|tenant| migrated_row(tenant, &there)).collect(),
        next_href: seen.next.map(|after| format!("{path}?state={shown}&after={after}")),
        is_later: after > 0,
    };
    desk.page(&page)
}

fn run_row(run: MigrationRunView) -> RunRow {
    let all_but_some = run.status == RunState::Finished.code() && run.failed > 0;
    RunRow {
        id: run.id.to_string(),
        state: if all_but_some { RunState::Incomplete.code() } else { run.status }.to_owned(),
        reason: run.reason,
        target: run.target,
        whole_fleet: run.whole_fleet,
        wave: (run.wave, run.last_wave),
        counts: RunCounts {
            pending: run.pending,
            running: run.running,
            done: run.done,
            failed: run.failed,
            skipped: run.skipped,
        },
        began: rfc3339(run.created_at),
        ended: run.finished_at.map(rfc3339),
    }
}

fn limit() -> i64 {
    i64::try_from(PAGE).unwrap_or(i64::MAX)
}
