//! `portero dev`: everything here, from nothing. PostgreSQL is found and started, and Portero runs with the same few
//! privileges as in production: its own role, no superuser.

use crate::{
    application::{Application, Plan, listen},
    commands::asked_to_stop,
    output::{Failure, Output},
    settings::Settings,
};
use anyhow::{Context, Result, anyhow};
use clap::Args;
use portero_auth::MasterKey;
use portero_devpg::{Binaries, Cluster, ClusterOptions, DevPgError};
use portero_edge::{Doors, FairUse, Limits};
use portero_kernel::{ExposeSecret, HostName, SecretString, Site};
use portero_pg::{connect, hardened, ident, literal, scram_verifier};
use portero_web::pages::Mailbox;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::Write as _,
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::ExitCode,
};
use tokio::task::spawn_blocking;
use tokio_postgres::Config;
use uuid::Uuid;

const ROLE: &str = "portero";
const DATABASE: &str = "portero_registry";
/// Whom the link in the greeting logs in.
const OPERATOR: &str = "dev";

/// Who may connect to what: Portero and the superuser to everything, a tenant's role to the database of its own name.
const HBA: [&str; 3] = [
    "host all postgres 127.0.0.1/32 scram-sha-256",
    "host all portero 127.0.0.1/32 scram-sha-256",
    "host sameuser all 127.0.0.1/32 scram-sha-256",
];

/// Spares, unless set: few companies sign up here in a row.
const SPARES: usize = 2;

#[derive(Args, Default)]
pub(crate) struct DevArgs {
    /// Where to serve
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Where operators' endpoints are
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// Where the cluster, its keys and its log live
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The host of the landing page; companies are one label below
    #[arg(long, value_name = "HOST")]
    base_domain: Option<String>,
}

/// What another command in another terminal needs to know about this one.
#[derive(Serialize, Deserialize)]
struct Notes {
    apex: String,
    https: bool,
    port: Option<u16>,
}

pub(crate) async fn run(settings: Settings, args: DevArgs, output: Output) -> Result<ExitCode, Failure> {
    let apex = match (&args.base_domain, &settings.base_domain) {
        (Some(name), _) => {
            HostName::parse(name).map_err(|error| Failure::usage(anyhow!("--base-domain {name}: {error}")))?
        }
        (None, Some(name)) => name.clone(),
        (None, None) => HostName::parse("localhost").context("localhost is a host name")?,
    };
    let refill = settings.refill(SPARES);
    let data_dir = args.data_dir.unwrap_or(settings.data_dir);
    // Before the ports: whoever starts a second one here should read this, and not that a port is taken.
    if let Some(cluster) = portero_devpg::running(&data_dir)? {
        return Err(already_running(&data_dir, cluster.owner_pid));
    }
    let listener = listen(args.listen.unwrap_or(settings.listen), "--listen")?;
    let admin_listener = listen(args.admin_listen.unwrap_or(settings.admin_listen), "--admin-listen")?;
    let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let https = settings.https.unwrap_or(false);
    let usual = if https { 443 } else { 80 };
    let port = settings.public_port.or(Some(address.port())).filter(|port| *port != usual);
    let site = Site { apex, https, port };

    let stopped = asked_to_stop();
    let mut stopped = std::pin::pin!(stopped);
    let cluster = start_cluster(&data_dir, settings.pg_bin_dir).await?;
    let prepared = tokio::select! {
        prepared = prepare(&cluster, &data_dir, &site) => prepared,
        () = &mut stopped => {
            stop_cluster(cluster).await?;
            return Ok(ExitCode::SUCCESS);
        }
    };
    let outcome = async {
        let (url, key) = prepared?;
        let application = Application::build(Plan {
            doors: Doors::All,
            registry_url: url,
            data_dir: data_dir.clone(),
            key,
            site: site.clone(),
            listener,
            admin_listener,
            trusted_proxies: settings.trusted_proxies,
            admin_hosts: settings.admin_hosts,
            workers: settings.workers,
            signup_mode: settings.signup_mode,
            signups_in_flight: settings.signups_in_flight,
            plans: settings.plans,
            mailbox: if settings.smtp.is_none() { Mailbox::Shown } else { Mailbox::Hidden },
            smtp: settings.smtp,
            mails_per_hour: settings.mails_per_hour,
            login_attempts: settings.login_attempts_per_account.unwrap_or(0),
            limits: Limits::new(
                settings.signup_per_address_hour.unwrap_or(0),
                settings.login_per_address_minute.unwrap_or(0),
                settings.name_checks_per_address_minute.unwrap_or(0),
            ),
            fair_use: FairUse::new(
                settings.tenant_requests_per_second.unwrap_or(0),
                settings.tenant_concurrency,
            ),
            schema: settings.schema,
            refill,
        })
        .await?;
        // A registry of another Portero's, or an operator who was disabled, is no reason not to serve.
        let console = application.link_for(OPERATOR).await.unwrap_or_default();
        greet(output, &site, &format!("http://{admin_address}{console}"), admin_address, &data_dir, &cluster);
        application.run_until(stopped).await
    }
    .await;
    output.line("Stopping …");
    let stopped = stop_cluster(cluster).await;
    outcome?;
    stopped?;
    output.line("Stopped. Everything is kept for the next start.");
    Ok(ExitCode::SUCCESS)
}

