//! What `cargo xtask bench` measures with: a PostgreSQL of its own, the built `portero serve` on it, load, and the same
//! thing done without Portero right beside it.
//!
//! It measures and doesn't judge: what it found is written to `--out` as JSON, and xtask, which compiles in seconds and
//! knows no client of PostgreSQL's, holds it against the targets, draws it and keeps it. A subcommand is a module:
//! [`checkout`] is what stands in it for a first reading, and [`outcome`] is what all of them end in.
//!
//! Figures alternate with their ceilings (A B, B A, …), so that a machine that warms up or slows down favours neither.

#![expect(clippy::print_stdout, reason = "a command for people")]

mod budget;
mod checkout;
mod cluster;
mod cold;
mod cutoff;
mod directory;
mod fairness;
mod http;
mod load;
mod lru;
mod migrate;
mod outcome;
mod portero;
mod provision;
mod random;
mod tenants;
mod watch;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use outcome::Outcome;
use std::{fs, path::PathBuf};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    place: Place,
    #[command(subcommand)]
    bench: Bench,
}

/// Where things are.
#[derive(Args)]
struct Place {
    /// The `portero` to measure
    #[arg(long)]
    portero: PathBuf,
    /// A directory for what lives as long as the bench
    #[arg(long)]
    scratch: PathBuf,
    /// Where to write what was found
    #[arg(long)]
    out: PathBuf,
}

#[derive(Subcommand)]
enum Bench {
    Budget(budget::BudgetArgs),
    Checkout(checkout::CheckoutArgs),
    Cold(cold::ColdArgs),
    Cutoff(cutoff::CutoffArgs),
    Directory(directory::DirectoryArgs),
    Fairness(fairness::FairnessArgs),
    Migrate(migrate::MigrateArgs),
    Provision(provision::ProvisionArgs),
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Whatever was started ends with the future that holds it.
    let outcome = tokio::select! {
        outcome = run(&cli.bench, &cli.place) => outcome?,
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("asked to end"),
    };
    fs::write(&cli.place.out, serde_json::to_string(&outcome)?)
        .with_context(|| format!("{} can't be written", cli.place.out.display()))
}

async fn run(bench: &Bench, place: &Place) -> Result<Outcome> {
    match bench {
        Bench::Budget(args) => budget::run(args, place).await,
        Bench::Checkout(args) => checkout::run(args, place).await,
        Bench::Cold(args) => cold::run(args, place).await,
        Bench::Cutoff(args) => cutoff::run(args, place).await,
        Bench::Directory(args) => directory::run(args, place).await,
        Bench::Fairness(args) => fairness::run(args, place).await,
        Bench::Migrate(args) => migrate::run(args, place).await,
        Bench::Provision(args) => provision::run(args, place).await,
    }
}
