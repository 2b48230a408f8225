//! `portero jobs`: list, show, retry, abandon; and how a command waits for a job.

use crate::{
    commands::{Direct, direct},
    output::{Failure, Output, first_line, indented, moment},
    settings::Settings,
};
use anyhow::{Context, anyhow};
use clap::{Subcommand, ValueEnum};
use portero_control::{JobDetails, JobFilter, JobView, Leftovers, StepDetails};
use portero_kernel::JobId;
use portero_provisioner::{Worker, WorkerOptions};
use portero_registry::{JobRow, JobStatus, StepRow, StepStatus};
use std::{
    io::{BufRead, IsTerminal},
    process::ExitCode,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Why a step fails is told at most so often.
const TELL_EVERY: Duration = Duration::from_secs(5);
/// A job that no worker has for so long waits for a server that is away, and nobody should wait here for that.
const NOBODY_COMES: Duration = Duration::from_secs(5);

#[derive(Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, newest first
    List {
        /// Which ones
        #[arg(long, value_enum, default_value = "all")]
        state: State,
        /// How many at most
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Show a job and its steps
    Show {
        /// Its id, or enough of its beginning or its end
        id: String,
    },
    /// Let a stuck job go on where it stands, once what hindered it is removed
    Retry {
        /// Its id, or enough of its beginning or its end
        id: String,
    },
    /// Give a job up that is stuck, or waits in vain; again, remove what it left and free the name
    Abandon {
        /// Its id, or enough of its beginning or its end
        id: String,
        /// Don't ask for the subdomain to be typed
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum State {
    /// Under way
    Open,
    /// Waiting for a person
    Stuck,
    /// Undone or given up
    Failed,
    /// Done
    Done,
    /// All of them
    All,
}

impl From<State> for JobFilter {
    fn from(state: State) -> Self {
        match state {
            State::Open => Self::Open,
            State::Stuck => Self::Stuck,
            State::Failed => Self::Failed,
            State::Done => Self::Done,
            State::All => Self::All,
        }
    }
}

pub(crate) async fn run(
    settings: Settings,
    command: JobsCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let direct = direct(settings)?;
    match command {
        JobsCommand::List { state, limit } => list(&direct, state, limit, output).await,
        JobsCommand::Show { id } => {
            show(&direct.control.job_details(&id).await?, output);
            Ok(ExitCode::SUCCESS)
        }
        JobsCommand::Retry { id } => retry(&direct, &id, output).await,
        JobsCommand::Abandon { id, yes } => abandon(&direct, &id, yes, output).await,
    }
}

async fn list(direct: &Direct, state: State, limit: i64, output: Output) -> Result<ExitCode, Failure> {
    let jobs = direct.control.jobs(state.into(), limit).await?;
    output.json(&serde_json::json!({ "jobs": jobs }));
    if jobs.is_empty() {
        output.line("There are no such jobs.");
        return Ok(ExitCode::SUCCESS);
    }
    let rows: Vec<_> = jobs
        .iter()
        .map(|job| {
            [
                job.id.to_string(),
                job.kind.clone(),
                job.subdomain.clone(),
                job.status.to_owned(),
                moment(job.created_at),
                whereabouts(job),
            ]
        })
        .collect();
    output.table(["ID", "KIND", "SUBDOMAIN", "STATUS", "ASKED FOR", "STEP OR ERROR"], &rows);
    Ok(ExitCode::SUCCESS)
}

/// The step that a job under way is at, or why it isn't done.
fn whereabouts(job: &JobDetails) -> String {
    if let Some(error) = &job.error {
        return error.clone();
    }
    let at = job.steps.iter().find(|step| step.status != "done");
    at.map(|step| step.name.clone()).unwrap_or_default()
}

fn show(job: &JobDetails, output: Output) {
    output.json(job);
    let worked_on = match job.lease_until {
        Some(until) if until > OffsetDateTime::now_utc() => "a worker has it",
        _ if matches!(job.status, "running" | "undoing") => "waits for a worker",
        _ => "at rest",
    };
    for (name, value) in [
        ("id", job.id.to_string()),
        ("kind", job.kind.clone()),
        ("subdomain", job.subdomain.clone()),
        ("tenant", job.tenant.to_string()),
        ("status", format!("{}, {worked_on}", job.status)),
        ("asked for", moment(job.created_at)),
        ("ended", job.finished_at.map_or_else(|| "not yet".to_owned(), moment)),
        ("error", job.error.clone().unwrap_or_else(|| "none".to_owned())),
    ] {
        output.line(format_args!("{name:<10} {}", indented(&value, 11)));
    }
    output.line("");
    let rows: Vec<_> = job
        .steps
        .iter()
        .map(|step| {
            [
                step.name.clone(),
                step.status.to_owned(),
                step.attempts.to_string(),
                took(step.started_at, step.finished_at),
                step.error.clone().unwrap_or_default(),
            ]
        })
        .collect();
    output.table(["STEP", "STATUS", "TRIES", "TOOK", "ERROR"], &rows);
    let whole = |step: &&StepDetails| {
        let told = |error: &String| job.error.as_ref().is_some_and(|whole| whole.contains(error.as_str()));
        step.error.as_ref().is_some_and(|error| error.contains('\n') && !told(error))
    };
    for step in job.steps.iter().filter(whole) {
        let error = step.error.as_deref().unwrap_or_default();
        output.line(format_args!("\n{}: {}", step.name, indented(error, 2)));
    }
    tell_proof(job.report.as_ref(), output);
    if job.status == "stuck" {
        output.line(format_args!(
            "\nRemove what hinders it, then: portero jobs retry {0}\nOr give it up: portero jobs abandon {0}",
            job.id
        ));
    }
}

/// What a purge looked for, and how much of it there was.
fn tell_proof(report: Option<&serde_json::Value>, output: Output) {
    let Some(looks) = report.and_then(|report| report["looked_for"].as_array()) else { return };
    output.line("\nLooked for:");
    for look in looks {
        let text = |key: &str| look[key].as_str().unwrap_or_default().to_owned();
        let found = match look["found"].as_i64() {
            Some(0) => "gone".to_owned(),
            Some(count) => format!("{count} there"),
            None => "not known".to_owned(),
        };
        output.line(format_args!("  {:<22} {:<34} {found}", text("what"), text("place")));
    }
}

async fn retry(direct: &Direct, id: &str, output: Output) -> Result<ExitCode, Failure> {
    let before = direct.control.job_details(id).await?;
    direct.control.job_retry(before.id).await?;
    let told: Vec<_> = before.steps.iter().map(|step| step.status).collect();
    watch(direct, before.id, &told, output).await?;
    let job = direct.control.job_details(&before.id.to_string()).await?;
    output.json(&job);
    let error = job.error.as_deref().unwrap_or_default();
    match job.status {
        "done" => output.line(format_args!("{} of {} is done.", job.kind, job.subdomain)),
        "undone" => output.line(format_args!("{} of {} is undone: {error}", job.kind, job.subdomain)),
        "stuck" => {
            return Err(Failure::Failed(anyhow!(
                "{} of {} is stuck again: {error}",
                job.kind,
                job.subdomain
            )));
        }
        status => output.line(format_args!(
            "{} of {} is {status}, and goes on where `portero serve` runs: portero jobs show {}",
            job.kind, job.subdomain, job.id
        )),
    }
    Ok(ExitCode::SUCCESS)
}

async fn abandon(direct: &Direct, id: &str, yes: bool, output: Output) -> Result<ExitCode, Failure> {
    let job = direct.control.job_details(id).await?;
    tell_what_it_means(&job, output);
    if !yes {
        let left = direct.control.job_leftovers(job.id).await?;
        if job.status == "abandoned" && left.reserved && !left.on_server.is_empty() {
            output.line(format_args!("This removes {}.", left.on_server.join(", ")));
        } else {
            tell_leftovers(&left, output);
        }
        confirm(&job.subdomain, output)?;
    }
    let left = direct.control.job_abandon(job.id).await?;
    output.json(
        &serde_json::json!({ "id": job.id, "subdomain": job.subdomain, "status": "abandoned", "left": left }),
    );
    output.line(format_args!("Job {} is given up.", job.id));
    if !left.removed.is_empty() {
        output.line(format_args!("Removed: {}.", left.removed.join(", ")));
    } else if yes {
        tell_leftovers(&left, output);
    }
    if left.purging {
        output.line(format_args!(
            "{} is half removed, and nothing goes on with that by itself: portero tenant purge {0}",
            job.subdomain
        ));
    }
    if let Some(why) = &left.kept {
        return Err(Failure::Failed(anyhow!(
            "it could not be removed: {why}. When that is mended: portero jobs abandon {}",
            job.id
        )));
    }
    if !left.removed.is_empty() && !left.reserved {
        output.line(format_args!("{} is free again.", job.subdomain));
    }
    if left.reserved {
        output.line(format_args!(
            "{} stays reserved. This removes what is left, and frees the name: portero jobs abandon {}",
            job.subdomain, job.id
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Before somebody gives up what would come to a good end without them.
fn tell_what_it_means(job: &JobDetails, output: Output) {
    output.line(match job.status {
        "abandoned" => format!("{} of {} was given up before.", job.kind, job.subdomain),
        status => {
            format!("{} of {} is {status}. Given up, it is never gone on with.", job.kind, job.subdomain)
        }
    });
    let fails = job.steps.iter().find(|step| matches!(step.status, "running" | "undoing"));
    if matches!(job.status, "running" | "undoing") {
        let why = fails.and_then(|step| step.error.as_ref()).map(|error| format!(": {error}"));
        output.line(format_args!(
            "It is tried again every few seconds, and heals by itself once what hinders it is gone{}.",
            why.unwrap_or_default()
        ));
    }
}

fn tell_leftovers(left: &Leftovers, output: Output) {
    output.line(match (&left.unseen, left.on_server.as_slice()) {
        (Some(why), _) => format!("What is left of it can't be seen: {why}"),
        (None, []) => "Nothing of it is left on its server.".to_owned(),
        (None, found) => format!("Left on its server: {}", found.join(", ")),
    });
}

/// Asks for a name to be typed, before something that can't be taken back.
pub(crate) fn confirm(name: &str, output: Output) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!("there is no terminal to ask on: add --yes to do it")));
    }
    output.line(format_args!("Type {name} to go on:"));
    let mut typed = String::new();
    std::io::stdin().lock().read_line(&mut typed).context("the answer can't be read")?;
    if typed.trim() == name {
        Ok(())
    } else {
        Err(Failure::Failed(anyhow!("that is another name: nothing was done")))
    }
}

/// Works the job here, unless a running server was faster, and tells each step as it ends, and why one fails. `told` is the
/// status of each step that the reader knows already.
pub(crate) async fn watch(
    direct: &Direct,
    id: JobId,
    told: &[&'static str],
    output: Output,
) -> Result<JobView, Failure> {
    output.line(format_args!(
        "Job {id}. Ctrl-C ends the watching and not the job: `portero serve` goes on with it."
    ));
    let worker = Worker::new(direct.registry.clone(), WorkerOptions::default());
    let mut work = tokio::spawn(async move { worker.run_one(id).await });
    let (mut told, mut worked, mut held) = (told.to_vec(), false, Instant::now());
    let mut causes = Causes::default();
    loop {
        let job = direct.control.job(id).await?.context("the job has vanished from the registry")?;
        told.resize(job.steps.len(), "pending");
        for (step, told) in job.steps.iter().zip(&mut told) {
            if step.status != *told && matches!(step.status, "done" | "undone" | "failed") {
                output.line(format_args!("  {}  {}", step.status, step.name));
            }
            *told = step.status;
        }
        if job.status != "running" {
            return Ok(job);
        }
        let row = direct.registry.job_by_id(id).await?.context("the job has vanished from the registry")?;
        causes.tell(&row, output);
        if row.lease_until.is_some_and(|until| until > OffsetDateTime::now_utc()) {
            held = Instant::now();
        }
        if worked && held.elapsed() > NOBODY_COMES {
            return Ok(job);
        }
        tokio::select! {
            outcome = &mut work, if !worked => {
                worked = true;
                // It may have to wait for a server that is away, and nobody should wait here for that. Where another
                // worker has it, that one tells.
                if outcome?? == Some(JobStatus::Undoing) {
                    return Ok(job);
                }
            }
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

/// Why tries of steps fail, as far as the reader knows.
#[derive(Default)]
struct Causes {
    last: Option<(i32, String)>,
    at: Option<Instant>,
}

impl Causes {
    /// Tells why the step under way fails, if that is news and the last was told a while ago.
    fn tell(&mut self, job: &JobRow, output: Output) {
        let under_way = |step: &&StepRow| matches!(step.status, StepStatus::Running | StepStatus::Undoing);
        let Some(step) = job.steps.iter().find(under_way) else { return };
        let Some(error) = &step.error else { return };
        let now = (step.attempts, error.clone());
        if self.last.as_ref() == Some(&now) || self.at.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        let (status, name) = (step.status.as_str(), &step.name);
        output.line(format_args!("  {status}  {name}, try {}: {}", step.attempts, first_line(error)));
        (self.last, self.at) = (Some(now), Some(Instant::now()));
    }
}

fn took(from: Option<OffsetDateTime>, to: Option<OffsetDateTime>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => format!("{} ms", (to - from).whole_milliseconds()),
        _ => String::new(),
    }
}
