//! `portero server`: add, list, show, drain.

use crate::{
    commands::{Direct, direct},
    output::{Failure, Output},
    settings::Settings,
};
use anyhow::{Context, anyhow};
use clap::Subcommand;
use portero_control::{LeaseView, ServerDetails, ServerError, ServerView, SparesView};
use portero_kernel::SecretString;
use std::{
    io::{IsTerminal, Read},
    process::ExitCode,
};

/// Where `server add` finds the URL if no flag says.
const URL_VARIABLE: &str = "PORTERO_SERVER_URL";
/// Blocks in a picture of a server's connections.
const BLOCKS: usize = 40;

#[derive(Subcommand)]
pub(crate) enum ServerCommand {
    /// Add a server that companies' databases are put on, after it was looked at
    ///
    /// Portero's own login there is a URL: postgresql://portero:password@host:port/postgres. It is read from stdin, from
    /// PORTERO_SERVER_URL, or asked for.
    Add {
        /// What to call it
        name: String,
        /// Read the URL from stdin
        #[arg(long, conflicts_with = "url")]
        url_stdin: bool,
        /// The URL; everybody on this machine can read it in `ps` meanwhile
        #[arg(long)]
        url: Option<String>,
    },
    /// List all servers
    List,
    /// Show a server, and which router holds how many of its connections
    Show {
        /// Its name
        name: String,
    },
    /// Put no new companies on a server; those it has stay and are served
    Drain {
        /// Its name
        name: String,
        /// Put new companies on it again
        #[arg(long)]
        undo: bool,
    },
}

