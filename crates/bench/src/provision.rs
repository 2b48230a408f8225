//! A sign-up, from the call of the API until the new company's host answers its first request from its own database: warm
//! (a spare is ready), cold (there is a template and no spare), and many at once.
//!
//! Beside it the least that a sign-up can cost: one argon2id hash, and a bare `CREATE DATABASE` from the same template. Warm
//! and cold are two `portero serve` with a registry each on one server; each warm sign-up finds a full pool, and nobody
//! refills while it is timed. Who goes first alternates.
//!
//! With a hundred sign-ups at once, companies that are there already ask by their own schedule, before and meanwhile:
//! theirs is the figure, and that every sign-up is served.

use crate::{
    Place,
    cluster::{RegistryPlace, Scratch},
    http::{Connection, Request},
    outcome::{Bar, Bars, Chart, Measure, Outcome, Role, Times},
    portero::{APEX, Portero},
    tenants::{self, EMAIL, PASSWORD, Tenant},
};
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use futures_util::future::join_all;
use portero_auth::{Claimant, Password, Passwords};
use portero_kernel::JobId;
use portero_pg::Session;
use portero_registry::{Registry, SpareFigures};
use serde_json::Value;
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// Connections that tenants may have: each of the registries takes all of them for its own, so that none is short.
const CAPACITY: usize = 400;
/// How often the new host is asked whether it is there, where that is timed.
const ASK_AGAIN: Duration = Duration::from_millis(2);
/// The same in a crowd: a hundred who ask every other millisecond would be the load that is measured.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// No preparation takes as long.
const PATIENCE: Duration = Duration::from_secs(120);
/// Each of the companies that are there already asks this often.
const EVERY: Duration = Duration::from_millis(200);

#[derive(Args)]
pub(crate) struct ProvisionArgs {
    #[arg(long)]
    pairs: usize,
    /// In each pair, of each kind
    #[arg(long)]
    signups: usize,
    /// Sign-ups at the same time
    #[arg(long)]
    crowd: usize,
    /// Companies that ask meanwhile
    #[arg(long)]
    tenants: usize,
}

/// A `portero serve` with its registry.
struct House {
    portero: Portero,
    registry: Registry,
}

/// How long each part of some sign-ups took together.
#[derive(Default)]
struct Parts(Vec<(String, Duration)>);

/// The times of one kind of sign-up.
#[derive(Default)]
struct Kind {
    times: Times,
    parts: Parts,
}

