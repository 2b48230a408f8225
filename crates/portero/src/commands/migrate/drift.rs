//! `portero migrate drift`: which tenants' databases are not as migrations make them, and in what.

use super::{badly_asked, subdomains};
use crate::{
    commands::Direct,
    output::{Failure, Output},
};
use clap::Args;
use portero_control::{DriftReport, DriftState, TenantDrift};
use std::{cmp::Reverse, collections::BTreeSet, path::PathBuf, process::ExitCode};

/// Letters of names that a line of a terminal takes, beside the blanks before them and how many others there are.
const NAMES: usize = 60;

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
    for group in alike(&report.tenants) {
        output.line(format_args!("{}\n", told(&group)));
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
            "{drifted} of {} tenants have drifted{others}.\n\
             Mend what shouldn't be by hand, or make it everybody's by a migration.\n\
             Each tenant with what differs in it: --json",
            same + drifted
        ));
    }
}

/// Those of which there is something to tell, together where it is the same, most first: what was done to all by hand is read once.
fn alike(tenants: &[TenantDrift]) -> Vec<Vec<&TenantDrift>> {
    let mut groups: Vec<Vec<&TenantDrift>> = Vec::new();
    for tenant in tenants.iter().filter(|tenant| tenant.state != DriftState::Same) {
        match groups.iter_mut().find(|group| findings(group[0]).eq(findings(tenant))) {
            Some(group) => group.push(tenant),
            None => groups.push(vec![tenant]),
        }
    }
    groups.sort_by_key(|group| Reverse(group.len()));
    groups
}

/// What is to be told of a tenant, but for who it is: a line for each.
fn findings(tenant: &TenantDrift) -> impl Iterator<Item = String> {
    let reason = tenant.reason.as_deref().unwrap_or_default();
    let instead = match tenant.state {
        DriftState::Failed => Some(format!("could not be looked at: {reason}")),
        DriftState::Skipped => Some(format!("skipped: {reason}")),
        DriftState::Same | DriftState::Drifted => None,
    };
    instead.into_iter().chain(tenant.differences.iter().map(|difference| difference.told.clone()))
}

/// What is the same in these, and then who they are.
fn told(group: &[&TenantDrift]) -> String {
    let mut lines: Vec<String> = findings(group[0]).collect();
    let servers: BTreeSet<_> = group.iter().map(|tenant| tenant.server.as_str()).collect();
    let versions: BTreeSet<_> = group.iter().filter_map(|tenant| tenant.version).collect();
    let mut place = format!("on {}", Vec::from_iter(servers).join(", "));
    if !versions.is_empty() {
        let versions: Vec<_> = versions.iter().map(ToString::to_string).collect();
        place.push_str(&format!(", schema {}", versions.join(", ")));
    }
    if let [tenant] = group {
        lines.push(format!("    {} {place}", tenant.subdomain));
    } else {
        lines.push(format!("    {} tenants {place}:", group.len()));
        lines.push(format!("    {}", names(group)));
    }
    lines.join("\n")
}

/// As many of their names as a line takes, and how many others there are.
fn names(group: &[&TenantDrift]) -> String {
    let mut width = 0;
    let named: Vec<_> = group.iter().map(|tenant| tenant.subdomain.as_str()).collect();
    let fit = named.iter().take_while(|name| {
        width += name.len() + ", ".len();
        width <= NAMES
    });
    let shown = fit.count().max(1);
    match named.len() - shown {
        0 => named.join(", "),
        1 => format!("{} and 1 other", named[..shown].join(", ")),
        others => format!("{} and {others} others", named[..shown].join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_provisioner::fleet::{Difference, Way};

    fn extra(what: &str) -> Difference {
        Difference { what: what.to_owned(), way: Way::Extra, aspect: None, is: None, should_be: None }
    }

    fn tenant(subdomain: &str, version: i32, reason: Option<&str>) -> TenantDrift {
        TenantDrift {
            subdomain: subdomain.to_owned(),
            server: "main".to_owned(),
            state: if reason.is_some() { DriftState::Failed } else { DriftState::Drifted },
            version: reason.is_none().then_some(version),
            differences: Vec::new(),
            reason: reason.map(str::to_owned),
        }
    }

    #[test]
    fn those_of_which_the_same_is_told_are_told_together() {
        let away = "its server is away";
        let with = |what: &[&str], server: &str, tenant: TenantDrift| TenantDrift {
            differences: what.iter().map(|what| extra(what).into()).collect(),
            server: server.to_owned(),
            ..tenant
        };
        let all = [
            tenant("acme", 4, Some(away)),
            with(&["table public.a"], "main", tenant("alfa", 4, None)),
            with(&["table public.a", "table public.b"], "main", tenant("beta", 5, None)),
            with(&["table public.a", "table public.b"], "second", tenant("gama", 4, None)),
            TenantDrift { state: DriftState::Same, ..tenant("zeta", 4, None) },
        ];
        let groups: Vec<_> = alike(&all).iter().map(|group| told(group)).collect();
        assert_eq!(
            groups,
            [
                "table public.a is extra\ntable public.b is extra\n    \
                 2 tenants on main, second, schema 4, 5:\n    beta, gama",
                "could not be looked at: its server is away\n    acme on main",
                "table public.a is extra\n    alfa on main, schema 4",
            ]
        );
    }

    #[test]
    fn a_line_has_some_of_the_names() {
        let all: Vec<_> = (0..300).map(|n| tenant(&format!("company-{n}"), 4, None)).collect();
        let names_of = |count: usize| names(&all.iter().take(count).collect::<Vec<_>>());
        assert_eq!(names_of(2), "company-0, company-1");
        assert_eq!(names_of(6), "company-0, company-1, company-2, company-3, company-4 and 1 other");
        assert_eq!(names_of(300), "company-0, company-1, company-2, company-3, company-4 and 295 others");
        let long = tenant(&"a".repeat(63), 4, None);
        assert_eq!(names(&[&long, &all[0]]), format!("{} and 1 other", "a".repeat(63)));
    }
}
