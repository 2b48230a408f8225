//! What lending a connection costs in the process, when one is idle: the host is looked up, the connection is taken and
//! given back. Beside it `get` and drop of a bare deadpool pool, on the same database.
//!
//! One of these takes less time than a clock is good for, so a thousand are timed together. That none of them asks
//! PostgreSQL anything is seen from outside: the session's last statement is as old as before.

use crate::{
    Place,
    cluster::Scratch,
    outcome::{Chart, Line, Measure, Outcome, Role},
    portero::Portero,
    tenants::{self, Tenant},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod};
use portero_kernel::Subdomain;
use portero_pg::Session;
use portero_router::{Router, RouterOptions};
use std::{
    iter::zip,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_postgres::NoTls;

/// Loans that are timed together.
const LOANS: u32 = 1000;

#[derive(Args)]
pub(crate) struct CheckoutArgs {
    #[arg(long)]
    pairs: usize,
    /// Batches of a thousand loans, of each kind, in a pair
    #[arg(long)]
    batches: usize,
}

pub(crate) async fn run(args: &CheckoutArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, 40).await?;
    let registry = scratch.registry("portero_registry").await?;
    let portero = Portero::start(place, &registry, &scratch.data_dir("serve")).await?;
    let tenants = tenants::sign_up(&portero, &registry, 2).await?;
    portero.stop().await?;

    let tenant = tenants.first().context("two signed up")?;
    let routed = Routed::open(Router::start(registry.open()?, RouterOptions::default()).await?, tenant)?;
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(routed.router.clone().run(stopped));
    let bare = bare_pool(tenant)?;
    // Both have a connection after this.
    routed.lend(LOANS).await?;
    lend_bare(&bare, LOANS).await?;

    let watcher = scratch.superuser("postgres").await?;
    let before = last_statement(&watcher, tenant).await?;
    let mut measure = Measure::new("checkout", "µs");
    let (mut routed_line, mut bare_line) = (Vec::new(), Vec::new());
    for pair in 0..args.pairs {
        let (mut figures, mut ceilings) = (Vec::new(), Vec::new());
        for batch in 0..args.batches {
            if (pair + batch) % 2 == 0 {
                figures.push(routed.lend(LOANS).await?);
                ceilings.push(lend_bare(&bare, LOANS).await?);
            } else {
                ceilings.push(lend_bare(&bare, LOANS).await?);
                figures.push(routed.lend(LOANS).await?);
            }
        }
        let (figure, ceiling) = (median_micros(&mut figures), median_micros(&mut ceilings));
        println!("{:>3}  Portero {figure:>7.3} µs  deadpool {ceiling:>7.3} µs", pair + 1);
        measure.add(figure, ceiling);
        routed_line.push(figure);
        bare_line.push(ceiling);
    }
    if last_statement(&watcher, tenant).await? > before {
        bail!("a loan asked PostgreSQL something: it should cost no round trip");
    }
    stop.send_replace(true);
    running.await?;
    let line = |name: &str, role, values: Vec<f64>| Line {
        name: name.to_owned(),
        role,
        points: zip((1..).map(f64::from), values).collect(),
    };
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!("{} pairs of {} × {LOANS} loans, one at a time", args.pairs, args.batches),
        measures: vec![measure],
        bars: None,
        chart: Chart {
            title: "Host lookup, checkout and check-in of an idle connection".to_owned(),
            x: "pair",
            y: "µs a loan",
            shares: false,
            lines: vec![
                line("Portero", Role::Figure, routed_line),
                line("deadpool", Role::Ceiling, bare_line),
                Line::limit("the target, 5 µs", [1.0, args.pairs as f64], 5.0),
            ],
        },
    })
}

struct Routed {
    router: Router,
    subdomain: Subdomain,
}

impl Routed {
    fn open(router: Router, tenant: &Tenant) -> Result<Self> {
        let subdomain = Subdomain::parse(&tenant.subdomain).ok().context("its own subdomain is one")?;
        Ok(Self { router, subdomain })
    }

    async fn lend(&self, loans: u32) -> Result<Duration> {
        let began = Instant::now();
        for _ in 0..loans {
            let route = self.router.lookup(&self.subdomain).context("the company has no route")?;
            drop(self.router.acquire(&route).await?);
        }
        Ok(began.elapsed() / loans)
    }
}

fn bare_pool(tenant: &Tenant) -> Result<Pool> {
    let manager = Manager::from_config(
        tenant.login.clone(),
        NoTls,
        ManagerConfig { recycling_method: RecyclingMethod::Fast },
    );
    Ok(Pool::builder(manager).max_size(RouterOptions::default().limits.per_tenant).build()?)
}

async fn lend_bare(pool: &Pool, loans: u32) -> Result<Duration> {
    let began = Instant::now();
    for _ in 0..loans {
        drop(pool.get().await?);
    }
    Ok(began.elapsed() / loans)
}

/// When the tenant's sessions last began or ended a statement, in microseconds; of all of them the latest.
async fn last_statement(watcher: &Session, tenant: &Tenant) -> Result<i64> {
    let row = watcher
        .query_one(
            "SELECT (extract(epoch FROM max(greatest(query_start, state_change))) * 1000000)::bigint
             FROM pg_stat_activity WHERE usename = $1",
            &[&tenant.login.get_user()],
        )
        .await?;
    row.get::<_, Option<i64>>(0).context("the company has no session")
}

fn median_micros(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default().as_secs_f64() * 1e6
}
