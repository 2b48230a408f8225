//! Many registered companies of which nobody asks anything: how long a router takes until it is ready, what memory each
//! of them costs it, and how long one lookup takes among them.
//!
//! The rows are made in the registry and have no databases behind them: nothing opens a login before somebody asks.
//! Beside the start: a start on an empty registry, and a bare reading of the same rows. Then the same with the registry
//! away, by what the router keeps on disk; beside it a start of one that knows of nobody. Beside the memory: the bytes of
//! the rows themselves. Beside the lookup: std's `HashMap`, of one thread, with the same keys.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    outcome::{Chart, Line, Measure, Outcome, Role},
    portero::Portero,
    random::Random,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use portero_kernel::Subdomain;
use portero_router::{Router, RouterOptions};
use std::{
    collections::HashMap,
    hint::black_box,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Lookups that are timed together.
const LOOKUPS: usize = 500_000;
/// Memory counts when it has been the same for so long: what was taken for the start and for the file on disk alone is
/// given back by then, as far as it is.
const SETTLED: Duration = Duration::from_secs(2);
/// What no router takes to settle.
const DEADLINE: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct DirectoryArgs {
    #[arg(long)]
    pairs: usize,
    /// How many companies; several with commas
    #[arg(long, value_delimiter = ',')]
    tenants: Vec<u32>,
}

/// What one number of companies costs.
struct Found {
    start: Measure,
    away: Measure,
    memory: Measure,
    lookup: Measure,
}

/// A start with the registry, and one after it without.
struct Started {
    took: Duration,
    took_away: Duration,
    /// In memory after the first, in bytes.
    resident: u64,
}

pub(crate) async fn run(args: &DirectoryArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, 40).await?;
    let empty = scratch.registry("portero_empty").await?;
    let mut measures = Vec::new();
    let (mut memory, mut raw) = (vec![(0.0, 0.0)], vec![(0.0, 0.0)]);
    for tenants in &args.tenants {
        let found = measure(args, place, &scratch, &empty, *tenants).await?;
        let count = f64::from(*tenants);
        memory.push((count, count * middle(&found.memory.figures) / 1e6));
        raw.push((count, count * middle(&found.memory.ceilings) / 1e6));
        measures.extend([found.start, found.away, found.memory, found.lookup]);
    }
    let most = memory.last().map_or(0.0, |(count, _)| *count);
    let line = |name: &str, role, points| Line { name: name.to_owned(), role, points };
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!("{} starts on each registry", args.pairs),
        measures,
        bars: None,
        chart: Chart {
            title: "Memory of companies that nobody asks for".to_owned(),
            x: "companies",
            y: "MB",
            shares: false,
            lines: vec![
                line("Portero", Role::Figure, memory),
                line("the rows themselves", Role::Ceiling, raw),
                line("1 KB each", Role::Limit, vec![(0.0, 0.0), (most, most * 1024.0 / 1e6)]),
            ],
        },
    })
}

async fn measure(
    args: &DirectoryArgs,
    place: &Place,
    scratch: &Scratch,
    empty: &RegistryPlace,
    tenants: u32,
) -> Result<Found> {
    let filled = scratch.registry(&format!("portero_{tenants}")).await?;
    fill(scratch, &filled, tenants).await?;
    let of = |key, unit| Measure::new(key, unit).of(format!("{tenants} tenants"));
    let mut found = Found {
        start: of("directory.start", "s"),
        away: of("directory.away", "s"),
        memory: of("directory.memory", "B"),
        lookup: of("directory.lookup", "ns"),
    };
    let lookups = Lookups::prepare(&filled).await?;
    for pair in 0..args.pairs {
        let nobody = start(place, scratch, empty, 0).await?;
        let (read, row_bytes) = read_bare(&filled).await?;
        let all = start(place, scratch, &filled, tenants).await?;
        let each = (all.resident as f64 - nobody.resident as f64) / f64::from(tenants);
        found.start.add(all.took.as_secs_f64(), (nobody.took + read).as_secs_f64());
        found.away.add(all.took_away.as_secs_f64(), nobody.took_away.as_secs_f64());
        found.memory.add(each, row_bytes);
        let (routed, bare) = lookups.time(pair);
        found.lookup.add(routed, bare);
        println!(
            "{:>3}  {tenants} tenants: ready after {:.2} s, without the registry {:.2} s, {each:.0} B each, a lookup {routed:.0} ns   nobody: {:.2} s, {:.2} s",
            pair + 1,
            all.took.as_secs_f64(),
            all.took_away.as_secs_f64(),
            nobody.took.as_secs_f64(),
            nobody.took_away.as_secs_f64()
        );
    }
    Ok(found)
}

/// Starts Portero on an empty directory, so that it knows nothing but the registry; then by what it kept there.
async fn start(place: &Place, scratch: &Scratch, registry: &RegistryPlace, tenants: u32) -> Result<Started> {
    let data_dir = scratch.fresh_data_dir();
    let (took, resident) = start_once(place, registry, &data_dir, tenants).await?;
    let (took_away, _) = start_once(place, &registry.away()?, &data_dir, tenants).await?;
    Ok(Started { took, took_away, resident })
}

