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
    /// A size: the chosen one, or else the usual or the quick one.
    pub(super) fn choose(&self, chosen: Option<u32>, usual: u32, quick: u32) -> u32 {
        chosen.unwrap_or(if self.quick { quick } else { usual })
    }

    /// How many pairs.
    pub(super) fn count(&self, usual: u32) -> u32 {
        self.choose(self.pairs, usual, usual.min(2))
    }

    fn pairs(&self, usual: u32) -> String {
        format!("--pairs={}", self.count(usual))
    }

    fn size(&self, flag: &str, chosen: Option<u32>, usual: u32, quick: u32) -> String {
        format!("{flag}={}", self.choose(chosen, usual, quick))
    }

    /// What `checkout` is told: it has no sizes of its own.
    pub(super) fn checkout_arguments(&self) -> Vec<String> {
        vec![self.pairs(7), self.size("--batches", None, 200, 10)]
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

#[derive(Args)]
pub(crate) struct FairnessArgs {
    #[command(flatten)]
    common: Common,
    /// Sparse companies [default: 200]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Option<u32>,
    /// Clients of the hog [default: 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    clients: Option<u32>,
    /// Seconds a run takes [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
}

impl FairnessArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let common = &self.common;
        vec![
            common.pairs(3),
            common.size("--tenants", self.tenants, 200, 30),
            common.size("--clients", self.clients, 1000, 200),
            common.size("--seconds", self.seconds, 30, 4),
        ]
    }
}

#[derive(Args)]
pub(crate) struct ProvisionArgs {
    #[command(flatten)]
    common: Common,
    /// Sign-ups of each kind in a pair [default: 40]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    signups: Option<u32>,
    /// Sign-ups at once [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    crowd: Option<u32>,
    /// Companies that ask meanwhile [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Option<u32>,
}

impl ProvisionArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let common = &self.common;
        vec![
            common.pairs(3),
            common.size("--signups", self.signups, 40, 4),
            common.size("--crowd", self.crowd, 100, 12),
            common.size("--tenants", self.tenants, 20, 6),
        ]
    }
}

#[derive(Args)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    common: Common,
    /// Companies; each takes 8 MB of disk [default: 300]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Option<u32>,
    /// How many at once, of both [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    jobs: Option<u32>,
}

impl MigrateArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let common = &self.common;
        vec![
            common.pairs(5),
            common.size("--tenants", self.tenants, 300, 20),
            common.size("--jobs", self.jobs, 8, 8),
        ]
    }
}

#[derive(Args)]
pub(crate) struct CutoffArgs {
    #[command(flatten)]
    common: Common,
    /// Pauses in each [default: 100]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Pauses in each while NOTIFY is dead [default: 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    deaf_rounds: Option<u32>,
}

impl CutoffArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let common = &self.common;
        vec![
            common.pairs(3),
            common.size("--rounds", self.rounds, 100, 10),
            common.size("--deaf-rounds", self.deaf_rounds, 20, 2),
        ]
    }
}

#[derive(Args)]
pub(crate) struct DirectoryArgs {
    #[command(flatten)]
    common: Common,
    /// How many companies; several with commas [default: 10000,100000]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..))]
    tenants: Vec<u32>,
}

impl DirectoryArgs {
    pub(super) fn arguments(&self) -> Vec<String> {
        let chosen: Vec<String> = self.tenants.iter().map(u32::to_string).collect();
        let usual = if self.common.quick { "10000" } else { "10000,100000" };
        let tenants = if chosen.is_empty() { usual.to_owned() } else { chosen.join(",") };
        vec![self.common.pairs(5), format!("--tenants={tenants}")]
    }
}
