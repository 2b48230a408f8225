//! What routing costs: `GET /api/v1/ping` at a tenant's host, against a bare server that runs the same `SELECT` and
//! answers the same JSON. After it the part of that which is the router's: looking up the host and lending a connection
//! that is idle, measured in the process, as `cargo xtask bench checkout` does alone.
//!
//! Both serve from one PostgreSQL, with as many workers and connections; [`super::stage`] puts them up. Runs alternate,
//! and which goes first does too (A B, B A, …), so that a machine that warms up or slows down favours neither. What counts
//! is the ratio within each pair; its median is compared with the target.

use super::{
    chart::{self, Chart, Line, Role},
    machine::Machine,
    measured,
    process::Interrupted,
    report::{self, Pair, Report},
    sizes::Common,
    stage::Stage,
    wrk::{self, Load},
};
use crate::{needs, workspace};
use anyhow::{Context, Result};
use clap::Args;
use std::{iter::zip, process::ExitCode};

#[derive(Args)]
pub(crate) struct RouteArgs {
    #[command(flatten)]
    common: Common,
    /// Seconds a run takes [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    seconds: Option<u32>,
    /// Connections that ask at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(2..))]
    connections: u32,
}

pub(crate) fn run(args: &RouteArgs) -> Result<ExitCode> {
    needs::ensure(&[needs::POSTGRES, needs::WRK])?;
    measured::build()?;
    let interrupted = Interrupted::watch()?;
    let (count, seconds) = (args.common.count(7), args.common.choose(args.seconds, 5, 1));
    println!("Starting PostgreSQL, Portero and the bare server …");
    let stage = Stage::set(&interrupted)?;
    let load = Load {
        program: needs::find(&needs::WRK).context("wrk is not here any more")?,
        connections: args.connections,
        seconds,
    };
    let measured = measure(count, &load, &stage);
    // Ctrl-C reaches the servers and wrk too: what they say then is no news.
    interrupted.check()?;
    let pairs = measured?;
    let machine = Machine::look(stage.postgres_version.clone());
    stage.strike()?;
    let report = Report { pairs, machine, connections: args.connections, seconds };
    println!("\n{}", report::table(&report));
    save(&report)?;
    println!("\nInside: lookup, checkout and check-in, beside a bare pool's …");
    measured::measure("checkout", &args.common.checkout_arguments(), &interrupted)?;
    Ok(ExitCode::SUCCESS)
}

fn measure(count: u32, load: &Load, stage: &Stage) -> Result<Vec<Pair>> {
    println!("Warming up …");
    for target in [&stage.portero, &stage.bare] {
        wrk::run(load, target)?;
    }
    let mut pairs = Vec::new();
    for number in 1..=count {
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

/// The pairs as lines: below the dashed one is less than the target.
fn picture(pairs: &[Pair]) -> Chart {
    let line = |name: &str, role, rate: fn(&Pair) -> f64| Line {
        name: name.to_owned(),
        role,
        points: zip((1..).map(f64::from), pairs.iter().map(rate)).collect(),
    };
    Chart {
        title: "Requests to a company's host".to_owned(),
        x: "pair".to_owned(),
        y: "requests per second".to_owned(),
        shares: false,
        lines: vec![
            line("Portero", Role::Figure, |pair| pair.portero.per_second),
            line("the bare server", Role::Ceiling, |pair| pair.bare.per_second),
            line("0.95 × the bare server", Role::Limit, |pair| pair.bare.per_second * 0.95),
        ],
    }
}

fn save(report: &Report) -> Result<()> {
    let dir = workspace::target_dir()?.join("bench");
    measured::write(&dir, "route.json", &format!("{:#}\n", report::json(report)))?;
    measured::write(&dir, "route.svg", &chart::draw(&picture(&report.pairs)))?;
    println!("Kept in {0}/route.json and {0}/route.svg", dir.display());
    Ok(())
}