/// Until it was ready, and what it then has in memory.
async fn start_once(
    place: &Place,
    registry: &RegistryPlace,
    data_dir: &Path,
    tenants: u32,
) -> Result<(Duration, u64)> {
    let portero = Portero::start(place, registry, data_dir).await?;
    let took = portero.ready().await?;
    let routes = portero.routes().await?;
    if routes != tenants {
        bail!("Portero knows {routes} companies instead of {tenants}");
    }
    let resident = settled(&portero).await?;
    portero.stop().await?;
    Ok((took, resident))
}

/// The memory that it has in RAM, once that changes by no more than a hundredth.
async fn settled(portero: &Portero) -> Result<u64> {
    let began = Instant::now();
    let (mut since, mut before) = (began, portero.resident()?);
    while since.elapsed() < SETTLED {
        if began.elapsed() > DEADLINE {
            bail!("Portero's memory doesn't settle within {} s", DEADLINE.as_secs());
        }
        sleep(Duration::from_millis(50)).await;
        let now = portero.resident()?;
        if now.abs_diff(before) > before / 100 {
            (since, before) = (Instant::now(), now);
        }
    }
    portero.resident()
}

/// The median, or the lower one of two.
fn middle(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len().saturating_sub(1) / 2).copied().unwrap_or(f64::NAN)
}

/// Plausible companies, with logins of the right length that nothing opens.
async fn fill(scratch: &Scratch, registry: &RegistryPlace, tenants: u32) -> Result<()> {
    println!("Writing {tenants} companies …");
    let opened = registry.open()?;
    opened.migrate().await?;
    opened.server_upsert("main", &registry.url).await?;
    let session = scratch.superuser(&registry.database).await?;
    session
        .execute(
            "INSERT INTO tenants (id, name, subdomain, db_name, db_url, status, server_id, schema_version)
             SELECT id,
                    (ARRAY['Talleres', 'Panadería', 'Bufete', 'Clínica', 'Librería', 'Transportes'])[1 + n % 6] || ' '
                        || (ARRAY['García', 'Núñez', 'Ibáñez', 'Ochoa', 'Peña'])[1 + n % 5] || ' ' || n,
                    (ARRAY['talleres', 'panaderia', 'bufete', 'clinica', 'libreria', 'transportes'])[1 + n % 6] || '-'
                        || (ARRAY['garcia', 'nunez', 'ibanez', 'ochoa', 'pena'])[1 + n % 5] || '-' || n,
                    't_' || replace(id::text, '-', ''),
                    substr(decode(repeat(md5(n::text), 13), 'hex'), 1, 197),
                    'active', (SELECT id FROM servers), 1
             FROM (SELECT n::integer, gen_random_uuid() AS id FROM generate_series(1, $1::integer) AS n) AS made",
            &[&i32::try_from(tenants)?],
        )
        .await?;
    session.batch_execute("VACUUM ANALYZE tenants").await?;
    session.close().await;
    Ok(())
}

/// All routes read over a new connection: how long that takes, and how many bytes a row has.
async fn read_bare(registry: &RegistryPlace) -> Result<(Duration, f64)> {
    let opened = registry.open()?;
    let began = Instant::now();
    let session = opened.session().await?;
    let rows = session
        .query(
            "SELECT id, name, subdomain, status, server_id, db_url, schema_version, generation, weight FROM tenants",
            &[],
        )
        .await?;
    let took = began.elapsed();
    let bytes: i64 = rows.iter().map(tokio_postgres::Row::raw_size_bytes).map(|size| size as i64).sum();
    session.close().await;
    Ok((took, bytes as f64 / rows.len() as f64))
}

/// A router in this process, and a map beside it.
struct Lookups {
    router: Router,
    bare: HashMap<Subdomain, Arc<u64>>,
    /// Whom to look up, in this order.
    names: Vec<Subdomain>,
}

impl Lookups {
    async fn prepare(registry: &RegistryPlace) -> Result<Self> {
        let opened = registry.open()?;
        let session = opened.session().await?;
        let rows = session.query("SELECT subdomain FROM tenants", &[]).await?;
        session.close().await;
        let known: Vec<Subdomain> = rows.iter().filter_map(|row| Subdomain::parse(row.get(0)).ok()).collect();
        if known.is_empty() || known.len() < rows.len() {
            bail!("a company's subdomain is none");
        }
        let mut random = Random::new(1);
        let names = (0..LOOKUPS).map(|_| known[random.below(known.len())].clone()).collect();
        let bare = known.into_iter().zip((0..).map(Arc::new)).collect();
        let router =
            Router::start(opened, RouterOptions::default()).await.context("the router doesn't start")?;
        Ok(Self { router, bare, names })
    }

    /// Nanoseconds that a lookup takes, of the router and of the map.
    fn time(&self, pair: usize) -> (f64, f64) {
        let routed = || self.each(|name| drop(black_box(self.router.lookup(name))));
        let bare = || self.each(|name| drop(black_box(self.bare.get(name).map(Arc::clone))));
        if pair.is_multiple_of(2) {
            let routed = routed();
            (routed, bare())
        } else {
            let bare = bare();
            (routed(), bare)
        }
    }

    fn each(&self, look_up: impl Fn(&Subdomain)) -> f64 {
        let began = Instant::now();
        for name in &self.names {
            look_up(name);
        }
        began.elapsed().as_secs_f64() * 1e9 / self.names.len() as f64
    }
}