pub(crate) async fn run(args: &ProvisionArgs, place: &Place) -> Result<Outcome> {
    let scratch = Scratch::start(place, CAPACITY).await?;
    // First: some file systems make files slowly for minutes after many were deleted, as bare databases are.
    let registry = scratch.registry("portero_registry_crowd").await?;
    let crowd = measures_of_crowd(args, &scratch, place, &registry).await?;
    let warm = House::open(&scratch, place, "warm", "3").await?;
    let cold = House::open(&scratch, place, "cold", "0").await?;
    let superuser = scratch.superuser("postgres").await?;
    let bare = Bare::new(superuser).await?;

    let mut measures =
        ["provision.warm.median", "provision.warm.p99", "provision.cold.median", "provision.cold.p99"]
            .map(|key| Measure::new(key, "ms"));
    let (mut all_warm, mut all_cold, mut all_bare) = (Kind::default(), Kind::default(), Kind::default());
    for pair in 0..args.pairs {
        let mut found: [Kind; 3] = Default::default();
        for number in 0..args.signups {
            let subdomain = format!("company-{pair}-{number}");
            for turn in 0..3 {
                match (turn + number + pair) % 3 {
                    0 => warm.one(&subdomain, "spare", &mut found[0]).await?,
                    1 => cold.one(&subdomain, "template", &mut found[1]).await?,
                    _ => bare.one(&mut found[2]).await?,
                }
            }
        }
        let [mut w, mut c, mut b] = found;
        let millis = |kind: &mut Kind, share| kind.times.millis(share);
        let [warm_median, warm_p99, cold_median, cold_p99] = &mut measures;
        for (median, p99, kind) in [(warm_median, warm_p99, &mut w), (cold_median, cold_p99, &mut c)] {
            median.add(millis(kind, 0.5), millis(&mut b, 0.5));
            p99.add(millis(kind, 0.99), millis(&mut b, 0.99));
        }
        println!(
            "{:>3}  warm {:>6.1} ms   cold {:>6.1} ms   argon2 and bare CREATE DATABASE {:>6.1} ms",
            pair + 1,
            millis(&mut w, 0.5),
            millis(&mut c, 0.5),
            millis(&mut b, 0.5)
        );
        for (all, kind) in [(&mut all_warm, w), (&mut all_cold, c), (&mut all_bare, b)] {
            all.times.extend(kind.times);
            all.parts.add(kind.parts);
        }
    }
    warm.portero.stop().await?;
    cold.portero.stop().await?;
    let bars = vec![
        all_warm.parts.bar("warm", args.pairs * args.signups),
        all_cold.parts.bar("cold", args.pairs * args.signups),
        all_bare.parts.bar("bare", args.pairs * args.signups),
    ];
    Ok(Outcome {
        postgres: scratch.version(),
        setting: format!(
            "{} pairs of {} sign-ups of each kind; {} at once beside {} companies that ask",
            args.pairs, args.signups, args.crowd, args.tenants
        ),
        measures: measures.into_iter().chain(crowd).collect(),
        chart: chart(&mut all_warm.times, &mut all_cold.times, &mut all_bare.times),
        bars: Some(Bars {
            title: "A sign-up until its first answer: where the milliseconds go".to_owned(),
            unit: "ms",
            bars,
        }),
    })
}

fn chart(warm: &mut Times, cold: &mut Times, bare: &mut Times) -> Chart {
    let mut limit = bare.line("1.5 × bare", Role::Limit);
    limit.points.iter_mut().for_each(|(_, millis)| *millis *= 1.5);
    Chart {
        title: "A sign-up, until its host answers".to_owned(),
        x: "% of the sign-ups took no longer",
        y: "ms",
        shares: true,
        lines: vec![
            warm.line("warm", Role::Figure),
            cold.line("cold", Role::Figure),
            bare.line("argon2 and bare CREATE DATABASE", Role::Ceiling),
            limit,
        ],
    }
}

impl House {
    /// Starts it, and waits until its server has a template and as many spares as are wanted.
    async fn open(scratch: &Scratch, place: &Place, name: &str, spares: &str) -> Result<Self> {
        let registry = scratch.registry(&format!("portero_registry_{name}")).await?;
        let settings = [("PORTERO_SPARES", spares)];
        let portero = Portero::start_with(place, &registry, &scratch.data_dir(name), &settings).await?;
        let house = Self { portero, registry: registry.open()? };
        house
            .until(|figures| figures.refill.as_ref().is_some_and(|refill| !refill.templates.is_empty()))
            .await?;
        Ok(house)
    }

