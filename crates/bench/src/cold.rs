//! A cold tenant's first request: its pool is empty, so the router logs in for it. Beside it a bare login as the same
//! role with the same options, and the same SELECT.
//!
//! Many tenants are asked once each, one after the other, and each of them both ways within a few milliseconds; who goes
//! first alternates. The server lets Portero have half as many connections as there are tenants: the first of them find
//! room, and for those after that another tenant's connection must go. Before each pair Portero is started anew, which
//! empties its pools.

use crate::{
    Place,
    cluster::Scratch,
    http::Connection,
    outcome::{Chart, Measure, Outcome, Role, Times},
    portero::Portero,
    random::Random,
    tenants::{self, Tenant},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct ColdArgs {
    #[arg(long)]
    pairs: usize,
    #[arg(long)]
    tenants: usize,
}

/// Portero's times and the bare ones, of the same tenants.
#[derive(Default)]
struct Both {
    portero: Times,
    bare: Times,
}

/// While the server has room, and when it is full.
#[derive(Default)]
struct Times4 {
    room: Both,
    full: Both,
}

pub(crate) async fn run(args: &ColdArgs, place: &Place) -> Result<Outcome> {
    let capacity = args.tenants.div_ceil(2);
    let scratch = Scratch::start(place, capacity).await?;
    let registry = scratch.registry("portero_registry").await?;
    let data_dir = scratch.data_dir("serve");
    let portero = Portero::start(place, &registry, &data_dir).await?;
    // One more than are measured: to warm up the way there.
    let mut tenants = tenants::sign_up(&portero, &registry, args.tenants + 1).await?;
    portero.stop().await?;
    let first = tenants.pop().context("at least one signed up")?;
    for tenant in &tenants {
        // The first login of all fills caches of the database, which is nobody's merit.
        bare(tenant).await?;
    }

    let keys = [("cold.room.median", "cold.room.p99"), ("cold.full.median", "cold.full.p99")];
    let mut measures = keys.map(|(median, p99)| [Measure::new(median, "ms"), Measure::new(p99, "ms")]);
    let mut all = Times4::default();
    for pair in 0..args.pairs {
        let portero = Portero::start(place, &registry, &data_dir).await?;
        let mut connection = Connection::to(portero.address);
        routed(&mut connection, &first).await?;
        let mut found = one_pair(&mut connection, &tenants, capacity, pair).await?;
        portero.stop().await?;
        let [room, full] = &mut measures;
        for (measures, both) in [(room, &mut found.room), (full, &mut found.full)] {
            for (measure, share) in measures.iter_mut().zip([0.5, 0.99]) {
                measure.add(both.portero.millis(share), both.bare.millis(share));
            }
        }
        println!(
            "{:>3}  with room: Portero {:>6.2} ms  bare {:>6.2} ms   full: Portero {:>6.2} ms  bare {:>6.2} ms",
            pair + 1,
            found.room.portero.millis(0.5),
            found.room.bare.millis(0.5),
            found.full.portero.millis(0.5),
            found.full.bare.millis(0.5),
        );
        for (all, found) in [(&mut all.room, found.room), (&mut all.full, found.full)] {
            all.portero.extend(found.portero);
            all.bare.extend(found.bare);
        }
    }
    let mut bare = all.room.bare;
    bare.extend(all.full.bare);
    let mut limit = bare.line("1.3 × bare", Role::Limit);
    limit.points.iter_mut().for_each(|(_, millis)| *millis *= 1.3);
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!(
            "{} pairs of {} tenants, one request each, {capacity} connections",
            args.pairs, args.tenants
        ),
        measures: measures.into_iter().flatten().collect(),
        bars: None,
        chart: Chart {
            title: "A cold tenant's first request".to_owned(),
            x: "% of the requests took no longer",
            y: "ms",
            shares: true,
            lines: vec![
                all.room.portero.line("Portero, with room", Role::Figure),
                all.full.portero.line("Portero, server full", Role::Figure),
                bare.line("bare login and SELECT", Role::Ceiling),
                limit,
            ],
        },
    })
}

async fn one_pair(
    connection: &mut Connection,
    tenants: &[Tenant],
    capacity: usize,
    pair: usize,
) -> Result<Times4> {
    let mut found = Times4::default();
    for (turn, number) in Random::new(pair as u64).order(tenants.len()).into_iter().enumerate() {
        let tenant = &tenants[number];
        let (portero_time, bare_time) = if (turn + pair).is_multiple_of(2) {
            let portero_time = routed(connection, tenant).await?;
            (portero_time, bare(tenant).await?)
        } else {
            let bare_time = bare(tenant).await?;
            (routed(connection, tenant).await?, bare_time)
        };
        // A router may begin to make room before the last connection is gone: those near the edge are of neither kind.
        let both = if turn < capacity * 4 / 5 {
            &mut found.room
        } else if turn > capacity {
            &mut found.full
        } else {
            continue;
        };
        both.portero.push(portero_time);
        both.bare.push(bare_time);
    }
    Ok(found)
}

async fn routed(connection: &mut Connection, tenant: &Tenant) -> Result<Duration> {
    let ping = tenant.ping();
    let began = Instant::now();
    let answer = connection.ask(&ping).await?;
    let took = began.elapsed();
    if answer.status != 200 {
        bail!("{} answered {}: {}", tenant.subdomain, answer.status, answer.body);
    }
    Ok(took)
}

async fn bare(tenant: &Tenant) -> Result<Duration> {
    let began = Instant::now();
    let session = portero_pg::connect(&tenant.login).await?;
    session.query_one("SELECT 1", &[]).await?;
    let took = began.elapsed();
    session.close().await;
    Ok(took)
}
