//! Chores of the project, as `cargo xtask <chore>`; the alias is in `.cargo/config.toml`.
//!
//! Each chore is a module: [`test`] finds or installs what the tests need and runs them, [`tidy`] holds the house rules
//! that no compiler checks, [`migration`] begins a migration, [`bench`] measures. Nothing here knows a crate of Portero's:
//! the benches drive the built programs from outside, so a chore compiles in seconds.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command for people")]

mod bench;
mod migration;
mod needs;
mod test;
mod tidy;
mod workspace;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of the project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Get what the tests need, then run all of them
    Test(test::TestArgs),
    /// Hold the rules of the house: who may know whom, sizes, SQL, migrations, links
    Tidy,
    /// Begin the next migration
    NewMigration(migration::NewMigrationArgs),
    /// Measure, beside the ceiling
    #[command(subcommand)]
    Bench(bench::Bench),
}

fn main() -> ExitCode {
    match run(Cli::parse().chore) {
        Ok(code) => code,
        Err(error) if error.is::<needs::Missing>() => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<ExitCode> {
    match chore {
        Chore::Test(args) => test::run(&args),
        Chore::Tidy => tidy::run(),
        Chore::NewMigration(args) => migration::run(&args),
        Chore::Bench(bench) => bench::run(&bench),
    }
}
