//! `portero migrate drift`: which tenants' databases are not as migrations make them, and in what.

use super::{badly_asked, subdomains};
use crate::{
    commands::Direct,
    output::{Failure, Output},
};
use clap::Args;
use portero_control::{DriftReport, DriftState, TenantDrift};
use std::{path::PathBuf, process::ExitCode};

#[derive(Args)]
pub(crate) struct DriftArgs {
    /// Look at this tenant only; several may be named
    #[arg(long, value_name = "SUBDOMAIN")]
    tenant: Vec<String>,
    /// Files V<number>__<name>.sql that are newer than the migrations built in
    #[arg(long, value_name = "DIR")]
    tenant_migrations: Option<PathBuf>,
}

/// 0 where nothing differs, 3 where something does, 1 where somebody could not be looked at.
pub(crate) async fn run(direct: &Direct, args: &DriftArgs, output: Output) -> Result<ExitCode, Failure> {
    let set = direct.control.migration_set(args.tenant_migrations.as_deref()).await.map_err(badly_asked)?;
    let report = direct.control.drift(&set, &subdomains(&args.tenant)?).await?;
    show(&report, output);
    let any = |state| report.count(state) > 0;
    Ok(ExitCode::from(match (any(DriftState::Failed), any(DriftState::Drifted)) {
        (true, _) => 1,
        (false, true) => 3,
        (false, false) => 0,
    }))
}

fn show(report: &DriftReport, output: Output) {
    let count = |state| report.count(state);
    output.json(&serde_json::json!({
        "same": count(DriftState::Same), "drifted": count(DriftState::Drifted),
        "failed": count(DriftState::Failed), "skipped": count(DriftState::Skipped),
        "tenants": report.tenants,
    }));
    for tenant in report.tenants.iter().filter(|tenant| tenant.state != DriftState::Same) {
        output.line(headline(tenant));
        for difference in &tenant.differences {
            output.line(format_args!("    {}", difference.told));
        }
    }
    let (same, drifted) = (count(DriftState::Same), count(DriftState::Drifted));
    let others = match (count(DriftState::Failed), count(DriftState::Skipped)) {
        (0, 0) => String::new(),
        (failed, skipped) => format!("; {failed} could not be looked at, {skipped} skipped"),
    };
    if drifted == 0 {
        output.line(format_args!("{same} tenants are as migrations make them{others}."));
    } else {
        output.line(format_args!(
            "{drifted} of {} tenants have drifted{others}. Mend what shouldn't be by hand, or make it everybody's by a migration.",
            same + drifted
        ));
    }
}

fn headline(tenant: &TenantDrift) -> String {
    let TenantDrift { subdomain, server, .. } = tenant;
    let version = tenant.version.unwrap_or_default();
    let reason = tenant.reason.as_deref().unwrap_or_default();
    match tenant.state {
        DriftState::Failed => format!("{subdomain} on {server}: could not be looked at: {reason}"),
        DriftState::Skipped => format!("{subdomain} on {server}: skipped: {reason}"),
        DriftState::Same | DriftState::Drifted => {
            format!("{subdomain} on {server}, schema {version}: {} differences", tenant.differences.len())
        }
    }
}
