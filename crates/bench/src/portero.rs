//! `portero serve` as a child: started with nothing but a bench's settings, stopped as an operator would.

use crate::{
    Place,
    cluster::RegistryPlace,
    http::{Connection, Request},
};
use anyhow::{Context, Result, bail};
use portero_kernel::ExposeSecret;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::{
    fs,
    net::SocketAddr,
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::{sleep, timeout},
};

/// The host of the landing page; tenants are one label below.
pub(crate) const APEX: &str = "portero.test";

/// Longer than Portero lets requests drain.
const PATIENCE: Duration = Duration::from_secs(40);

/// A running `portero serve`; killed if it is dropped.
pub(crate) struct Portero {
    child: Child,
    /// Where it serves.
    pub(crate) address: SocketAddr,
    /// Where operators' endpoints are.
    admin: SocketAddr,
    began: Instant,
}

impl Portero {
    /// Starts it without limits of what a company may ask, and waits until it serves. What it complains of is for whoever
    /// runs the bench.
    pub(crate) async fn start(place: &Place, registry: &RegistryPlace, data_dir: &Path) -> Result<Self> {
        let unlimited = [("PORTERO_TENANT_REQUESTS_PER_SECOND", "0"), ("PORTERO_TENANT_CONCURRENCY", "0")];
        Self::start_with(place, registry, data_dir, &unlimited).await
    }

    /// The same, with these settings and otherwise as it comes.
    pub(crate) async fn start_with(
        place: &Place,
        registry: &RegistryPlace,
        data_dir: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut command = Command::new(&place.portero);
        command
            .args(["serve", "--json"])
            .current_dir("/")
            .env_clear()
            .env("PORTERO_REGISTRY_URL", registry.url.expose_secret())
            .env("PORTERO_MASTER_KEY", registry.key.expose_secret())
            .env("PORTERO_BASE_DOMAIN", APEX)
            .env("PORTERO_PUBLIC_SCHEME", "http")
            .env("PORTERO_LISTEN", "127.0.0.1:0")
            .env("PORTERO_ADMIN_LISTEN", "127.0.0.1:0")
            .env("PORTERO_DATA_DIR", data_dir)
            .env("PORTERO_SIGNUP_PER_ADDRESS_HOUR", "0")
            // What nobody asked for would be in the way of what is measured.
            .env("PORTERO_SPARES", "0")
            .envs(settings.iter().copied())
            // Not what its doors turn away: the clients count that, and a hog's would be thousands of lines.
            .env("PORTERO_LOG", "warn,portero_edge=error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        let began = Instant::now();
        let mut child =
            command.spawn().with_context(|| format!("{} can't be run", place.portero.display()))?;
        let stdout = child.stdout.take().context("stdout was asked for")?;
        let mut lines = BufReader::new(stdout).lines();
        let mut told = String::new();
        let greeting: Value = loop {
            let line =
                timeout(PATIENCE, lines.next_line()).await.context("Portero doesn't begin to serve")??;
            told.push_str(&line.context("Portero ended instead of serving; what it says is above")?);
            if let Ok(greeting) = serde_json::from_str(&told) {
                break greeting;
            }
        };
        let at = |key: &str| {
            let address = greeting[key].as_str().and_then(|text| text.parse().ok());
            address.with_context(|| format!("Portero doesn't tell where it listens: {greeting}"))
        };
        Ok(Self { child, address: at("listen")?, admin: at("admin_listen")?, began })
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("Portero has ended")
    }

    /// Waits until it says of itself that it is ready; from its start, how long that took.
    pub(crate) async fn ready(&self) -> Result<Duration> {
        let mut connection = Connection::to(self.admin);
        loop {
            let answer = connection.ask(&Request::get("localhost", "/readyz")).await?;
            let took = self.began.elapsed();
            if answer.status == 200 {
                return Ok(took);
            }
            if took > PATIENCE {
                bail!("Portero isn't ready: {}", answer.body);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many companies it says it knows.
    pub(crate) async fn routes(&self) -> Result<u32> {
        let answer = Connection::to(self.admin).ask(&Request::get("localhost", "/metrics")).await?;
        let line = answer.body.lines().find_map(|line| line.strip_prefix("portero_routes "));
        line.and_then(|count| count.parse().ok()).context("Portero doesn't tell how many routes it knows")
    }

    /// The memory that it has in RAM, in bytes.
    pub(crate) fn resident(&self) -> Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid()?))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        Ok(kib.context("the system doesn't tell what Portero has in memory")? * 1024)
    }

    /// Asks it to stop, and waits.
    pub(crate) async fn stop(mut self) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.pid()?)?).context("a pid is a number above 0")?;
        kill_process(pid, Signal::TERM)?;
        let Ok(status) = timeout(PATIENCE, self.child.wait()).await else {
            bail!("Portero didn't stop within {} s", PATIENCE.as_secs());
        };
        let status = status?;
        if !status.success() {
            bail!("Portero ended with {status}");
        }
        Ok(())
    }
}
