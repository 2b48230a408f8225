//! `portero migrate`: plan, run, resume, runs, show; and drift, lint and rehearsals, a file each.

mod drift;
mod lint;
mod progress;
mod rehearse;
mod report;

use crate::{
    commands::{Direct, asked_to_stop, direct},
    output::{Failure, Output, moment},
    settings::Settings,
};
use anyhow::{Context, anyhow};
use clap::{Args, Subcommand};
use portero_control::{
    MigrationError, MigrationPlan, MigrationReport, MigrationRequest, MigrationRunView, Waves,
};
use portero_kernel::{SchemaVersion, Subdomain};
use progress::Progress;
use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};
use tokio::sync::watch;

/// The version of the registry's schema that first knew runs.
const RUNS_SINCE: SchemaVersion = 13;

#[derive(Subcommand)]
pub(crate) enum MigrateCommand {
    /// Show who would be migrated to what, and in which wave
    Plan {
        #[command(flatten)]
        whom: Whom,
        #[command(flatten)]
        rehearse: rehearse::RehearseArgs,
    },
    /// Bring every company's database to the newest schema
    ///
    /// A run goes on where it was killed: portero migrate resume. It exits with 0 when all have the schema, 3 when some
    /// have and others not, 1 when none has.
    Run {
        #[command(flatten)]
        whom: Whom,
        /// How many at once on each server; fewer where Portero's own connections leave less room
        #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=64))]
        jobs: u16,
        /// Begin no more when more than N have failed [default: none may before the last wave, any number in it]
        #[arg(long, value_name = "N")]
        max_failures: Option<u16>,
        /// How long a statement waits for a lock, and that company's requests behind it
        #[arg(long, value_name = "TIME", default_value = "2s", value_parser = duration)]
        lock_timeout: Duration,
        #[command(flatten)]
        reports: Reports,
    },
    /// Go on with a run that was killed or stopped, or try again what failed in one
    Resume {
        /// Its id, or enough of its beginning or its end; the newest that came to no good end, if not given
        run: Option<String>,
        /// How many at once on each server, from now on
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
        jobs: Option<u16>,
        /// Begin no more when more than N have failed, from now on
        #[arg(long, value_name = "N")]
        max_failures: Option<u16>,
        #[command(flatten)]
        reports: Reports,
    },
    /// List runs, newest first
    Runs {
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000))]
        limit: i64,
    },
    /// Show a run, and what became of each company
    Show {
        /// Its id, or enough of its beginning or its end; the newest, if not given
        run: Option<String>,
        #[command(flatten)]
        reports: Reports,
    },
    /// Show whose database is not as migrations make it, and in what
    Drift(drift::DriftArgs),
    /// Look migrations over for locks that block and for what the version before still uses
    Lint(lint::LintArgs),
}

/// Who is migrated to what.
#[derive(Args)]
pub(crate) struct Whom {
    /// Only this company; may be given several times
    #[arg(long, value_name = "SUBDOMAIN")]
    tenant: Vec<String>,
    /// How many have had their turn after each wave: tenants, or a part of all
    #[arg(long, value_name = "WAVES", default_value_t)]
    waves: Waves,
    /// Files V<number>__<name>.sql that are newer than the migrations built in
    #[arg(long, value_name = "DIR")]
    tenant_migrations: Option<PathBuf>,
}

/// Where a report is written to.
#[derive(Args)]
pub(crate) struct Reports {
    /// Write what became of each company to a file: JUnit for .xml, JSON for .json; may be given several times
    #[arg(long, value_name = "FILE")]
    report: Vec<PathBuf>,
}

pub(crate) async fn run(
    settings: Settings,
    command: MigrateCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    // It needs no registry.
    if let MigrateCommand::Lint(args) = &command {
        return lint::run(args, output);
    }
    let server_limit = settings.refill(0).size_limit;
    let direct = direct(settings)?;
    let outcome = act(&direct, command, server_limit, output).await;
    match outcome {
        Err(failure) => Err(too_old(&direct).await.unwrap_or(failure)),
        done => done,
    }
}

/// Why nothing works on a registry that knows no runs; nothing where it knows them, or doesn't say.
async fn too_old(direct: &Direct) -> Option<Failure> {
    let version = direct.registry.schema_version().await.ok().filter(|version| *version < RUNS_SINCE)?;
    Some(Failure::Failed(anyhow!(
        "the registry's schema has version {version}, and migrations of companies are kept there since {RUNS_SINCE}: \
         start this version's `portero serve` once, which migrates the registry"
    )))
}

