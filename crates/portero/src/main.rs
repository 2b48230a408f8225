//! `portero`: a database-per-tenant control plane and router for SaaS on PostgreSQL.
//!
//! Settings become an [`application`]; the subcommands are in `commands`, a file each. No rule lives here.

mod application;
mod budget;
mod commands;
mod logging;
mod mailer;
mod metrics;
mod operations;
mod output;
mod process;
mod security;
mod settings;

use clap::{Args, CommandFactory, Parser, Subcommand};
use output::{Failure, Output};
use settings::Settings;
use std::{path::PathBuf, process::ExitCode};

/// A database-per-tenant control plane and router for SaaS on PostgreSQL.
///
/// Without a command this is `portero dev`: it finds PostgreSQL, starts a cluster of its own, and serves.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Args)]
struct Global {
    /// Machine output on stdout, logs on stderr
    #[arg(long, global = true)]
    json: bool,
    /// A settings file; without it `portero.toml`, if there is one
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// More of what goes on (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Only what goes wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Start everything here: PostgreSQL, registry, control plane and router
    Dev(commands::dev::DevArgs),
    /// Serve with a PostgreSQL that is there, by the settings
    Serve(commands::serve::ServeArgs),
    /// Look after tenants
    #[command(subcommand)]
    Tenant(commands::tenant::TenantCommand),
    /// Bring companies' databases to the newest schema
    #[command(subcommand)]
    Migrate(commands::migrate::MigrateCommand),
    /// Look after the servers that hold companies' databases
    #[command(subcommand)]
    Server(commands::server::ServerCommand),
    /// Read what was done on the platform, and see that nothing of it was changed
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    /// Look after the people who may use the console and the admin API
    #[command(subcommand)]
    Operator(commands::operator::OperatorCommand),
    /// Look after jobs: long work that survives whoever was doing it
    #[command(subcommand)]
    Jobs(commands::jobs::JobsCommand),
    /// Invite companies, where it takes an invitation to sign up
    #[command(subcommand)]
    Invite(commands::invite::InviteCommand),
    /// Check everything, and say what to do about what is wrong
    Doctor(commands::doctor::DoctorArgs),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::new(cli.global.json);
    match run(cli, output).await {
        Ok(code) => code,
        Err(error) => {
            output.failure(&error);
            ExitCode::from(error.code())
        }
    }
}

async fn run(cli: Cli, output: Output) -> Result<ExitCode, Failure> {
    let command = cli.command.unwrap_or_else(|| Command::Dev(commands::dev::DevArgs::default()));
    if let Command::Completions { shell } = command {
        clap_complete::generate(shell, &mut Cli::command(), "portero", &mut std::io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings::read(cli.global.config.as_deref(), std::env::vars()).map_err(Failure::usage)?;
    if let Some(file) = &settings.database_ca_file {
        portero_pg::trust_only(file).map_err(|error| {
            Failure::usage(anyhow::anyhow!("database_ca_file {}: {error}", file.display()))
        })?;
    }
    // A server writes down events; where a person looks on, only what goes wrong.
    let usual = if matches!(command, Command::Serve(_)) { "info" } else { "warn" };
    logging::begin(&settings, cli.global.verbose, cli.global.quiet, usual).map_err(Failure::usage)?;
    match command {
        Command::Dev(args) => commands::dev::run(settings, args, output).await,
        Command::Serve(args) => commands::serve::run(settings, args, output).await,
        Command::Tenant(command) => commands::tenant::run(settings, command, output).await,
        Command::Server(command) => commands::server::run(settings, command, output).await,
        Command::Audit(command) => commands::audit::run(settings, command, output).await,
        Command::Operator(command) => commands::operator::run(settings, command, output).await,
        Command::Migrate(command) => commands::migrate::run(settings, command, output).await,
        Command::Jobs(command) => commands::jobs::run(settings, command, output).await,
        Command::Invite(command) => commands::invite::run(settings, command, output).await,
        Command::Doctor(args) => commands::doctor::run(settings, args, output).await,
        Command::Completions { .. } => unreachable!("handled above"),
    }
}
