//! `cargo xtask bench`: figures beside their ceilings, measured in the same run, with the machine they are of.

mod chart;
mod cpu;
mod http;
mod machine;
mod measured;
mod plot;
mod process;
mod report;
mod route;
mod stage;
mod stats;
mod targets;
mod wrk;

use anyhow::Result;
use clap::Subcommand;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// A routed request against the same one without Portero
    Route(route::RouteArgs),
}

pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Route(args) => route::run(args),
    }
}
