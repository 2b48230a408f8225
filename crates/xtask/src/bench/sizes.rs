//! How much the benches of the measuring program do: as much as figures take, or with `--quick` just enough to see that
//! all of it still runs.

use clap::Args;

/// Of every bench.
#[derive(Args)]
pub(crate) struct Common {
    /// Only see that it runs: little of everything, figures that say nothing
    #[arg(long)]
    quick: bool,
    /// Measurements, each beside its ceiling
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pairs: Option<u32>,
}

impl Common {
    fn pairs(&self, usual: u32) -> String {
        let few = usual.min(2);
        format!("--pairs={}", self.pairs.unwrap_or(if self.quick { few } else { usual }))
    }

    fn size(&self, flag: &str, chosen: Option<u32>, usual: u32, quick: u32) -> String {
        format!("{flag}={}", chosen.unwrap_or(if self.quick { quick } else { usual }))
    }
}

#[derive(Args)]
pub(crate) struct ColdArgs {
    #[command(flatten)]
    common: Common,
    /// Companies, each asked once a pair [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(10..))]
    tenants: Option<u32>,
}

impl ColdArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        vec![self.common.pairs(5), self.common.size("--tenants", self.tenants, 200, 20)]
    }
}

#[derive(Args)]
pub(crate) struct BudgetArgs {
    #[command(flatten)]
    common: Common,
    /// Companies; each takes 8 MB of disk [default: 300]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Option<u32>,
    /// Seconds a run takes [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
}

impl BudgetArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let common = &self.common;
        vec![
            common.pairs(5),
            common.size("--tenants", self.tenants, 300, 60),
            common.size("--seconds", self.seconds, 20, 2),
        ]
    }
}
