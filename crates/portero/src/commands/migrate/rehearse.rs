//! `portero migrate plan --rehearse`: pending migrations, run on clones of some tenants.

use super::{badly_asked, lint};
use crate::{
    commands::{Direct, asked_to_stop},
    output::{Failure, Output},
};
use anyhow::anyhow;
use clap::Args;
use portero_control::{
    CloneLimits, MigrationRequest, MigrationSeen, RehearsalOptions, RehearsalReport, RehearsalState,
    TenantRehearsal, lint_after,
};
use portero_provisioner::TENANT_MIGRATIONS;
use std::{process::ExitCode, time::Duration};

/// After a stop, clones are dropped when the server has noticed that their makers are gone.
const NOTICED: Duration = Duration::from_millis(300);

#[derive(Args)]
pub(crate) struct RehearseArgs {
    /// Run what is pending on throw-away clones of some tenants, and say how long it took and what it locked
    #[arg(long)]
    pub(crate) rehearse: bool,
    /// Clone so many tenants, the largest among them; those named by --tenant, if any are
    #[arg(long, value_name = "N", requires = "rehearse", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=1000))]
    sample: u16,
    /// Clone no database that is larger
    #[arg(long, value_name = "MB", requires = "rehearse", default_value_t = 1024)]
    clone_limit_mb: u64,
}

/// 0 where all went well, 1 where nothing did, 3 where some failed.
pub(crate) async fn run(
    direct: &Direct,
    request: &MigrationRequest,
    args: &RehearseArgs,
    server_limit: Option<u64>,
    output: Output,
) -> Result<ExitCode, Failure> {
    let limits = CloneLimits { largest: args.clone_limit_mb.saturating_mul(1 << 20), server: server_limit };
    let set = direct.control.migration_set_to_run(request.directory.as_deref()).await.map_err(badly_asked)?;
    lint::show(&lint_after(&set, TENANT_MIGRATIONS.latest()), output);
    let options = RehearsalOptions { sample: args.sample.into(), only: request.tenants.clone(), limits };
    let report = tokio::select! {
        report = direct.control.rehearse(&set, &options) => report?,
        () = asked_to_stop() => {
            for _ in 0..10 {
                tokio::time::sleep(NOTICED).await;
                if direct.control.sweep_clones().await > 0 {
                    break;
                }
            }
            return Err(Failure::Failed(anyhow!("stopped; clones are dropped, and no tenant was changed")));
        }
    };
    output.json(&report);
    show(&report, output);
    let count = |state| report.count(state);
    Ok(ExitCode::from(match (count(RehearsalState::Done), count(RehearsalState::Failed)) {
        (0, 0) if report.tenants.is_empty() => 0,
        (0, _) => 1,
        (_, 0) => 0,
        (_, _) => 3,
    }))
}

fn show(report: &RehearsalReport, output: Output) {
    if report.pending == 0 {
        output.line(format_args!("Every tenant has schema {}: there is nothing to rehearse.", report.target));
        return;
    }
    output.line(format_args!(
        "Rehearsed on clones of {} of the {} tenants that lack migrations up to {}.\n",
        report.tenants.len(),
        report.pending,
        report.target
    ));
    let rows: Vec<_> = report.tenants.iter().map(tenant_row).collect();
    output.table(["TENANT", "SERVER", "SCHEMA", "SIZE", "ROWS", "CLONED IN", "OUTCOME"], &rows);
    for tenant in &report.tenants {
        if let Some(reason) = &tenant.reason {
            output.line(format_args!("{}: {reason}", tenant.subdomain));
        }
        if !tenant.drift.is_empty() {
            output.line(format_args!(
                "{}: has drifted in {} places that its clone doesn't have: portero migrate drift --tenant {0}",
                tenant.subdomain,
                tenant.drift.len()
            ));
        }
    }
    output.line("");
    let rows: Vec<_> = report.migrations.iter().map(migration_row).collect();
    output.table(["MIGRATION", "CLONES", "FAILED", "MEDIAN", "LONGEST", "BLOCKS UNTIL IT COMMITS"], &rows);
    let unseen: Vec<_> = unseen(report).collect();
    if !unseen.is_empty() {
        output.line(format_args!(
            "\nWhat these lock was not seen, since they run without a transaction: {}",
            unseen.join(", ")
        ));
    }
    output.line(
        "\nA clone is compact and nobody uses it: on the tenants themselves it takes longer, and waits for locks.",
    );
}

fn tenant_row(tenant: &TenantRehearsal) -> [String; 7] {
    let outcome = match tenant.state {
        RehearsalState::Done => "done",
        RehearsalState::Failed => "failed",
        RehearsalState::NotCloned => "not cloned",
    };
    [
        tenant.subdomain.clone(),
        tenant.server.clone(),
        tenant.version.to_string(),
        format!("{} MB", tenant.bytes.div_ceil(1 << 20)),
        tenant.rows.to_string(),
        format!("{} ms", tenant.copy_ms),
        outcome.to_owned(),
    ]
}

/// The migrations whose locks a rehearsal can't see.
fn unseen(report: &RehearsalReport) -> impl Iterator<Item = &str> {
    let unseen = report.migrations.iter().filter(|migration| !migration.in_transaction);
    unseen.map(|migration| migration.migration.as_str())
}

fn migration_row(migration: &MigrationSeen) -> [String; 6] {
    let mut blocks: Vec<String> = Vec::new();
    if !migration.in_transaction {
        blocks.push("not seen: no transaction".to_owned());
    } else if migration.failed == migration.clones {
        blocks.push("not seen: it failed".to_owned());
    }
    for what in ["reads and writes", "writes"] {
        let of = migration.locks.iter().filter(|lock| lock.blocks == what);
        let mut tables: Vec<_> = of.map(|lock| lock.relation.as_str()).collect();
        tables.dedup();
        if !tables.is_empty() {
            blocks.push(format!("{what} of {}", tables.join(", ")));
        }
    }
    if !migration.rewritten.is_empty() {
        blocks.push(format!("rewrites {}", migration.rewritten.join(", ")));
    }
    [
        migration.migration.clone(),
        migration.clones.to_string(),
        migration.failed.to_string(),
        format!("{} ms", migration.median_ms),
        format!("{} ms", migration.longest_ms),
        if blocks.is_empty() { "nothing".to_owned() } else { blocks.join("; ") },
    ]
}
