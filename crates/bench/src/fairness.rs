//! One hog beside many sparse tenants, on forty connections: a thousand clients of one company ask as fast as they are
//! answered, and two hundred other companies ask now and then. What the sparse wait must not depend on the hog.
//!
//! The sparse are an open loop: each asks by its own schedule whatever became of its last request, and its time counts
//! from the moment when it meant to ask. Else a slow answer would hide all that should have been asked meanwhile
//! ("coordinated omission"). With so many tenants on so few connections, most of them log in anew.
//!
//! There are two hogs. One asks for `SELECT 1`, and what it takes from the others is mostly processor time. The other's
//! every statement sleeps in PostgreSQL, so it holds all connections it gets and hardly any processor: what it takes is
//! connections, which are the router's to share. A client of either that is told to come again later does so then.
//!
//! What a company may ask is limited as `portero serve` comes. The busy hog is there once more without those limits, when
//! nothing but the processor bounds what it takes.
//!
//! The hog's clients live on a thread of their own: what they do isn't in the way of those that are timed.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    http::{Connection, Request},
    outcome::{Chart, Line, Measure, Outcome, Role, Times},
    portero::{APEX, Portero},
    random::Random,
    tenants::{self, PASSWORD, Tenant},
};
use anyhow::{Context, Result, bail};
use clap::Args;
use futures_util::future::join_all;
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// Connections that tenants may have.
const CAPACITY: usize = 40;
/// Before anything counts: caches fill, the hog gets going.
const WARM_UP: Duration = Duration::from_secs(2);
/// A sparse company asks this often. A login costs some milliseconds of a core: two hundred of them a second would be
/// more than a small machine has.
const EVERY: Duration = Duration::from_secs(4);

#[derive(Args)]
pub(crate) struct FairnessArgs {
    #[arg(long)]
    pairs: usize,
    /// Sparse ones
    #[arg(long)]
    tenants: usize,
    /// Of the hog
    #[arg(long)]
    clients: usize,
    /// Of each run
    #[arg(long)]
    seconds: u64,
}

/// The sparse ones' times, and how many of their requests failed.
#[derive(Default)]
struct Sparse {
    times: Times,
    failed: u32,
}

/// Beside whom the sparse are timed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    Nobody,
    Busy,
    Sleepy,
    Unlimited,
}

pub(crate) async fn run(args: &FairnessArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, CAPACITY).await?;
    let registry = scratch.registry("portero_registry").await?;
    let data_dir = scratch.data_dir("serve");
    let mut portero = Portero::start_with(place, &registry, &data_dir, &[]).await?;
    let mut sparse = tenants::sign_up(&portero, &registry, args.tenants + 1).await?;
    let hog = sparse.pop().context("at least one signed up")?;
    let mut bench = FairnessBench {
        address: portero.address,
        busy: Arc::new(hog.ping()),
        sleepy: Arc::new(sleepy(&scratch, &registry, &portero, &hog).await?),
        sparse,
        clients: args.clients,
        duration: Duration::from_secs(args.seconds),
    };

    let mut measures = Measures::new();
    let mut all: [Sparse; 4] = Default::default();
    for pair in 0..args.pairs {
        let mut order = [Beside::Nobody, Beside::Busy, Beside::Sleepy];
        order.rotate_left(pair % 3);
        let mut found: [Sparse; 4] = Default::default();
        for beside in order {
            found[beside as usize] = bench.one(beside, pair as u64).await?;
        }
        portero.stop().await?;
        portero = Portero::start(place, &registry, &data_dir).await?;
        bench.address = portero.address;
        found[Beside::Unlimited as usize] = bench.one(Beside::Unlimited, pair as u64).await?;
        portero.stop().await?;
        portero = Portero::start_with(place, &registry, &data_dir, &[]).await?;
        bench.address = portero.address;
        measures.add(&mut found, pair);
        for (all, found) in all.iter_mut().zip(found) {
            all.times.extend(found.times);
        }
    }
    portero.stop().await?;
    let [mut alone, mut busy, mut sleepy, _] = all;
    let limit = Line::limit("2 × p99 without a hog", [0.0, 99.0], 2.0 * alone.times.millis(0.99));
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!(
            "{} × {} s each; {} sparse tenants asking every {} s, a hog of {} clients, {CAPACITY} connections",
            args.pairs,
            args.seconds,
            args.tenants,
            EVERY.as_secs(),
            args.clients
        ),
        measures: measures.into(),
        bars: None,
        chart: Chart {
            title: "What sparse tenants wait".to_owned(),
            x: "% of the requests took no longer",
            y: "ms",
            shares: true,
            lines: vec![
                busy.times.line("beside a busy hog", Role::Figure),
                sleepy.times.line("beside a sleepy hog", Role::Figure),
                alone.times.line("without a hog", Role::Ceiling),
                limit,
            ],
        },
    })
}

