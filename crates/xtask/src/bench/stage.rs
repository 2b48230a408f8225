//! The two servers and the PostgreSQL that both serve from, put up in a directory of their own and taken down again.
//!
//! `portero dev` brings the cluster, as a person would start it, and one company signs up as companies do. The bare server
//! joins with a role and a database of its own in that cluster.

use super::{
    http,
    process::{Interrupted, Process},
    wrk::Target,
};
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Command},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

/// Connections that Portero lets one tenant have (`RouterOptions::default`).
const POOL: usize = 8;
const PATH: &str = "/api/v1/ping";
const ANSWER: &str = r#"{"status":"ok","tenant":"acme"}"#;
const SIGN_UP: &str = r#"{"name":"Acme","subdomain":"acme","admin":{"email":"ana@acme.example","password":"correct horse battery staple"}}"#;

/// Everything that runs. The order of the fields is the order in which it ends.
pub(super) struct Stage {
    pub(super) portero: Target,
    pub(super) bare: Target,
    pub(super) postgres_version: String,
    bare_process: Process,
    portero_process: Process,
    _home: Home,
}

impl Stage {
    pub(super) fn set(interrupted: &Interrupted) -> Result<Self> {
        let programs = workspace::target_dir()?.join("release");
        let workers = available_parallelism().map_or(2, Into::into);
        let mut home = Home::make()?;
        let mut portero_process = start_portero(&programs, &home, workers)?;
        let told = read_json(&mut portero_process)?;
        let text = |pointer: &str| {
            let value = told.pointer(pointer).and_then(Value::as_str);
            value.with_context(|| format!("`portero dev --json` doesn't tell {pointer}: {told}"))
        };
        home.cluster = text("/postgres/location")?.into();
        let postgres_version = text("/postgres/version")?.to_owned();
        let apex = text("/url")?.trim_start_matches("http://").trim_end_matches('/').to_owned();
        let port = |text: &str| text.rsplit(':').next().and_then(|port| port.parse::<u16>().ok());
        let address = SocketAddr::from(([127, 0, 0, 1], port(&apex).context("the URL has no port")?));
        let postgres_port =
            told.pointer("/postgres/port").and_then(Value::as_u64).context("no port of PostgreSQL")?;

        sign_up(address, &apex)?;
        let portero = Target {
            name: "Portero",
            pid: portero_process.id(),
            address,
            host: format!("acme.{apex}"),
            path: PATH,
        };
        until_it_answers(&portero, interrupted)?;

        let mut bare_process = start_bare(&programs, &home, workers, postgres_port)?;
        let address: SocketAddr =
            bare_process.line()?.trim().parse().context("the bare server tells no address")?;
        let bare = Target {
            name: "the bare server",
            pid: bare_process.id(),
            address,
            host: address.to_string(),
            path: PATH,
        };
        until_it_answers(&bare, interrupted)?;
        Ok(Self { portero, bare, postgres_version, bare_process, portero_process, _home: home })
    }

    /// Stops everything, and says if something didn't end well. Dropping the stage stops everything too.
    pub(super) fn strike(mut self) -> Result<()> {
        self.bare_process.stop()?;
        self.portero_process.stop()
    }
}

fn start_portero(programs: &Path, home: &Home, workers: usize) -> Result<Process> {
    let mut command = program(&programs.join("portero"), home);
    command.args(["dev", "--json", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--data-dir"]);
    command.arg(home.data_dir()).env("PORTERO_WORKERS", workers.to_string());
    Process::start("Portero", &mut command)
}

fn start_bare(programs: &Path, home: &Home, workers: usize, postgres_port: u64) -> Result<Process> {
    let mut command = program(&programs.join("bench-bare"), home);
    command
        .env("BENCH_BARE_POSTGRES_PORT", postgres_port.to_string())
        .env("BENCH_BARE_PASSWORD_FILE", home.data_dir().join("superuser.password"))
        .env("BENCH_BARE_WORKERS", workers.to_string())
        .env("BENCH_BARE_POOL", POOL.to_string());
    Process::start("the bare server", &mut command)
}

/// Without settings of whoever runs the bench: neither their environment nor a `portero.toml` lying here.
fn program(path: &Path, home: &Home) -> Command {
    let mut command = Command::new(path);
    command.current_dir(&home.dir);
    for (key, _) in env::vars_os() {
        if key.to_string_lossy().starts_with("PORTERO_") && key != "PORTERO_PG_BIN_DIR" {
            command.env_remove(key);
        }
    }
    command
}

/// Lines until they make an object.
fn read_json(process: &mut Process) -> Result<Value> {
    let mut text = String::new();
    loop {
        text.push_str(&process.line()?);
        if let Ok(value) = serde_json::from_str(&text) {
            return Ok(value);
        }
    }
}

fn sign_up(address: SocketAddr, apex: &str) -> Result<()> {
    let answer = http::post_json(address, apex, "/api/v1/tenants", SIGN_UP)?;
    if answer.status != 202 {
        bail!("the sign-up was answered with {}: {}", answer.status, answer.body);
    }
    Ok(())
}

fn until_it_answers(target: &Target, interrupted: &Interrupted) -> Result<()> {
    let began = Instant::now();
    loop {
        interrupted.check()?;
        let answer = http::get(target.address, &target.host, target.path)?;
        if answer.status == 200 {
            if answer.body != ANSWER {
                bail!("{} answers {:?} instead of {ANSWER:?}", target.name, answer.body);
            }
            return Ok(());
        }
        if began.elapsed() > Duration::from_secs(60) {
            bail!("{} still answers {} after a minute: {}", target.name, answer.status, answer.body);
        }
        sleep(Duration::from_millis(100));
    }
}

/// The directory where all of it lives, deleted at the end. Run by root from a place that PostgreSQL's user can't reach,
/// the cluster lives elsewhere; `portero dev` tells where.
struct Home {
    dir: PathBuf,
    cluster: PathBuf,
}

impl Home {
    fn make() -> Result<Self> {
        let dir = env::temp_dir().join(format!("portero-bench-{}", process::id()));
        fs::create_dir(&dir).with_context(|| format!("{} can't be made", dir.display()))?;
        Ok(Self { cluster: dir.clone(), dir })
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let elsewhere = (!self.cluster.starts_with(&self.dir)).then_some(&self.cluster);
        for dir in elsewhere.into_iter().chain([&self.dir]) {
            if let Err(error) = fs::remove_dir_all(dir) {
                eprintln!("{} could not be deleted: {error}", dir.display());
            }
        }
    }
}
