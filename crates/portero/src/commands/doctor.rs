//! `portero doctor`: every check one needs when something is wrong; and what can be mended, mended on request.

use crate::{
    commands::{Direct, direct},
    output::{Failure, Output, indented},
    settings::Settings,
};
use anyhow::anyhow;
use clap::Args;
use portero_control::{Check, Finding, Health, Remedy};
use portero_kernel::with_causes;
use std::{
    io::{BufRead, stdin},
    process::ExitCode,
};

#[derive(Args)]
pub(crate) struct DoctorArgs {
    /// Mend what can be mended safely: fences, and databases and roles that belong to nobody. Asks before each
    #[arg(long)]
    mend: bool,
    /// With --mend: don't ask
    #[arg(long, requires = "mend")]
    yes: bool,
}

/// What became of a finding.
#[derive(serde::Serialize)]
struct Mended {
    #[serde(flatten)]
    finding: Finding,
    /// Why it was left as it is; nothing if it was mended.
    #[serde(skip_serializing_if = "Option::is_none")]
    left: Option<String>,
}

pub(crate) async fn run(settings: Settings, args: DoctorArgs, output: Output) -> Result<ExitCode, Failure> {
    let direct = direct(settings)?;
    let mended = if args.mend { Some(mend(&direct, args.yes, output).await?) } else { None };
    let checks = direct.control.doctor().await;
    match &mended {
        None => output.json(&serde_json::json!({ "checks": checks })),
        Some(mended) => output.json(&serde_json::json!({ "mended": mended, "checks": checks })),
    }
    show(&checks, output);
    let left = mended.iter().flatten().filter(|one| one.left.is_some()).count();
    let all = mended.iter().flatten().count();
    let failed = checks.iter().any(|check| check.health == Health::Fail);
    Ok(match (left, failed) {
        (0, false) => ExitCode::SUCCESS,
        (left, _) if left > 0 && left < all => ExitCode::from(3),
        _ => ExitCode::from(1),
    })
}

fn show(checks: &[Check], output: Output) {
    let widest = checks.iter().map(|check| check.name.chars().count()).max().unwrap_or(0);
    for check in checks {
        let sign = match check.health {
            Health::Ok => "ok  ",
            Health::Warn => "warn",
            Health::Fail => "FAIL",
        };
        let by = sign.len() + widest + 4;
        output.line(format_args!("{sign}  {:widest$}  {}", check.name, indented(&check.found, by)));
        if !check.advice.is_empty() {
            output.line(format_args!("      {:widest$}  → {}", "", check.advice));
        }
    }
}

/// Goes through what can be mended, one by one. A database goes before its role, which has rights in it.
async fn mend(direct: &Direct, yes: bool, output: Output) -> Result<Vec<Mended>, Failure> {
    if output.is_json() && !yes {
        return Err(Failure::usage(anyhow!("nobody can be asked with --json: add --yes")));
    }
    let found = direct.control.reconcile().await?.findings;
    let mut mendable: Vec<Finding> = found.iter().filter(|one| one.remedy().is_some()).cloned().collect();
    mendable.sort_by_key(|finding| finding.kind);
    if mendable.is_empty() {
        output.line("There is nothing that could be mended without a person's judgement.");
    }
    // Whoever types each name has looked at each.
    let too_many = if yes { direct.control.check_orphans_are_few(&found).await.err() } else { None };
    let too_many = too_many.map(|error| error.to_string());
    let mut mended = Vec::new();
    for finding in mendable {
        let destroys = finding.remedy().is_some_and(Remedy::destroys);
        let refused = too_many.clone().filter(|_| destroys);
        let left = match refused {
            Some(why) => Some(why),
            None if yes || agreed(&finding, output)? => {
                direct.control.mend(&finding).await.err().map(|error| with_causes(&error))
            }
            None => Some("as you wish".to_owned()),
        };
        let what = what(&finding);
        match &left {
            None => output.line(format_args!("Done: {what}.")),
            Some(why) => output.line(format_args!("Left: {what}: {why}.")),
        }
        mended.push(Mended { finding, left });
    }
    output.line("");
    Ok(mended)
}

fn what(finding: &Finding) -> String {
    let Finding { server, object, .. } = finding;
    let subdomain = finding.subdomain.as_deref().unwrap_or(object);
    match (finding.remedy(), finding.kind) {
        (Some(Remedy::RaiseFence), _) => format!("shut {subdomain}'s role out on {server}"),
        (Some(Remedy::LowerFence), _) => format!("let {subdomain}'s role in on {server}"),
        (_, portero_control::Kind::OrphanRole) => format!("drop the role {object} on {server}"),
        _ => format!("drop the database {object} on {server}, with all that is in it"),
    }
}

/// What can't be brought back wants its name typed.
fn agreed(finding: &Finding, output: Output) -> Result<bool, Failure> {
    let destroys = finding.remedy().is_some_and(Remedy::destroys);
    let wanted = if destroys { finding.object.as_str() } else { "yes" };
    output.line(format_args!("To {}, type {wanted}:", what(finding)));
    let mut typed = String::new();
    stdin().lock().read_line(&mut typed)?;
    Ok(typed.trim() == wanted)
}