struct Measures {
    busy: [Measure; 2],
    sleepy: [Measure; 2],
    unlimited: [Measure; 2],
    failed: Measure,
}

impl Measures {
    fn new() -> Self {
        let two = |median, p99| [Measure::new(median, "ms"), Measure::new(p99, "ms")];
        Self {
            busy: two("fairness.busy.median", "fairness.busy.p99"),
            sleepy: two("fairness.sleepy.median", "fairness.sleepy.p99"),
            unlimited: two("fairness.unlimited.median", "fairness.unlimited.p99"),
            failed: Measure::new("fairness.failed", ""),
        }
    }

    fn add(&mut self, found: &mut [Sparse; 4], pair: usize) {
        let [alone, busy, sleepy, unlimited] = found;
        for (measures, beside) in [
            (&mut self.busy, &mut *busy),
            (&mut self.sleepy, &mut *sleepy),
            (&mut self.unlimited, &mut *unlimited),
        ] {
            for (measure, share) in measures.iter_mut().zip([0.5, 0.99]) {
                measure.add(beside.times.millis(share), alone.times.millis(share));
            }
        }
        let failed = busy.failed + sleepy.failed + unlimited.failed;
        self.failed.add(f64::from(failed), f64::from(alone.failed));
        println!(
            "{:>3}  p99 without a hog {:>7.2} ms, beside a busy one {:>7.2} ms, beside a sleepy one {:>7.2} ms, beside a busy one without limits {:>7.2} ms",
            pair + 1,
            alone.times.millis(0.99),
            busy.times.millis(0.99),
            sleepy.times.millis(0.99),
            unlimited.times.millis(0.99)
        );
    }
}

impl From<Measures> for Vec<Measure> {
    fn from(measures: Measures) -> Self {
        let Measures { busy, sleepy, unlimited, failed } = measures;
        busy.into_iter().chain(sleepy).chain(unlimited).chain([failed]).collect()
    }
}

struct FairnessBench {
    address: SocketAddr,
    sparse: Vec<Tenant>,
    busy: Arc<Request>,
    sleepy: Arc<Request>,
    clients: usize,
    duration: Duration,
}

impl FairnessBench {
    async fn one(&self, beside: Beside, seed: u64) -> Result<Sparse> {
        let request = match beside {
            Beside::Nobody => None,
            Beside::Busy | Beside::Unlimited => Some(&self.busy),
            Beside::Sleepy => Some(&self.sleepy),
        };
        let hog = request.map(|request| Hog::begin(self.address, request, self.clients)).transpose()?;
        let sparse = self.time_sparse(seed).await;
        if let Some(hog) = hog {
            hog.end(self.duration + WARM_UP)?;
        }
        sparse
    }

    async fn time_sparse(&self, seed: u64) -> Result<Sparse> {
        let mut random = Random::new(seed);
        let every_ms = usize::try_from(EVERY.as_millis())?;
        let began = Instant::now();
        let (from, until) = (began + WARM_UP, began + WARM_UP + self.duration);
        let clients = self.sparse.iter().map(|tenant| {
            let first = began + Duration::from_millis(random.below(every_ms) as u64);
            keep_to_schedule(self.address, tenant.ping(), first, from, until)
        });
        let mut all = Sparse::default();
        for sparse in join_all(clients).await {
            let sparse = sparse?;
            all.times.extend(sparse.times);
            all.failed += sparse.failed;
        }
        if all.times.len() == 0 {
            bail!("no sparse tenant was answered");
        }
        Ok(all)
    }
}

/// One sparse tenant: asks when its time has come, over another connection if the last answer isn't there yet. What was
/// due before `from` doesn't count.
async fn keep_to_schedule(
    address: SocketAddr,
    ping: Request,
    first: Instant,
    from: Instant,
    until: Instant,
) -> Result<Sparse> {
    let ping = Arc::new(ping);
    let (mut under_way, mut free) = (JoinSet::new(), Vec::new());
    let mut sparse = Sparse::default();
    let mut due = first;
    while due < until {
        sleep_until(due).await;
        while let Some(done) = under_way.try_join_next() {
            free.push(sparse.count(done?, from));
        }
        let mut connection = free.pop().unwrap_or_else(|| Connection::to(address));
        let ping = Arc::clone(&ping);
        under_way.spawn(async move {
            let good = connection.ask(&ping).await.is_ok_and(|answer| answer.status == 200);
            Asked { connection, due, took: good.then(|| due.elapsed()) }
        });
        due += EVERY;
    }
    while let Some(done) = under_way.join_next().await {
        sparse.count(done?, from);
    }
    Ok(sparse)
}

