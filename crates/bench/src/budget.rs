//! Many tenants through few connections: hundreds of databases, hit uniformly at random, on a server that lets the router
//! have forty sessions. Seen from outside it must never have more, and no request may fail.
//!
//! Beside it a plain list of forty bare connections in this process, with no HTTP and no rules ([`crate::lru`]), under the
//! same load: what switching databases costs by itself.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    http::{Connection, Request},
    load::{Client, Loaded, closed_loop},
    lru::Lru,
    outcome::{Chart, Line, Measure, Outcome, Role},
    portero::Portero,
    tenants::{self, Tenant},
    watch::{Seen, Watch},
};
use anyhow::{Result, bail};
use clap::Args;
use std::{path::Path, sync::Arc, time::Duration};

/// Connections that tenants may have; the target speaks of as many.
pub(crate) const CAPACITY: usize = 40;
/// Clients that ask at the same time: more than there are connections.
const CLIENTS: usize = 64;

#[derive(Args)]
pub(crate) struct BudgetArgs {
    #[arg(long)]
    pairs: usize,
    #[arg(long)]
    tenants: usize,
    /// Of each run
    #[arg(long)]
    seconds: u64,
}

/// A run: what the clients found, and what was seen from outside.
struct Run {
    loaded: Loaded,
    seen: Seen,
}

impl Run {
    fn most(&self) -> f64 {
        self.seen.iter().map(|(_, count)| *count).max().unwrap_or(0) as f64
    }
}

pub(crate) async fn run(args: &BudgetArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, CAPACITY).await?;
    let registry = scratch.registry("portero_registry").await?;
    let portero = Portero::start(place, &registry, &scratch.data_dir("serve")).await?;
    let tenants: Arc<[Tenant]> = tenants::sign_up(&portero, &registry, args.tenants).await?.into();
    portero.stop().await?;

    let duration = Duration::from_secs(args.seconds);
    let bench = BudgetBench { place, scratch: &scratch, registry: &registry, tenants: &tenants, duration };
    let mut most = Measure::new("budget.most", "");
    let mut failed = Measure::new("budget.failed", "");
    let mut rate = Measure::new("budget.rate", "/s");
    let (mut median, mut p99) = (Measure::new("budget.median", "ms"), Measure::new("budget.p99", "ms"));
    let mut lines = Vec::new();
    for pair in 0..args.pairs {
        let (mut portero, mut bare) = if pair % 2 == 0 {
            let portero = bench.portero().await?;
            (portero, bench.bare().await?)
        } else {
            let bare = bench.bare().await?;
            (bench.portero().await?, bare)
        };
        println!(
            "{:>3}  Portero {:>6.0}/s, {} connections at most, {} failed   bare {:>6.0}/s, {} connections at most",
            pair + 1,
            portero.loaded.per_second,
            portero.most(),
            portero.loaded.failed,
            bare.loaded.per_second,
            bare.most()
        );
        most.add(portero.most(), bare.most());
        failed.add(f64::from(portero.loaded.failed), f64::from(bare.loaded.failed));
        rate.add(portero.loaded.per_second, bare.loaded.per_second);
        median.add(portero.loaded.times.millis(0.5), bare.loaded.times.millis(0.5));
        p99.add(portero.loaded.times.millis(0.99), bare.loaded.times.millis(0.99));
        if pair == 0 {
            lines.push(line("bare", Role::Ceiling, &bare.seen));
            lines.push(line("Portero", Role::Figure, &portero.seen));
        }
    }
    lines.push(Line::limit(
        format!("the budget, {CAPACITY}"),
        [0.0, duration.as_secs_f64()],
        CAPACITY as f64,
    ));
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!(
            "{} pairs of {} s, {CLIENTS} clients, {} tenants, {CAPACITY} connections",
            args.pairs, args.seconds, args.tenants
        ),
        measures: vec![most, failed, rate, median, p99],
        bars: None,
        chart: Chart {
            title: "Sessions of tenants' roles, seen in PostgreSQL".to_owned(),
            x: "seconds",
            y: "sessions",
            shares: false,
            lines,
        },
    })
}

struct BudgetBench<'a> {
    place: &'a Place,
    scratch: &'a Scratch,
    registry: &'a RegistryPlace,
    tenants: &'a Arc<[Tenant]>,
    duration: Duration,
}

impl BudgetBench<'_> {
    async fn portero(&self) -> Result<Run> {
        let data_dir = self.scratch.data_dir("serve");
        let portero = Portero::start(self.place, self.registry, Path::new(&data_dir)).await?;
        let requests: Arc<[Request]> = self.tenants.iter().map(Tenant::ping).collect();
        let clients = (0..CLIENTS)
            .map(|_| Routed { connection: Connection::to(portero.address), requests: Arc::clone(&requests) })
            .collect();
        let run = self.watched(clients).await?;
        portero.stop().await?;
        Ok(run)
    }

    async fn bare(&self) -> Result<Run> {
        let logins = self.tenants.iter().map(|tenant| tenant.login.clone()).collect();
        let lru = Arc::new(Lru::new(logins, CAPACITY));
        let clients = (0..CLIENTS).map(|_| Bare(Arc::clone(&lru))).collect();
        let run = self.watched(clients).await?;
        lru.close().await;
        if run.loaded.failed > 0 {
            bail!("{} bare requests failed: there is nothing to compare with", run.loaded.failed);
        }
        Ok(run)
    }

    async fn watched<C: Client>(&self, clients: Vec<C>) -> Result<Run> {
        let watch = Watch::begin(self.scratch.superuser("postgres").await?);
        let loaded = closed_loop(clients, self.tenants.len(), self.duration).await?;
        Ok(Run { loaded, seen: watch.end().await? })
    }
}

struct Routed {
    connection: Connection,
    requests: Arc<[Request]>,
}

impl Client for Routed {
    async fn ask(&mut self, tenant: usize) -> bool {
        self.connection.ask(&self.requests[tenant]).await.is_ok_and(|answer| answer.status == 200)
    }
}

struct Bare(Arc<Lru>);

impl Client for Bare {
    async fn ask(&mut self, tenant: usize) -> bool {
        self.0.select(tenant).await.is_ok()
    }
}

/// The highest of every tenth of a second: what matters is the most, and a picture has room for no more.
fn line(name: &str, role: Role, seen: &Seen) -> Line {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (at, count) in seen {
        let (at, count) = ((at * 10.0).floor() / 10.0, *count as f64);
        match points.last_mut() {
            Some(last) if last.0 >= at => last.1 = last.1.max(count),
            _ => points.push((at, count)),
        }
    }
    Line { name: name.to_owned(), role, points }
}