fn already_running(data_dir: &Path, pid: Option<u32>) -> Failure {
    let who = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
    Failure::Failed(anyhow!(
        "another `portero dev` is running on {}{who}: use that one, stop it, or choose another --data-dir",
        data_dir.display()
    ))
}

/// The registry, the key and the address of a `portero dev` that runs on this data directory now.
pub(crate) fn running(settings: &Settings) -> Result<(SecretString, MasterKey, Site), Failure> {
    let data_dir = &settings.data_dir;
    let absent = || {
        Failure::usage(anyhow!(
            "there is no registry to work on: start `portero dev` (none is running on {}), or set PORTERO_REGISTRY_URL",
            data_dir.display()
        ))
    };
    let port = portero_devpg::running(data_dir)?.and_then(|cluster| cluster.port).ok_or_else(absent)?;
    let notes = fs::read_to_string(data_dir.join("dev.json")).map_err(|_| absent())?;
    let notes: Notes = serde_json::from_str(&notes).context("dev.json is not understood")?;
    let password = secret_file(data_dir, "portero.password", no_secret)?;
    let key = MasterKey::parse(secret_file(data_dir, "master.key", no_secret)?.expose_secret())?;
    let apex = HostName::parse(&notes.apex).context("dev.json is not understood")?;
    Ok((url(port, &password), key, Site { apex, https: notes.https, port: notes.port }))
}

fn greet(output: Output, site: &Site, console: &str, admin: SocketAddr, data_dir: &Path, cluster: &Cluster) {
    output.json(&serde_json::json!({
        "url": site.apex_url(),
        "admin_url": format!("http://{admin}"),
        "console_url": console,
        "data_dir": data_dir,
        "postgres": { "version": cluster.version().to_string(), "port": cluster.port(), "location": cluster.location() },
    }));
    output.line("Portero is running.\n");
    output.line(format_args!("  Open    {}", site.apex_url()));
    output.line(format_args!("  Console {console}"));
    output.line("          (this link logs you in as the operator dev, and works once)");
    output.line(format_args!("  Health  http://{admin}/healthz"));
    output.line(format_args!("  Mail    http://{admin}{}", portero_web::MAILBOX));
    output.line(format_args!(
        "  Data    {} (PostgreSQL {} on port {})",
        cluster.location().display(),
        cluster.version(),
        cluster.port()
    ));
    output.line(
        "\nA company that signs up gets its own database and its own address. Ctrl-C stops everything.",
    );
}

