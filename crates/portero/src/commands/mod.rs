//! The subcommands, a file each, and what several of them need.

pub(crate) mod audit;
pub(crate) mod dev;
pub(crate) mod doctor;
pub(crate) mod invite;
pub(crate) mod jobs;
pub(crate) mod migrate;
pub(crate) mod operator;
pub(crate) mod serve;
pub(crate) mod server;
pub(crate) mod tenant;

use crate::{output::Failure, settings::Settings};
use anyhow::{Context, anyhow};
use portero_auth::{MasterKey, Passwords};
use portero_control::{Actor, Control};
use portero_kernel::{ExposeSecret, HostName, SecretString, Site};
use portero_registry::Registry;

/// The control plane for a command that works on the registry directly.
pub(crate) struct Direct {
    control: Control,
    registry: Registry,
}

/// Finds the registry: by the settings, or that of a `portero dev` running here.
fn direct(mut settings: Settings) -> Result<Direct, Failure> {
    let (url, key, site) = match settings.registry_url.take() {
        Some(url) => (url, required_key(&mut settings)?, site(&settings)?),
        None => dev::running(&settings)?,
    };
    let registry = Registry::new(parse_url(&url)?, &key);
    let control = Control::new(registry.clone(), Passwords::default(), site, settings.signup_mode);
    let control = control.with_plans(settings.plans).by(somebody());
    Ok(Direct { control, registry })
}

/// Whoever calls a command, as this machine knows them. By their id and not by the environment, where one may call
/// oneself anything.
fn somebody() -> Actor {
    let id = rustix::process::getuid().as_raw().to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == id).then(|| name.to_owned())
    });
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Actor::Cli { os_user: name.unwrap_or_else(|| format!("uid {id}")), host }
}

pub(crate) fn parse_url(url: &SecretString) -> anyhow::Result<tokio_postgres::Config> {
    url.expose_secret().parse().map_err(|_| anyhow!("the registry's URL is not one"))
}

/// The public address, for a platform in production.
fn site(settings: &Settings) -> Result<Site, Failure> {
    let apex: HostName = settings
        .base_domain
        .clone()
        .context("base_domain is not set: PORTERO_BASE_DOMAIN=ejemplo.com")
        .map_err(Failure::Usage)?;
    Ok(Site { apex, https: settings.https.unwrap_or(true), port: settings.public_port })
}

/// The master key, for a command that can't do without.
fn required_key(settings: &mut Settings) -> Result<MasterKey, Failure> {
    settings.master_key.take().ok_or_else(|| {
        Failure::usage(anyhow!(
            "there is no master key: set PORTERO_MASTER_KEY_FILE to a file with 64 hexadecimal digits (openssl rand -hex 32)"
        ))
    })
}

/// Ends with SIGINT or SIGTERM. A second one ends the process at once.
async fn asked_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) =
        match (signal(SignalKind::interrupt()), signal(SignalKind::terminate())) {
            (Ok(interrupt), Ok(terminate)) => (interrupt, terminate),
            _ => return std::future::pending().await,
        };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
}