pub(crate) async fn run(
    settings: Settings,
    command: ServerCommand,
    output: Output,
) -> Result<ExitCode, Failure> {
    let direct = direct(settings)?;
    match command {
        ServerCommand::Add { name, url_stdin, url } => {
            let url = read_url(url_stdin, url)?;
            let server = direct.control.server_add(&name, &url).await.map_err(failure)?;
            output.json(&server);
            output.line(format_args!(
                "{} is added: {} connections for companies at {}. New companies go there, too.",
                server.name,
                server.capacity.unwrap_or(0),
                server.address
            ));
        }
        ServerCommand::List => list(&direct, output).await?,
        ServerCommand::Show { name } => show(&direct.control.server(&name).await.map_err(failure)?, output),
        ServerCommand::Drain { name, undo: false } => drain(&direct, &name, output).await?,
        ServerCommand::Drain { name, undo: true } => {
            let server = direct.control.server_undrain(&name).await.map_err(failure)?;
            output.json(&server);
            output.line(format_args!("{name} takes new companies again."));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(direct: &Direct, output: Output) -> Result<(), Failure> {
    let servers = direct.control.servers().await?;
    output.json(&serde_json::json!({ "servers": servers }));
    if servers.is_empty() {
        output.line("There are no servers yet: `portero serve` adds the registry's own when it starts.");
        return Ok(());
    }
    let rows: Vec<_> = servers
        .iter()
        .map(|server| {
            [
                server.name.clone(),
                server.status.to_owned(),
                server.tenants.to_string(),
                server.capacity.map_or_else(|| "?".to_owned(), |capacity| capacity.to_string()),
                server.address.clone(),
            ]
        })
        .collect();
    output.table(["NAME", "STATUS", "COMPANIES", "CONNECTIONS", "ADDRESS"], &rows);
    Ok(())
}

fn show(details: &ServerDetails, output: Output) {
    output.json(details);
    let server = &details.server;
    let capacity = server.capacity.map_or_else(
        || "not asked yet".to_owned(),
        |capacity| format!("{capacity} connections for all companies together"),
    );
    for (name, value) in [
        ("name", server.name.clone()),
        ("address", server.address.clone()),
        ("status", server.status.to_owned()),
        ("companies", server.tenants.to_string()),
        ("capacity", capacity),
        ("id", server.id.to_string()),
    ] {
        output.line(format_args!("{name:<10} {value}"));
    }
    spares(&details.spares, output);
    picture(server, &details.leases, output);
}

/// The databases made ahead, and where companies' databases came from.
fn spares(spares: &SparesView, output: Output) {
    let Some(wanted) = spares.wanted else {
        return output.line("spares     nobody has looked yet: `portero serve` makes them");
    };
    let versions: Vec<_> = spares.templates.iter().map(ToString::to_string).collect();
    let templates =
        if versions.is_empty() { "none".to_owned() } else { format!("schema {}", versions.join(", ")) };
    output.line(format_args!("spares     {} of {wanted} ready, {} being made", spares.ready, spares.making));
    output.line(format_args!("templates  {templates}"));
    output.line(format_args!(
        "made from  a spare: {}, a template: {}, migrations: {}",
        spares.from_spare, spares.from_template, spares.from_migrations
    ));
    if let Some(reason) = &spares.reason {
        output.line(format_args!("refill     stopped: {reason}"));
    }
    if spares.failures > 0 {
        output.line(format_args!("failures   {}", spares.failures));
    }
}

/// Each router's part of the server's connections: a bar each, as long as the server is large.
fn picture(server: &ServerView, leases: &[LeaseView], output: Output) {
    if leases.is_empty() {
        return output.line("\nNo router holds connections there.");
    }
    let capacity = server.capacity.unwrap_or(0);
    let widest = leases.iter().map(|lease| lease.name.chars().count()).max().unwrap_or(0);
    output.line("\nEach router's part of the connections (█ open, ▒ granted, · other):");
    for lease in leases {
        let silent = if lease.live { "" } else { ", silent: its lease ran out" };
        output.line(format_args!(
            "  {:widest$}  {}  {} of {}{silent}",
            lease.name,
            bar(lease.used, lease.granted, capacity),
            lease.used,
            lease.granted
        ));
    }
}

/// What is there at all shows: a single connection of a thousand is one block.
fn bar(used: usize, granted: usize, capacity: usize) -> String {
    let scale = capacity.max(used).max(granted).max(1);
    let blocks = |count: usize| (count * BLOCKS).div_ceil(scale);
    let block = |at| match at {
        _ if at < blocks(used) => '█',
        _ if at < blocks(granted) => '▒',
        _ => '·',
    };
    (0..BLOCKS).map(block).collect()
}

async fn drain(direct: &Direct, name: &str, output: Output) -> Result<(), Failure> {
    let server = direct.control.server_drain(name).await.map_err(failure)?;
    output.json(&server);
    let remain = match server.tenants {
        0 => "None is there".to_owned(),
        1 => "1 company stays there, and is served".to_owned(),
        count => format!("{count} companies stay there, and are served"),
    };
    output.line(format_args!(
        "{name} takes no new companies. {remain}. To take it back: portero server drain {name} --undo"
    ));
    if direct.control.servers().await?.iter().all(|server| server.status != "active") {
        output.line("No other server takes new companies either: nobody can sign up until one does.");
    }
    Ok(())
}

fn failure(error: ServerError) -> Failure {
    match error {
        ServerError::Name(_) | ServerError::Url(_) => Failure::usage(error),
        error => Failure::Failed(error.into()),
    }
}

fn read_url(from_stdin: bool, argument: Option<String>) -> Result<SecretString, Failure> {
    if from_stdin {
        let mut text = String::new();
        std::io::stdin().take(4096).read_to_string(&mut text).context("the URL can't be read from stdin")?;
        return Ok(SecretString::from(text.trim()));
    }
    if let Some(url) = argument.or_else(|| std::env::var(URL_VARIABLE).ok()) {
        return Ok(SecretString::from(url));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(anyhow!(
            "there is no terminal to ask for the server's URL: use --url-stdin, or set {URL_VARIABLE}"
        )));
    }
    Ok(SecretString::from(rpassword::prompt_password("URL of the server (it is not shown): ")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_what_is_there_at_all_and_never_more_than_it_is_long() {
        let counted = |used, granted, capacity| {
            let bar = bar(used, granted, capacity);
            assert_eq!(bar.chars().count(), BLOCKS);
            ['█', '▒', '·'].map(|block| bar.chars().filter(|one| *one == block).count())
        };
        assert_eq!(counted(0, 0, 100), [0, 0, 40]);
        assert_eq!(counted(10, 50, 100), [4, 16, 20]);
        assert_eq!(counted(100, 100, 100), [40, 0, 0]);
        assert_eq!(counted(1, 2, 1000), [1, 0, 39]);
        assert_eq!(counted(1, 500, 1000), [1, 19, 20]);
        assert_eq!(counted(30, 10, 20), [40, 0, 0], "a grant that has shrunk is shown as used");
        assert_eq!(counted(0, 0, 0), [0, 0, 40]);
    }
}
