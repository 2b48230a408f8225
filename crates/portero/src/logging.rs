//! Log lines: on stderr, so that stdout stays for what a command answers.

use crate::settings::{LogFormat, Settings};
use anyhow::{Context, Result};
use std::io::IsTerminal;
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

/// Begins to log: as the flags say, else as the settings say, else as is usual for the command.
///
/// # Errors
/// `log` isn't a filter.
pub(crate) fn begin(settings: &Settings, verbose: u8, quiet: bool, usual: &str) -> Result<()> {
    let filter = match (quiet, verbose) {
        (true, _) => "error".to_owned(),
        (false, 0) => settings.log.clone().unwrap_or_else(|| usual.to_owned()),
        (false, 1) => "info,portero=debug,portero_edge=debug,portero_provisioner=debug".to_owned(),
        (false, _) => "debug".to_owned(),
    };
    let targets: Targets = filter.parse().with_context(|| format!("log can't be {filter:?}"))?;
    // What libraries say of connections that end, workers that start and requests that are garbage is ours to say.
    let targets = targets
        .with_target("deadpool.postgres", tracing::Level::ERROR)
        .with_target("actix_server", tracing::Level::WARN)
        .with_target("actix_http", LevelFilter::OFF);
    let lines = match settings.log_format {
        LogFormat::Json => tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr).boxed(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(colour)
                .with_writer(std::io::stderr)
                .boxed()
        }
    };
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
    Ok(())
}
