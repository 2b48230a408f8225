//! `portero migrate lint`: what is to be said of migrations before they run anywhere.

use crate::output::{Failure, Output};
use clap::Args;
use portero_control::{Complaint, Level, lint_after, migrations_here};
use portero_provisioner::TENANT_MIGRATIONS;
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
pub(crate) struct LintArgs {
    /// A directory of migrations newer than those built in; without it, those built in
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

/// 0 where nothing stops a run, 1 where something does.
pub(crate) fn run(args: &LintArgs, output: Output) -> Result<ExitCode, Failure> {
    let set = migrations_here(args.directory.as_deref()).map_err(Failure::usage)?;
    let after = if args.directory.is_some() { TENANT_MIGRATIONS.latest() } else { 0 };
    let complaints = lint_after(&set, after);
    let stop = complaints.iter().filter(|complaint| complaint.stops()).count();
    output.json(
        &serde_json::json!({ "migrations": set.after(after).len(), "stop": stop, "complaints": complaints }),
    );
    show(&complaints, output);
    let looked = set.after(after).len();
    output.line(match (looked, stop) {
        (0, _) => "There is no migration newer than those built in: nothing to look at.".to_owned(),
        (_, 0) => format!("{}: nothing stops a run.", counted(looked, "migration")),
        (_, 1) => format!("{}: 1 place stops a run.", counted(looked, "migration")),
        (_, _) => format!("{}: {stop} places stop a run.", counted(looked, "migration")),
    });
    Ok(ExitCode::from(u8::from(stop > 0)))
}

/// Each complaint, with what to do about it.
pub(super) fn show(complaints: &[Complaint], output: Output) {
    for complaint in complaints {
        let Complaint { migration, line, rule, found, advice, .. } = complaint;
        let level = match (&complaint.allowed, complaint.level) {
            (Some(_), _) => "allowed",
            (None, Level::Error) => "error",
            (None, Level::Warning) => "warning",
        };
        output.line(format_args!("{migration}.sql:{line}: {level}: {rule}"));
        match &complaint.allowed {
            Some(reason) => output.line(format_args!("    {reason}")),
            None => {
                output.line(format_args!("    {found}"));
                if !advice.is_empty() {
                    output.line(format_args!("    {advice}"));
                }
            }
        }
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
