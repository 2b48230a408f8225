//! `portero tenant` rename, delete, undelete, purge.

use super::{label, who_knows};
use crate::{
    commands::{
        Direct,
        jobs::{confirm, watch},
    },
    output::{Failure, Output},
};
use anyhow::{Context, anyhow};
use clap::Args;
use portero_control::{Change, Grace, Known, LookAlike, Purge, PurgedView};
use portero_kernel::{JobId, Subdomain};
use std::{process::ExitCode, time::Duration};
use time::OffsetDateTime;

/// How long one waits for a purge. It goes on without that.
const PURGE_TAKES: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct RenameArgs {
    /// Its subdomain
    subdomain: String,
    /// The one it gets
    new: String,
    /// Even if that reads like another company's
    #[arg(long)]
    allow_look_alike: bool,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// Their subdomains
    #[arg(required = true)]
    subdomains: Vec<String>,
    /// Don't ask for each subdomain to be typed
    #[arg(long)]
    yes: bool,
    /// How long requests under way may take to end before they are cut
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=600))]
    drain: u64,
}

#[derive(Args)]
pub(crate) struct PurgeArgs {
    /// Its subdomain
    subdomain: String,
    /// Don't ask for the subdomain to be typed
    #[arg(long)]
    yes: bool,
    /// Also if its data should still be kept
    #[arg(long)]
    before_grace: bool,
}

pub(super) async fn rename(direct: &Direct, args: &RenameArgs, output: Output) -> Result<ExitCode, Failure> {
    let look_alike = LookAlike::allowed_if(args.allow_look_alike);
    let change = direct.control.rename(&label(&args.subdomain)?, &args.new, look_alike).await?;
    output.json(&change);
    let tenant = &change.tenant;
    if change.already {
        output.line(format_args!("It is called {} already: {}", tenant.subdomain, tenant.url));
    } else {
        output.line(format_args!("It is called {} now: {}", tenant.subdomain, tenant.url));
    }
    for former in tenant.former.iter().filter(|former| former.redirects_until > OffsetDateTime::now_utc()) {
        output.line(format_args!(
            "{} leads there until {}, and is nobody's until {}.",
            former.subdomain,
            former.redirects_until.date(),
            former.quarantined_until.date()
        ));
    }
    output.line(who_knows(&change.known));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn delete(direct: &Direct, args: &DeleteArgs, output: Output) -> Result<ExitCode, Failure> {
    let names = args.subdomains.iter().map(|raw| label(raw)).collect::<Result<Vec<Subdomain>, _>>()?;
    for name in names.iter().filter(|_| !args.yes) {
        confirm(name.as_str(), output)?;
    }
    let before = deleted_of(direct, &names).await;
    let changes = match direct.control.delete(&names, Duration::from_secs(args.drain)).await {
        Ok(changes) => changes,
        Err(error) => {
            let mut done = deleted_of(direct, &names).await;
            done.retain(|name| !before.contains(name));
            if done.is_empty() {
                return Err(error.into());
            }
            output.json(&serde_json::json!({ "deleted": done }));
            output.line(format_args!(
                "Deleted: {}. The same command goes on with the others.",
                done.join(", ")
            ));
            output.failure(&error.into());
            return Ok(ExitCode::from(3));
        }
    };
    match changes.as_slice() {
        [change] => output.json(change),
        changes => output.json(&serde_json::json!({ "tenants": changes })),
    }
    for change in &changes {
        tell_deleted(change, output);
    }
    Ok(ExitCode::SUCCESS)
}

/// Those of these tenants that are deleted, role and all, as far as can be seen.
async fn deleted_of(direct: &Direct, names: &[Subdomain]) -> Vec<String> {
    let mut deleted = Vec::new();
    for name in names {
        if let Ok(tenant) = direct.control.tenant(name).await
            && tenant.status == "deleted"
        {
            deleted.push(tenant.subdomain);
        }
    }
    deleted
}

fn tell_deleted(change: &Change, output: Output) {
    let tenant = &change.tenant;
    let so = if change.already { "is deleted already" } else { "is deleted" };
    let until = tenant.purge_after.map(|at| format!(" until {}", at.date())).unwrap_or_default();
    output.line(format_args!(
        "{} {so}. Its data is kept{until}: portero tenant undelete {0} brings it back",
        tenant.subdomain
    ));
    if change.cut > 0 {
        output.line(format_args!("Cut in the middle of something: {} connections.", change.cut));
    }
    output.line(who_knows(&change.known));
}

pub(super) async fn undelete(direct: &Direct, subdomain: &str, output: Output) -> Result<ExitCode, Failure> {
    let change = direct.control.undelete(&label(subdomain)?).await?;
    output.json(&change);
    let tenant = &change.tenant;
    if change.already {
        output.line(format_args!("{} is not deleted: it is {}.", tenant.subdomain, tenant.status));
    } else {
        output.line(format_args!(
            "{} is back with everything it had, and {}: {}",
            tenant.subdomain, tenant.status, tenant.url
        ));
    }
    output.line(who_knows(&change.known));
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn purge(direct: &Direct, args: &PurgeArgs, output: Output) -> Result<ExitCode, Failure> {
    let name = label(&args.subdomain)?;
    if !args.yes {
        confirm(name.as_str(), output)?;
    }
    let grace = if args.before_grace { Grace::Waive } else { Grace::Respect };
    let (purged, already) = match direct.control.purge(&name, grace).await? {
        Purge::Done(purged) => (purged, true),
        Purge::Job(job) => (see_through(direct, &name, job, output).await?, false),
    };
    let known = direct.control.known_by_now().await?;
    output.json(&PurgeAnswer { purged: &purged, already, known: &known });
    let so = if already { "was purged before" } else { "is purged" };
    output.line(format_args!("{} {so}. Looked for, and gone:", purged.subdomain));
    for look in purged.report.iter().flat_map(|report| report["looked_for"].as_array()).flatten() {
        let text = |key: &str| look[key].as_str().unwrap_or_default().to_owned();
        output.line(format_args!("  {:<22} {}", text("what"), text("place")));
    }
    output.line(format_args!("Nobody else can have its name before {}.", purged.quarantined_until.date()));
    output.line(who_knows(&known));
    Ok(ExitCode::SUCCESS)
}

#[derive(serde::Serialize)]
struct PurgeAnswer<'a> {
    #[serde(flatten)]
    purged: &'a PurgedView,
    already: bool,
    known: &'a Known,
}

async fn see_through(
    direct: &Direct,
    name: &Subdomain,
    job: JobId,
    output: Output,
) -> Result<PurgedView, Failure> {
    let status = match tokio::time::timeout(PURGE_TAKES, watch(direct, job, &[], output)).await {
        Ok(job) => job?.status,
        Err(_) => "running",
    };
    if status == "done" {
        let purged = direct.control.purged(name).await?;
        return Ok(purged.context("the tombstone has vanished from the registry")?);
    }
    let row = direct.registry.job_by_id(job).await?.context("the job has vanished from the registry")?;
    let error = row.error.map(|error| format!(": {error}")).unwrap_or_default();
    Err(Failure::Failed(match status {
        "running" => anyhow!(
            "{name} is being purged by job {job}, which goes on and can be watched: portero jobs show {job}"
        ),
        _ => anyhow!(
            "{name} is not purged yet, and can't be brought back{error}. When that is mended: portero jobs retry {job}"
        ),
    }))
}
