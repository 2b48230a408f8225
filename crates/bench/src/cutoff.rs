//! How soon a pause is known everywhere: two routers on one registry, and a client at each that asks the company's host
//! over and over. The time is from the moment the pause is written, its commit included, until the last of the two
//! answers `tenant-paused`. The fence in the database, which makes a pause certain, comes after it and isn't in this.
//!
//! Beside it a bare LISTEN: when PostgreSQL says so to somebody who does nothing else. Then the registry's NOTIFY is made
//! to go elsewhere, as it would over a connection that is silently dead: now the routers learn it by looking.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    http::{Answer, Connection, Request},
    outcome::{Chart, Line, Measure, Outcome, Role, Times},
    portero::Portero,
    random::Random,
    tenants,
};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::{StreamExt, future::try_join_all, stream};
use portero_kernel::{ExposeSecret, TenantId};
use portero_registry::{Registry, TenantStatus};
use std::time::{Duration, Instant};
use tokio::{
    sync::mpsc,
    task::JoinHandle,
    time::{sleep, timeout},
};
use tokio_postgres::{AsyncMessage, Client, NoTls};

/// Between two questions of a client: it bounds how exact the figures are.
const ASK_EVERY: Duration = Duration::from_millis(1);
/// What no router takes to hear of something.
const DEADLINE: Duration = Duration::from_secs(30);
/// Longer than the routers' own looking: with NOTIFY dead, a pause falls at any moment between two looks.
const LOOKS_EVERY_MS: usize = 2000;

#[derive(Args)]
pub(crate) struct CutoffArgs {
    #[arg(long)]
    pairs: usize,
    /// Pauses in each
    #[arg(long)]
    rounds: usize,
    /// Pauses in each while NOTIFY is dead
    #[arg(long)]
    deaf_rounds: usize,
}

pub(crate) async fn run(args: &CutoffArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, 40).await?;
    let registry = scratch.registry("portero_registry").await?;
    let one = Portero::start(place, &registry, &scratch.data_dir("one")).await?;
    let other = Portero::start(place, &registry, &scratch.data_dir("other")).await?;
    let tenants = tenants::sign_up(&one, &registry, 1).await?;
    let tenant = tenants.first().context("one signed up")?;
    let bench = CutoffBench {
        registry: registry.open()?,
        tenant: tenant.id,
        ping: tenant.ping(),
        routers: [&one, &other],
    };
    bench.until_all(is_open).await?;

    let (mut median, mut p99) = (Measure::new("cutoff.median", "ms"), Measure::new("cutoff.p99", "ms"));
    let (mut all, mut all_bare) = (Times::default(), Times::default());
    let mut ear = Ear::listen(&registry).await?;
    for pair in 0..args.pairs {
        let (mut heard, mut bare) = (Times::default(), Times::default());
        for _ in 0..args.rounds {
            ear.forget();
            let began = bench.pause_and_see(&mut heard).await?;
            bare.push(ear.heard().await?.saturating_duration_since(began));
            bench.resume().await?;
        }
        println!(
            "{:>3}  every router after {:>6.2} ms, 99 % within {:>6.2} ms   bare LISTEN {:>6.2} ms, {:>6.2} ms",
            pair + 1,
            heard.millis(0.5),
            heard.millis(0.99),
            bare.millis(0.5),
            bare.millis(0.99)
        );
        median.add(heard.millis(0.5), bare.millis(0.5));
        p99.add(heard.millis(0.99), bare.millis(0.99));
        all.extend(heard);
        all_bare.extend(bare);
    }

    make_deaf(&scratch, &registry).await?;
    let mut deaf = Measure::new("cutoff.deaf", "ms");
    let (mut all_deaf, mut random) = (Times::default(), Random::new(1));
    ear.forget();
    for pair in 0..args.pairs {
        let mut seen = Times::default();
        for _ in 0..args.deaf_rounds {
            sleep(Duration::from_millis(random.below(LOOKS_EVERY_MS) as u64)).await;
            bench.pause_and_see(&mut seen).await?;
            bench.resume().await?;
        }
        println!("{:>3}  NOTIFY dead: every router after {:>7.2} ms at most", pair + 1, seen.millis(1.0));
        deaf.figures.push(seen.millis(1.0));
        all_deaf.extend(seen);
    }
    if ear.was_rung() {
        bail!("NOTIFY was to be dead, and something was heard");
    }
    for portero in [one, other] {
        portero.stop().await?;
    }
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!(
            "{} × {} pauses, and {} with NOTIFY dead; 2 routers, asked every {} ms",
            args.pairs,
            args.rounds,
            args.deaf_rounds,
            ASK_EVERY.as_millis()
        ),
        measures: vec![median, p99, deaf],
        bars: None,
        chart: Chart {
            title: "From writing a pause until the last of two routers answers so".to_owned(),
            x: "% of the pauses took no longer",
            y: "ms",
            shares: true,
            lines: vec![
                all.line("with NOTIFY", Role::Figure),
                all_deaf.line("NOTIFY dead", Role::Figure),
                all_bare.line("a bare LISTEN", Role::Ceiling),
                Line {
                    name: "50 ms for half, 500 ms for 99 %".to_owned(),
                    role: Role::Limit,
                    points: vec![(0.0, 50.0), (50.0, 50.0), (50.0, 500.0), (99.0, 500.0)],
                },
            ],
        },
    })
}

