//! What routing costs: `GET /api/v1/ping` at a tenant's host, against a bare server that runs the same `SELECT` and
//! answers the same JSON.
//!
//! Both serve from one PostgreSQL, with as many workers and connections; [`super::stage`] puts them up. Runs alternate,
//! and which goes first does too (A B, B A, …), so that a machine that warms up or slows down favours neither. What counts
//! is the ratio within each pair; its median is compared with the target.

use super::{
    machine::Machine,
    plot,
    process::Interrupted,
    report::{self, Pair, Report},
    stage::Stage,
    wrk::{self, Load},
};
use crate::{needs, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::{fs, process::ExitCode};

/// Of the bare server's throughput.
pub(super) const TARGET: f64 = 0.95;

#[derive(Args)]
pub(crate) struct RouteArgs {
    /// Pairs of runs
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pairs: u32,
    /// Seconds a run takes
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
    /// Connections that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
}

pub(crate) fn run(args: &RouteArgs) -> Result<ExitCode> {
    needs::ensure(&[needs::POSTGRES, needs::WRK])?;
    build()?;
    let interrupted = Interrupted::watch()?;
    println!("Starting PostgreSQL, Portero and the bare server …");
    let stage = Stage::set(&interrupted)?;
    let load = Load {
        program: needs::find(&needs::WRK).context("wrk is not here any more")?,
        connections: args.connections,
        seconds: args.seconds,
    };
    let measured = measure(args, &load, &stage);
    // Ctrl-C reaches the servers and wrk too: what they say then is no news.
    interrupted.check()?;
    let pairs = measured?;
    let machine = Machine::look(stage.postgres_version.clone());
    stage.strike()?;
    let report = Report { pairs, machine, connections: args.connections, seconds: args.seconds };
    println!("\n{}", report::table(&report));
    save(&report)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(args: &RouteArgs, load: &Load, stage: &Stage) -> Result<Vec<Pair>> {
    println!("Warming up …");
    for target in [&stage.portero, &stage.bare] {
        wrk::run(load, target)?;
    }
    let mut pairs = Vec::new();
    for number in 1..=args.pairs {
        let pair = if number % 2 == 1 {
            let portero = wrk::run(load, &stage.portero)?;
            Pair { portero, bare: wrk::run(load, &stage.bare)? }
        } else {
            let bare = wrk::run(load, &stage.bare)?;
            Pair { portero: wrk::run(load, &stage.portero)?, bare }
        };
        println!(
            "{number:>3}  Portero {:>8.0}/s  bare {:>8.0}/s  ratio {:.3}",
            pair.portero.per_second,
            pair.bare.per_second,
            pair.ratio()
        );
        pairs.push(pair);
    }
    Ok(pairs)
}

fn build() -> Result<()> {
    println!("Building Portero and the bare server for release …");
    let status = workspace::cargo()
        .args([
            "build",
            "--quiet",
            "--release",
            "--locked",
            "--package",
            "portero",
            "--package",
            "bench-bare",
        ])
        .status()
        .context("cargo can't be run")?;
    if !status.success() {
        bail!("the programs to measure don't build");
    }
    Ok(())
}

fn save(report: &Report) -> Result<()> {
    let dir = workspace::target_dir()?.join("bench");
    fs::create_dir_all(&dir)?;
    for (name, text) in
        [("route.json", format!("{:#}\n", report::json(report))), ("route.svg", plot::pairs(&report.pairs))]
    {
        fs::write(dir.join(name), text).with_context(|| format!("{name} can't be written"))?;
    }
    println!("Kept in {0}/route.json and {0}/route.svg", dir.display());
    Ok(())
}