    async fn until(&self, is_so: impl Fn(&SpareFigures) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            let figures = self.registry.spare_figures().await?;
            let figures = figures.first().context("the registry knows no server")?;
            if is_so(figures) {
                return Ok(());
            }
            if began.elapsed() > PATIENCE {
                bail!("templates and spares don't get ready: {figures:?}");
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// One sign-up with the pool full and nobody at work. What it was made from is made sure of.
    async fn one(&self, subdomain: &str, origin: &str, kind: &mut Kind) -> Result<()> {
        self.until(|figures| {
            figures.refill.as_ref().is_some_and(|refill| figures.ready >= i64::from(refill.wanted))
        })
        .await?;
        let server = self.registry.servers().await?.first().context("there is a server")?.id;
        let quiet = loop {
            if let Some(lock) = self.registry.refill_lock(server).await? {
                break lock;
            }
            sleep(Duration::from_millis(20)).await;
        };
        let done = sign_up(self.portero.address, subdomain, ASK_AGAIN).await?;
        quiet.close().await;
        let job = self.registry.job_by_id(done.job).await?.context("the job is gone")?;
        let found = self.registry.tenant_origin(job.tenant).await?.map(|origin| origin.as_str());
        ensure!(found == Some(origin), "{subdomain} was made from {found:?}, and not from {origin}");
        kind.times.push(done.took);
        kind.parts.push("accepted", done.accepted);
        let mut before = None;
        for step in &job.steps {
            let (Some(began), Some(ended)) = (step.started_at, step.finished_at) else { continue };
            // What lies between two steps belongs to the second.
            let from = before.unwrap_or(job.created_at);
            let waited = (began - from).unsigned_abs();
            kind.parts.push(if before.is_none() { "until a worker has it" } else { "between steps" }, waited);
            kind.parts.push(&step.name, (ended - began).unsigned_abs());
            before = Some(ended);
        }
        let in_job: Duration = (before.context("the job has steps")? - job.created_at).unsigned_abs();
        kind.parts.push("until the first answer", done.took.saturating_sub(done.accepted + in_job));
        Ok(())
    }
}

impl Parts {
    fn push(&mut self, name: &str, took: Duration) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, sum)) => *sum += took,
            None => self.0.push((name.to_owned(), took)),
        }
    }

    fn add(&mut self, other: Self) {
        for (name, took) in other.0 {
            self.push(&name, took);
        }
    }

    /// The mean of each part.
    fn bar(self, name: &str, of: usize) -> Bar {
        let parts = self.0.into_iter();
        Bar {
            name: name.to_owned(),
            parts: parts.map(|(name, took)| (name, took.as_secs_f64() * 1e3 / of as f64)).collect(),
        }
    }
}

/// A sign-up that is served.
struct Done {
    job: JobId,
    /// Until the API's answer.
    accepted: Duration,
    /// Until the first answer from the new database.
    took: Duration,
}

async fn sign_up(address: SocketAddr, subdomain: &str, ask_again: Duration) -> Result<Done> {
    let body = serde_json::json!({
        "name": subdomain,
        "subdomain": subdomain,
        "admin": { "email": EMAIL, "password": PASSWORD },
    });
    let request = Request::post_json(APEX, "/api/v1/tenants", &body.to_string());
    let ping = Request::ping(subdomain);
    let mut connection = Connection::to(address);
    connection.open().await?;
    let began = Instant::now();
    let answer = connection.ask(&request).await?;
    let accepted = began.elapsed();
    ensure!(answer.status == 202, "{subdomain} was answered {}: {}", answer.status, answer.body);
    let told: Value = serde_json::from_str(&answer.body)?;
    let job = told["job"].as_str().and_then(|id| id.parse().ok()).context("the answer names no job")?;
    loop {
        let answer = connection.ask(&ping).await?;
        let took = began.elapsed();
        match answer.status {
            200 => return Ok(Done { job, accepted, took }),
            _ if took > PATIENCE => bail!("{subdomain} answers {} after {PATIENCE:?}", answer.status),
            _ => sleep(ask_again).await,
        }
    }
}

/// The same without Portero.
struct Bare {
    session: Session,
    template: String,
    passwords: Passwords,
    password: Password,
}

impl Bare {
    async fn new(session: Session) -> Result<Self> {
        let sql = "SELECT datname::text FROM pg_database WHERE datname LIKE 'p\\_template\\_%'";
        let template = session.query_one(sql, &[]).await?.get(0);
        let passwords = Passwords::new(1, 1);
        let password = passwords.choose(Claimant::Platform, PASSWORD, &[]).await?;
        let Ok(password) = password else { bail!("the password is refused") };
        Ok(Self { session, template, passwords, password })
    }

    async fn one(&self, kind: &mut Kind) -> Result<()> {
        let began = Instant::now();
        self.passwords.hash(Claimant::Platform, &self.password).await?;
        let hashed = began.elapsed();
        let create = "SELECT format('CREATE DATABASE bare TEMPLATE %I STRATEGY wal_log', $1::text)";
        let create: String = self.session.query_one(create, &[&self.template]).await?.get(0);
        let began = Instant::now();
        self.session.batch_execute(&create).await?;
        let created = began.elapsed();
        self.session.batch_execute("DROP DATABASE bare").await?;
        kind.times.push(hashed + created);
        kind.parts.push("accepted", hashed);
        kind.parts.push("claim_or_create_database", created);
        Ok(())
    }
}