struct CutoffBench<'a> {
    registry: Registry,
    tenant: TenantId,
    ping: Request,
    routers: [&'a Portero; 2],
}

impl CutoffBench<'_> {
    /// Pauses, and notes when the last router says so. Returns when the pause began to be written.
    async fn pause_and_see(&self, times: &mut Times) -> Result<Instant> {
        let watched = self.until_all(is_paused);
        let pause = async {
            // The clients are under way by then.
            sleep(Duration::from_millis(5)).await;
            let began = Instant::now();
            self.turn(TenantStatus::Active).await?;
            anyhow::Ok(began)
        };
        let (seen, began) = tokio::try_join!(watched, pause)?;
        times.push(seen.saturating_duration_since(began));
        Ok(began)
    }

    async fn resume(&self) -> Result<()> {
        self.turn(TenantStatus::Paused).await?;
        self.until_all(is_open).await?;
        Ok(())
    }

    async fn turn(&self, from: TenantStatus) -> Result<()> {
        if self.registry.tenant_set_paused(self.tenant, from, Some("a bench")).await?.is_none() {
            bail!("the company was not {} as it should be", from.as_str());
        }
        Ok(())
    }

    /// When the last router answered so.
    async fn until_all(&self, is_so: fn(&Answer) -> bool) -> Result<Instant> {
        let seen = self.routers.iter().map(|router| self.until(router, is_so));
        let seen = timeout(DEADLINE, try_join_all(seen)).await.context("a router doesn't hear of it")??;
        seen.into_iter().max().context("there are routers")
    }

    async fn until(&self, router: &Portero, is_so: fn(&Answer) -> bool) -> Result<Instant> {
        let mut connection = Connection::to(router.address);
        loop {
            let answer = connection.ask(&self.ping).await?;
            if is_so(&answer) {
                return Ok(Instant::now());
            }
            sleep(ASK_EVERY).await;
        }
    }
}

fn is_open(answer: &Answer) -> bool {
    answer.status == 200
}

/// By the problem's code: there are other reasons for a 503.
fn is_paused(answer: &Answer) -> bool {
    answer.status == 503 && answer.body.contains("tenant-paused")
}

/// A bare LISTEN.
struct Ear {
    heard: mpsc::UnboundedReceiver<Instant>,
    driver: JoinHandle<()>,
    _client: Client,
}

impl Ear {
    async fn listen(registry: &RegistryPlace) -> Result<Self> {
        let (client, mut connection) = tokio_postgres::connect(registry.url.expose_secret(), NoTls).await?;
        let (told, heard) = mpsc::unbounded_channel();
        let driver = tokio::spawn(async move {
            let mut messages = std::pin::pin!(stream::poll_fn(move |cx| connection.poll_message(cx)));
            while let Some(Ok(message)) = messages.next().await {
                if matches!(message, AsyncMessage::Notification(_)) && told.send(Instant::now()).is_err() {
                    break;
                }
            }
        });
        client.batch_execute("LISTEN portero_routes").await?;
        Ok(Self { heard, driver, _client: client })
    }

    fn forget(&mut self) {
        while self.heard.try_recv().is_ok() {}
    }

    fn was_rung(&mut self) -> bool {
        self.heard.try_recv().is_ok()
    }

    async fn heard(&mut self) -> Result<Instant> {
        let heard = timeout(DEADLINE, self.heard.recv()).await.context("PostgreSQL says nothing")?;
        heard.context("the connection that listens was lost")
    }
}

impl Drop for Ear {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Changes of routes are told on a channel that nobody listens to.
async fn make_deaf(scratch: &Scratch, registry: &RegistryPlace) -> Result<()> {
    let session = scratch.superuser(&registry.database).await?;
    session
        .batch_execute(
            "DO $$ BEGIN
                 EXECUTE replace(pg_get_functiondef('public.route_changed(uuid)'::regprocedure), 'portero_routes', 'nobody');
             END $$",
        )
        .await?;
    session.close().await;
    Ok(())
}