async fn act(
    direct: &Direct,
    command: MigrateCommand,
    server_limit: Option<u64>,
    output: Output,
) -> Result<ExitCode, Failure> {
    match command {
        MigrateCommand::Plan { whom, rehearse } => {
            let request = whom.request(1, None, Duration::from_secs(2))?;
            if rehearse.rehearse {
                return rehearse::run(direct, &request, &rehearse, server_limit, output).await;
            }
            tell_plan(&direct.control.migration_plan(&request).await.map_err(badly_asked)?, output);
            Ok(ExitCode::SUCCESS)
        }
        MigrateCommand::Drift(args) => drift::run(direct, &args, output).await,
        MigrateCommand::Lint(_) => unreachable!("handled above"),
        MigrateCommand::Run { whom, jobs, max_failures, lock_timeout, reports } => {
            reports.check()?;
            let request = whom.request(jobs, max_failures, lock_timeout)?;
            begin(direct, &request, &reports, output).await
        }
        MigrateCommand::Resume { run, jobs, max_failures, reports } => {
            reports.check()?;
            let id = match run {
                Some(run) => direct.control.migration_find(&run).await?,
                None => match direct.control.migration_left().await? {
                    Some(id) => id,
                    None => return nothing_left(&reports, output),
                },
            };
            let progress = Progress::new(output);
            let tell = |event| progress.hear(event);
            let resumed =
                direct.control.migration_resume(id, max_failures, jobs, &tell, until_told_to_stop()).await;
            progress.end();
            tell_outcome(&resumed?, &reports, output)
        }
        MigrateCommand::Runs { limit } => {
            tell_runs(&direct.control.migration_runs(None, limit).await?.runs, output);
            Ok(ExitCode::SUCCESS)
        }
        MigrateCommand::Show { run, reports } => {
            reports.check()?;
            let id = match run {
                Some(run) => direct.control.migration_find(&run).await?,
                None => match direct.control.migration_runs(None, 1).await?.runs.first() {
                    Some(run) => run.id,
                    None => {
                        tell_runs(&[], output);
                        return Ok(ExitCode::SUCCESS);
                    }
                },
            };
            let found = direct.control.migration_report(id).await?;
            report::show(&found, output);
            reports.write(&found)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn begin(
    direct: &Direct,
    request: &MigrationRequest,
    reports: &Reports,
    output: Output,
) -> Result<ExitCode, Failure> {
    let progress = Progress::new(output);
    let tell = |event| progress.hear(event);
    let ran = direct.control.migrate(request, &tell, until_told_to_stop()).await;
    progress.end();
    if let Some(report) = ran.map_err(badly_asked)? {
        return tell_outcome(&report, reports, output);
    }
    let plan = direct.control.migration_plan(request).await?;
    output.json(&serde_json::json!({ "run": null, "tenants": [] }));
    output.line(format_args!("Nobody lacks anything: the newest schema is version {}.", plan.target));
    tell_newer(&plan, output);
    reports.write_nothing()?;
    Ok(ExitCode::SUCCESS)
}

fn nothing_left(reports: &Reports, output: Output) -> Result<ExitCode, Failure> {
    output.json(&serde_json::json!({ "run": null, "tenants": [] }));
    output.line("Every run came to its end: there is nothing to resume.");
    reports.write_nothing()?;
    Ok(ExitCode::SUCCESS)
}

/// Becomes true with the first SIGINT or SIGTERM: what is under way ends then. A second one ends the process at once.
fn until_told_to_stop() -> watch::Receiver<bool> {
    let (told, stop) = watch::channel(false);
    tokio::spawn(async move {
        asked_to_stop().await;
        Output::notice("Stopping: what is under way comes to its end. Once more to leave it to a resume.");
        told.send_replace(true);
        told.closed().await;
    });
    stop
}

fn tell_outcome(report: &MigrationReport, reports: &Reports, output: Output) -> Result<ExitCode, Failure> {
    report::outcome(report, output);
    reports.write(report)?;
    Ok(match (report.is_complete(), report.run.done) {
        (true, _) => ExitCode::SUCCESS,
        (false, 0) => ExitCode::FAILURE,
        (false, _) => ExitCode::from(3),
    })
}

fn tell_plan(plan: &MigrationPlan, output: Output) {
    output.json(plan);
    lint::show(&plan.complaints, output);
    if plan.waves.is_empty() {
        output.line(format_args!("Nobody lacks anything: the newest schema is version {}.", plan.target));
        return tell_newer(plan, output);
    }
    let rows: Vec<_> = plan
        .migrations
        .iter()
        .map(|migration| {
            [
                format!("V{}__{}", migration.version, migration.name),
                migration.tenants.to_string(),
                if migration.built_in { "built in" } else { "a file" }.to_owned(),
                if migration.transaction { "" } else { "no transaction" }.to_owned(),
            ]
        })
        .collect();
    output.table(["MIGRATION", "LACKED BY", "FROM", ""], &rows);
    output.line("");
    for (number, wave) in (1..).zip(&plan.waves) {
        let mut names: Vec<_> =
            wave.iter().take(8).map(|tenant| format!("{} ({})", tenant.subdomain, tenant.version)).collect();
        if wave.len() > names.len() {
            names.push(format!("and {} more", wave.len() - names.len()));
        }
        output.line(format_args!("wave {number}  {:>5}  {}", wave.len(), names.join(", ")));
    }
    output.line(format_args!("\nVersion {} is there already: {}", plan.target, plan.current));
    tell_newer(plan, output);
}

fn tell_newer(plan: &MigrationPlan, output: Output) {
    if !plan.newer.is_empty() {
        let names: Vec<_> = plan.newer.iter().map(|tenant| tenant.subdomain.as_str()).collect();
        output.line(format_args!("Newer than that, and left alone: {}", names.join(", ")));
    }
}

fn tell_runs(runs: &[MigrationRunView], output: Output) {
    output.json(&serde_json::json!({ "runs": runs }));
    if runs.is_empty() {
        return output.line("No migration has been run.");
    }
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            [
                run.id.to_string(),
                run.status.to_owned(),
                run.target.to_string(),
                moment(run.created_at),
                run.done.to_string(),
                run.failed.to_string(),
                run.skipped.to_string(),
                (run.pending + run.running).to_string(),
            ]
        })
        .collect();
    output.table(["ID", "STATUS", "TO", "BEGAN", "DONE", "FAILED", "SKIPPED", "LEFT"], &rows);
}

impl Whom {
    fn request(
        self,
        jobs: u16,
        max_failures: Option<u16>,
        lock_timeout: Duration,
    ) -> Result<MigrationRequest, Failure> {
        Ok(MigrationRequest {
            tenants: subdomains(&self.tenant)?,
            waves: self.waves,
            jobs,
            max_failures,
            lock_timeout,
            directory: self.tenant_migrations,
        })
    }
}

impl Reports {
    /// Before anything is done for them.
    fn check(&self) -> Result<(), Failure> {
        match self.report.iter().find(|file| report::Format::of(file).is_none()) {
            Some(file) => Err(Failure::usage(anyhow!(
                "{} is no report: its name ends in .xml (JUnit) or .json",
                file.display()
            ))),
            None => self.report.iter().try_for_each(|file| {
                can_be_written(file)
                    .with_context(|| format!("{} can't be written", file.display()))
                    .map_err(Failure::usage)
            }),
        }
    }

    fn write(&self, found: &MigrationReport) -> Result<(), Failure> {
        self.write_as(|format| format.write(found))
    }

    /// CI looks for the file also where there was nothing to do.
    fn write_nothing(&self) -> Result<(), Failure> {
        self.write_as(report::Format::nothing)
    }

    fn write_as(&self, text: impl Fn(report::Format) -> String) -> Result<(), Failure> {
        for file in &self.report {
            if let Some(format) = report::Format::of(file) {
                std::fs::write(file, text(format))
                    .with_context(|| format!("{} can't be written", file.display()))?;
            }
        }
        Ok(())
    }
}

/// Tries it, and leaves nothing: CI would take an empty file for a report.
fn can_be_written(file: &Path) -> std::io::Result<()> {
    let was_there = file.exists();
    std::fs::OpenOptions::new().append(true).create(true).open(file)?;
    if was_there { Ok(()) } else { std::fs::remove_file(file) }
}

fn subdomains(raw: &[String]) -> Result<Vec<Subdomain>, Failure> {
    let parse = |raw: &String| {
        Subdomain::parse(raw).map_err(|refusal| Failure::usage(anyhow!("the subdomain {raw:?} {refusal}")))
    };
    raw.iter().map(parse).collect()
}

/// `2s`, `500ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "a time such as 2s or 500ms, an hour at the most".to_owned();
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').ok_or_else(refused)?, 1000),
    };
    let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    millis.filter(|millis| (1..=3_600_000).contains(millis)).map(Duration::from_millis).ok_or_else(refused)
}

/// Files that can't be migrations are wrong usage.
fn badly_asked(error: MigrationError) -> Failure {
    match error {
        MigrationError::Set(error) => Failure::usage(error),
        error => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_a_unit() {
        assert_eq!(duration("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for text in ["2", "0s", "-1s", "1.5s", "s", "ms", "2h", "99999999999999999999s", "3601s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
