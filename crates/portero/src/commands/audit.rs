//! `portero audit`: list, verify.

use crate::{
    commands::direct,
    output::{Failure, Output, moment},
    settings::Settings,
};
use anyhow::anyhow;
use clap::Subcommand;
use portero_control::{AuditFilter, AuditHead, AuditView};
use std::process::ExitCode;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

#[derive(Subcommand)]
pub(crate) enum AuditCommand {
    /// List what was done and what was refused, newest first
    List {
        /// Of the tenant that was called this then
        #[arg(long, value_name = "SUBDOMAIN")]
        tenant: Option<String>,
        /// By this one: an operator's name, or user@machine
        #[arg(long)]
        actor: Option<String>,
        /// Since then: 30m, 12h, 7d, or a moment such as 2026-01-31T09:00:00Z
        #[arg(long, value_parser = since)]
        since: Option<OffsetDateTime>,
        /// At most so many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..=10_000))]
        limit: i64,
    },
    /// Follow the log from its beginning, and say whether anything in it was changed
    ///
    /// It prints the place where the log ends, as NUMBER:HASH. Kept elsewhere, and expected here later, that tells as well
    /// if the log was cut off since: nothing in the registry can.
    Verify {
        /// A place that was kept before
        #[arg(long, value_name = "NUMBER:HASH")]
        expect: Option<AuditHead>,
    },
}

pub(crate) async fn run(
    settings: Settings,
    command: AuditCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let control = direct(settings)?.control;
    match command {
        AuditCommand::List { tenant, actor, since, limit } => {
            let filter = AuditFilter { subdomain: tenant, actor, since, ..AuditFilter::default() };
            list(&control.audit(&filter, limit).await?, output);
            Ok(ExitCode::SUCCESS)
        }
        AuditCommand::Verify { expect } => {
            let report = control.audit_verify(expect).await?;
            output.json(&report);
            let Some(fault) = report.fault else {
                output.line(format_args!("{} entries hold together, up to", report.entries));
                output.line(format_args!("  {}", report.head));
                output.line(
                    "Keep that elsewhere: portero audit verify --expect tells later if the log was cut off.",
                );
                return Ok(ExitCode::SUCCESS);
            };
            output.line(format_args!("This is not the log that was written: {fault}."));
            output.line(format_args!("{} entries follow from each other, the last of them", report.entries));
            output.line(format_args!("  {}", report.head));
            output.line("Keep the registry as it is, restore a backup of it elsewhere, and compare the two.");
            Ok(ExitCode::from(1))
        }
    }
}

fn list(entries: &[AuditView], output: Output) {
    output.json(&serde_json::json!({ "entries": entries }));
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| {
            let who = if entry.actor.is_empty() { &entry.actor_kind } else { &entry.actor };
            [
                entry.seq.to_string(),
                entry.at.map(moment).unwrap_or_default(),
                who.clone(),
                entry.verb.clone(),
                if entry.at_fault { "at fault".to_owned() } else { entry.outcome.clone() },
                entry.subdomain.clone().unwrap_or_default(),
                entry.address.clone().unwrap_or_default(),
                entry.details.to_string(),
            ]
        })
        .collect();
    if rows.is_empty() {
        return output.line("There are no such entries.");
    }
    output.table(["NUMBER", "WHEN", "WHO", "WHAT", "OUTCOME", "TENANT", "FROM", "DETAILS"], &rows);
    if entries.iter().any(|entry| entry.at_fault) {
        output.line("What is at fault was not written by Portero: see `portero audit verify`.");
    }
}

fn since(text: &str) -> anyhow::Result<OffsetDateTime> {
    if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        return Ok(moment);
    }
    let odd = || anyhow!("30m, 12h, 7d, or a moment such as 2026-01-31T09:00:00Z");
    let unit = text.chars().next_back().ok_or_else(odd)?;
    let count: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| odd())?;
    let ago = match unit {
        'm' => Duration::minutes(count.into()),
        'h' => Duration::hours(count.into()),
        'd' => Duration::days(count.into()),
        _ => return Err(odd()),
    };
    OffsetDateTime::now_utc().checked_sub(ago).ok_or_else(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_is_a_moment_or_a_while_ago() {
        assert_eq!(since("2026-01-31T09:00:00Z").unwrap().unix_timestamp(), 1_769_850_000);
        for (text, secs) in [("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            let then = since(text).unwrap();
            let ago = OffsetDateTime::now_utc() - then;
            assert!((secs..secs + 5).contains(&ago.whole_seconds()), "{text}: {ago}");
        }
        for odd in ["", "h", "7w", "-1d", "yesterday", "7ñ", "4294967295d"] {
            assert!(since(odd).is_err(), "{odd}");
        }
    }
}