/// Many sign-ups at once, beside companies that ask.
async fn measures_of_crowd(
    args: &ProvisionArgs,
    scratch: &Scratch,
    place: &Place,
    registry: &RegistryPlace,
) -> Result<[Measure; 5]> {
    let settings = [("PORTERO_SPARES", "3")];
    let portero = Portero::start_with(place, registry, &scratch.fresh_data_dir(), &settings).await?;
    let there = tenants::sign_up(&portero, registry, args.tenants).await?;
    let requests: Vec<_> = there.iter().map(Tenant::ping).map(Arc::new).collect();
    // What the sign-ups before left to do is done first.
    sleep(Duration::from_secs(2)).await;
    let mut measures = ["median", "p99"].map(|_| Measure::new("provision.crowd.others.p99", "ms"));
    measures[0] = Measure::new("provision.crowd.others.median", "ms");
    let mut failed = Measure::new("provision.crowd.failed", "");
    let mut last = Measure::new("provision.crowd.last", "s");
    let mut others_failed = Measure::new("provision.crowd.others.failed", "");

    let asking = Asking::begin(portero.address, &requests);
    sleep(Duration::from_secs(if args.crowd < 100 { 2 } else { 10 })).await;
    let (mut before, failed_before) = asking.end().await?;
    let asking = Asking::begin(portero.address, &requests);
    let began = Instant::now();
    let names: Vec<_> = (0..args.crowd).map(|number| format!("crowd-{number}")).collect();
    let served = join_all(names.iter().map(|name| sign_up(portero.address, name, LOOK_AGAIN))).await;
    let took = began.elapsed();
    let (mut meanwhile, failed_meanwhile) = asking.end().await?;
    let refused: Vec<_> = served.iter().filter_map(|served| served.as_ref().err()).collect();
    for error in refused.iter().take(3) {
        println!("     {error:#}");
    }
    println!(
        "{} sign-ups at once: all there after {:.1} s; others' p99 {:.1} ms, before {:.1} ms",
        args.crowd,
        took.as_secs_f64(),
        meanwhile.millis(0.99),
        before.millis(0.99)
    );
    for (measure, share) in measures.iter_mut().zip([0.5, 0.99]) {
        measure.add(meanwhile.millis(share), before.millis(share));
    }
    failed.figures.push(refused.len() as f64);
    last.figures.push(took.as_secs_f64());
    others_failed.figures.push(f64::from(failed_before + failed_meanwhile));
    portero.stop().await?;
    let [median, p99] = measures;
    Ok([failed, last, median, p99, others_failed])
}

/// Companies that ask by their own schedule: a time counts from when its request was meant to go.
struct Asking {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<(Times, u32)>,
}

impl Asking {
    fn begin(address: SocketAddr, requests: &[Arc<Request>]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let began = Instant::now();
        for (number, request) in requests.iter().enumerate() {
            let (stop, request) = (Arc::clone(&stop), Arc::clone(request));
            let offset = EVERY.mul_f64(number as f64 / requests.len() as f64);
            tasks.spawn(async move {
                let (mut times, mut failed) = (Times::default(), 0);
                let mut connection = Connection::to(address);
                let mut due = began + offset;
                while !stop.load(Ordering::Relaxed) {
                    sleep_until(due).await;
                    match connection.ask(&request).await {
                        Ok(answer) if answer.status == 200 => times.push(due.elapsed()),
                        _ => failed += 1,
                    }
                    due += EVERY;
                }
                (times, failed)
            });
        }
        Self { stop, tasks }
    }

    async fn end(self) -> Result<(Times, u32)> {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = (Times::default(), 0);
        for (times, failed) in self.tasks.join_all().await {
            all.0.extend(times);
            all.1 += failed;
        }
        Ok(all)
    }
}