async fn start_cluster(data_dir: &Path, bin_dir: Option<PathBuf>) -> Result<Cluster, Failure> {
    let data_dir = data_dir.to_path_buf();
    let started = spawn_blocking(move || -> Result<Cluster, Failure> {
        let binaries = Binaries::find(bin_dir.as_deref()).map_err(|error| Failure::Failed(error.into()))?;
        let mut options = ClusterOptions::new(binaries, &data_dir);
        options.hba = HBA.map(str::to_owned).to_vec();
        options.settings = vec![("max_connections".to_owned(), "200".to_owned())];
        Cluster::start(options).map_err(|error| match error {
            DevPgError::InUse { data_dir, pid } => already_running(&data_dir, pid),
            error => Failure::Failed(error.into()),
        })
    });
    started.await?
}

async fn stop_cluster(cluster: Cluster) -> Result<()> {
    spawn_blocking(move || cluster.stop()).await?.context("PostgreSQL could not be stopped")
}

/// As superuser, once: Portero's role, its registry, and databases that are closed to strangers. Everything after this
/// is done by the role.
async fn prepare(cluster: &Cluster, data_dir: &Path, site: &Site) -> Result<(SecretString, MasterKey)> {
    let password = secret_file(data_dir, "portero.password", || {
        Ok(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
    })?;
    let key = MasterKey::parse(
        secret_file(data_dir, "master.key", || {
            Ok(MasterKey::generate().to_text().expose_secret().to_owned())
        })?
        .expose_secret(),
    )
    .with_context(|| format!("{} holds no key", data_dir.join("master.key").display()))?;
    let mut config = Config::new();
    config
        .host("127.0.0.1")
        .port(cluster.port())
        .user(cluster.superuser())
        .password(cluster.superuser_password())
        .dbname("postgres");
    let session = connect(&hardened(config))
        .await
        .context("PostgreSQL was started and doesn't let its superuser in")?;
    let (role, database) = (ident(ROLE), ident(DATABASE));
    let exists = session.query_opt("SELECT FROM pg_roles WHERE rolname = $1", &[&ROLE]).await?.is_some();
    let verb = if exists { "ALTER" } else { "CREATE" };
    let verifier = literal(&scram_verifier(&password));
    session
        .batch_execute(&format!(
            "{verb} ROLE {role} WITH LOGIN CREATEDB CREATEROLE NOSUPERUSER PASSWORD {verifier}"
        ))
        .await?;
    if session.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await?.is_none() {
        session
            .batch_execute(&format!(
                "CREATE DATABASE {database} OWNER {role} TEMPLATE template0 ENCODING 'UTF8'"
            ))
            .await?;
    }
    session
        .batch_execute(&format!(
            "REVOKE CONNECT, TEMPORARY ON DATABASE postgres, template1, {database} FROM PUBLIC;
             GRANT CONNECT ON DATABASE postgres TO {role};
             GRANT pg_read_all_settings TO {role}"
        ))
        .await?;
    session.close().await;

    let url = url(cluster.port(), &password);
    let notes = Notes { apex: site.apex.to_string(), https: site.https, port: site.port };
    fs::write(data_dir.join("dev.json"), serde_json::to_string_pretty(&notes)?)?;
    Ok((url, key))
}

fn url(port: u16, password: &SecretString) -> SecretString {
    SecretString::from(format!(
        "postgresql://{ROLE}:{}@127.0.0.1:{port}/{DATABASE}",
        password.expose_secret()
    ))
}

/// Reads a secret that only the owner may read, or makes it. Written beside and renamed: a kill leaves all or nothing.
fn secret_file(data_dir: &Path, name: &str, make: impl FnOnce() -> Result<String>) -> Result<SecretString> {
    let path = data_dir.join(name);
    if let Ok(text) = fs::read_to_string(&path) {
        return Ok(SecretString::from(text.trim()));
    }
    let text = make()?;
    let beside = data_dir.join(format!("{name}.new"));
    let mut file =
        fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&beside, &path)?;
    Ok(SecretString::from(text))
}

fn no_secret() -> Result<String> {
    Err(anyhow!("the data directory of `portero dev` lacks a secret: start it once more"))
}