/// A request of a sparse tenant's that has ended.
struct Asked {
    connection: Connection,
    due: Instant,
    /// Since it was due; nothing where it failed.
    took: Option<Duration>,
}

impl Sparse {
    /// Gives back the connection.
    fn count(&mut self, asked: Asked, from: Instant) -> Connection {
        match asked.took {
            _ if asked.due < from => {}
            Some(took) => self.times.push(took),
            None => self.failed += 1,
        }
        asked.connection
    }
}

/// The hog's clients, on a thread of their own.
struct Hog {
    state: Arc<HogState>,
    thread: thread::JoinHandle<()>,
}

#[derive(Default)]
struct HogState {
    enough: Notify,
    stopped: AtomicBool,
    answered: AtomicU32,
    put_off: AtomicU32,
}

impl Hog {
    fn begin(address: SocketAddr, request: &Arc<Request>, clients: usize) -> Result<Self> {
        let state = Arc::new(HogState::default());
        let (shared, request) = (Arc::clone(&state), Arc::clone(request));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::spawn(move || {
            runtime.block_on(async {
                let all = join_all((0..clients).map(|_| shared.client(address, &request)));
                tokio::select! {
                    _ = all => {}
                    () = shared.enough.notified() => {}
                }
            });
        });
        Ok(Self { state, thread })
    }

    fn end(self, after: Duration) -> Result<()> {
        self.state.stopped.store(true, Ordering::Relaxed);
        self.state.enough.notify_one();
        if self.thread.join().is_err() {
            bail!("the hog's thread panicked");
        }
        let seconds = after.as_secs_f64();
        println!(
            "     the hog: {:.0} answers a second, {:.0} a second put off",
            f64::from(self.state.answered.load(Ordering::Relaxed)) / seconds,
            f64::from(self.state.put_off.load(Ordering::Relaxed)) / seconds
        );
        Ok(())
    }
}

impl HogState {
    async fn client(&self, address: SocketAddr, request: &Request) {
        let mut connection = Connection::to(address);
        while !self.stopped.load(Ordering::Relaxed) {
            match connection.ask(request).await {
                Ok(answer) if answer.status == 200 => {
                    self.answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(answer) => {
                    self.put_off.fetch_add(1, Ordering::Relaxed);
                    sleep(answer.retry_after.unwrap_or(Duration::from_secs(1))).await;
                }
                Err(_) => sleep(Duration::from_secs(1)).await,
            }
        }
    }
}

/// A request that keeps its connection for a while: who is asking is looked up in `sessions`, and in this company's
/// database that is a view that sleeps.
async fn sleepy(
    scratch: &Scratch,
    registry: &RegistryPlace,
    portero: &Portero,
    hog: &Tenant,
) -> Result<Request> {
    let host = format!("{}.{APEX}", hog.subdomain);
    let login = serde_json::json!({ "email": tenants::EMAIL, "password": PASSWORD }).to_string();
    let mut connection = Connection::to(portero.address);
    let answer = connection.ask(&Request::post_json(&host, "/api/v1/auth/login", &login)).await?;
    let told: Value = serde_json::from_str(&answer.body)?;
    let token = told["access_token"].as_str().with_context(|| format!("no login: {}", answer.body))?;

    let database = registry.open()?.tenant_login(hog.id).await?.context("the hog is gone")?.database;
    let session = scratch.superuser(database.as_str()).await?;
    session
        .batch_execute(
            "ALTER TABLE sessions RENAME TO sessions_awake;
             CREATE VIEW sessions AS SELECT awake.* FROM sessions_awake awake CROSS JOIN (SELECT pg_sleep(0.02)) AS nap;
             GRANT SELECT ON sessions TO PUBLIC",
        )
        .await?;
    session.close().await;
    let request = Request::get_with_token(&host, "/api/v1/me", token);
    let answer = connection.ask(&request).await?;
    if answer.status != 200 {
        bail!("the hog itself is answered with {}: {}", answer.status, answer.body);
    }
    Ok(request)
}
