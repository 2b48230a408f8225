//! `cargo xtask bench`: figures beside their ceilings, measured in the same run, with the machine they are of.

mod bars;
mod chart;
mod cpu;
mod http;
mod machine;
mod measured;
mod process;
mod report;
mod route;
mod sizes;
mod stage;
mod stats;
mod targets;
mod wrk;

use crate::needs;
use anyhow::Result;
use clap::Subcommand;
use process::Interrupted;
use std::process::ExitCode;

#[derive(Subcommand)]
pub(crate) enum Bench {
    /// A routed request against the same one without Portero; and the router's own part of it
    Route(route::RouteArgs),
    /// The router's own part: host lookup, checkout and check-in of an idle connection, against a bare pool
    Checkout(sizes::Common),
    /// A cold tenant's first request against a bare login and the same SELECT
    Cold(sizes::ColdArgs),
    /// Hundreds of tenants through 40 connections, counted from outside, against a bare list of as many
    Budget(sizes::BudgetArgs),
    /// Sparse tenants beside a hog against the same without it
    Fairness(sizes::FairnessArgs),
    /// How soon every router knows of a pause, against a bare LISTEN; and without NOTIFY
    Cutoff(sizes::CutoffArgs),
    /// A sign-up until its first answer, warm, cold, and a hundred at once, against argon2 and a bare CREATE DATABASE
    Provision(sizes::ProvisionArgs),
    /// One column more for every company, as CI does it, against the same ALTER TABLE over bare connections
    Migrate(sizes::MigrateArgs),
    /// Start, memory and lookups with many companies that nobody asks for
    Directory(sizes::DirectoryArgs),
}

pub(crate) fn run(bench: &Bench) -> Result<ExitCode> {
    match bench {
        Bench::Route(args) => route::run(args),
        Bench::Checkout(common) => measure("checkout", &common.checkout_arguments()),
        Bench::Cold(args) => measure("cold", &args.arguments()),
        Bench::Budget(args) => measure("budget", &args.arguments()),
        Bench::Fairness(args) => measure("fairness", &args.arguments()),
        Bench::Cutoff(args) => measure("cutoff", &args.arguments()),
        Bench::Provision(args) => measure("provision", &args.arguments()),
        Bench::Migrate(args) => measure("migrate", &args.arguments()),
        Bench::Directory(args) => measure("directory", &args.arguments()),
    }
}

/// One that the measuring program does alone.
fn measure(bench: &str, args: &[String]) -> Result<ExitCode> {
    needs::ensure(&[needs::POSTGRES])?;
    measured::build()?;
    measured::measure(bench, args, &Interrupted::watch()?)?;
    Ok(ExitCode::SUCCESS)
}
