//! Fleet migrations: every tenant's database brought to one version, on all servers at once, wave after wave.
//!
//! A run is a row in the registry, and so is each of its tenants; who runs it is whoever claims some of them. A process that
//! dies leaves them claimed until its lease has run out, and any other goes on: what a tenant has is read in its own
//! database, under that database's lock. So two processes at one run share the work, and two runs at once wait for each
//! other tenant by tenant.
//!
//! One task drives: it claims ahead, so that no slot waits for the registry, and writes down what came of many at once. The
//! turns themselves are tasks of their own (`turn`), as many on a server as Portero's own connections there allow.
//!
//! What a run brought stays the fleet's: `schema` says what databases are made with after it.
//!
//! What is to be known before and after a run: `lint` reads migrations, `rehearsal` runs them on clones, `drift` holds tenants
//! against what migrations make. The latter two work in `scratch` databases.

mod blockers;
mod drift;
mod lint;
mod rehearsal;
mod schema;
mod scratch;
mod turn;
mod waves;

pub use drift::{Difference, Drift, DriftError, References, Way};
pub use lint::{Complaint, Level, lint};
pub use rehearsal::{
    CloneError, CloneLimits, LockTaken, Rehearsal, Rehearsed, rehearse, sample, sweep_server,
};
pub use schema::{FleetSchema, SchemaSource, Unfit, files_of, set_of};
pub use scratch::left_behind;
pub use waves::{Waves, WavesError};

pub(crate) use scratch::sweep;

use crate::{ServerError, engine::LEASE, templates::maintenance};
use futures_util::future::join_all;
use portero_kernel::{ServerId, TenantId, with_causes};
use portero_pg::{Migrations, RESERVE};
use portero_registry::{
    Claimant, MigrationResult, MigrationRunRow, MigrationRunStatus, MigrationState, Registry, RegistryError,
    ServerRow, StopRule,
};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};
use turn::{Fleet, Site};
use uuid::Uuid;

/// Of the connections that are Portero's own on a server, those that a run leaves to others: sign-ups, operators.
const LEFT_TO_OTHERS: usize = 4;
/// Results that are written down together, and how long the first of them may wait for more.
const TOGETHER: usize = 128;
const FIRST_WAITS: Duration = Duration::from_millis(200);
/// How often to look at what others have claimed.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// How long the registry may be away before a run is left for another day.
const REGISTRY_RETURNS: Duration = Duration::from_secs(60);

/// For how long somebody who works at a run is taken to be there without another word.
pub const RUN_LEASE: Duration = LEASE;

/// What happens in a run, for whoever looks on.
#[derive(Debug, Clone)]
pub enum FleetEvent {
    /// A wave begins, or is gone on with.
    Wave {
        /// Its number, from 1.
        number: i32,
        /// The number of the last.
        last: i32,
    },
    /// A tenant was seen to.
    Tenant {
        /// As it was called when the run began.
        subdomain: String,
        /// What came of it.
        result: MigrationResult,
    },
    /// Nothing is left to claim, and others have claimed some: or have died, and their leases must run out.
    Waiting,
}

/// Whoever looks on.
pub type Tell<'a> = &'a (dyn Fn(FleetEvent) + Send + Sync);

/// Works at a run until it is at rest, or until told to stop: then what is under way comes to its end, and the run is left
/// for whoever resumes it.
///
/// # Errors
/// The registry, when it is away for longer than a minute. The run can be resumed.
pub async fn run(
    registry: &Registry,
    run: MigrationRunRow,
    set: Migrations,
    tell: Tell<'_>,
    stop: watch::Receiver<bool>,
) -> Result<(), RegistryError> {
    let (halt, halted) = watch::channel(false);
    let sites = sites(registry, &run).await?;
    let fleet = Fleet { registry: registry.clone(), set, lock_timeout: run.lock_timeout, sites, halted };
    let driver = Driver {
        registry: registry.clone(),
        run,
        owner: Uuid::new_v4(),
        fleet: Arc::new(fleet),
        halt,
        turns: JoinSet::new(),
        in_flight: HashMap::new(),
        held: HashSet::new(),
        results: Vec::new(),
        write_by: None,
        tell,
    };
    driver.drive(stop).await
}

/// The servers, each with as many slots as there is room for.
async fn sites(registry: &Registry, run: &MigrationRunRow) -> Result<HashMap<ServerId, Site>, RegistryError> {
    let jobs = usize::try_from(run.jobs).unwrap_or(1);
    let looks = registry.servers().await?.into_iter().map(async |server| {
        // One that doesn't answer is found out by the turns.
        let look = Look::at(&server).await.unwrap_or_default();
        (server, look)
    });
    let sites = join_all(looks).await.into_iter().map(|(server, look)| {
        let slots = Semaphore::new(room(jobs, look.taken));
        (server.id, Site { server, slots, marks: look.marks })
    });
    Ok(sites.collect())
}

/// What is seen of a server when a run begins.
#[derive(Default)]
struct Look {
    /// Portero's own connections there.
    taken: usize,
    /// The comments of databases, by their names. One look at all is cheaper than one in each.
    marks: HashMap<String, String>,
}

impl Look {
    async fn at(server: &ServerRow) -> Result<Self, ServerError> {
        let session = maintenance(&server.admin).await?;
        let taken = "SELECT count(*) FROM pg_catalog.pg_stat_activity
                     WHERE usename = current_user AND pid <> pg_backend_pid()";
        let taken = session.query_one(taken, &[]).await?.get::<_, i64>(0);
        let marks = "SELECT b.datname::text, d.description FROM pg_catalog.pg_database b
                     JOIN pg_catalog.pg_shdescription d
                       ON d.objoid = b.oid AND d.classoid = 'pg_catalog.pg_database'::regclass";
        let marks = session.query(marks, &[]).await?;
        session.close().await;
        Ok(Self {
            taken: usize::try_from(taken).unwrap_or(0),
            marks: marks.iter().map(|row| (row.get(0), row.get(1))).collect(),
        })
    }
}

/// Asks the registry, again and again while it is away.
async fn patiently<T, F>(ask: impl Fn() -> F) -> Result<T, RegistryError>
where
    F: Future<Output = Result<T, RegistryError>>,
{
    let until = Instant::now() + REGISTRY_RETURNS;
    loop {
        match ask().await {
            Err(error @ RegistryError::Unavailable(_)) if Instant::now() < until => {
                tracing::warn!(
                    error = with_causes(&error),
                    "the registry is away: the run goes on when it is back"
                );
                sleep(LOOK_AGAIN * 5).await;
            }
            answer => return answer,
        }
    }
}

/// How many of these jobs may run at once on a server: as many as Portero's own connections there leave room for, and one
/// at least.
fn room(jobs: usize, taken: usize) -> usize {
    jobs.min(RESERVE.saturating_sub(taken + LEFT_TO_OTHERS)).max(1)
}

/// A turn that has ended.
struct Ended {
    server: ServerId,
    subdomain: String,
    /// Nothing where it was given back.
    result: Option<MigrationResult>,
}

/// Works at one run, in this process.
struct Driver<'a> {
    registry: Registry,
    run: MigrationRunRow,
    owner: Uuid,
    fleet: Arc<Fleet>,
    halt: watch::Sender<bool>,
    turns: JoinSet<Ended>,
    in_flight: HashMap<ServerId, usize>,
    /// What was claimed, until it is written down what came of it.
    held: HashSet<TenantId>,
    /// What came of some, and by when that is to be written down.
    results: Vec<MigrationResult>,
    write_by: Option<Instant>,
    tell: Tell<'a>,
}

impl Driver<'_> {
    async fn drive(mut self, mut stop: watch::Receiver<bool>) -> Result<(), RegistryError> {
        let (registry, run, owner) = (self.registry.clone(), self.run.id, self.owner);
        let beats = tokio::spawn(async move {
            loop {
                sleep(LEASE / 3).await;
                if let Err(error) = registry.migration_renew(run, owner, LEASE).await {
                    tracing::warn!(%run, %error, "the leases of a migration run were not renewed");
                }
            }
        });
        let halt = self.halt.clone();
        let listens = tokio::spawn(async move {
            if stop.wait_for(|stop| *stop).await.is_ok() {
                halt.send_replace(true);
            } else {
                // Nobody is left who could say it.
                std::future::pending::<()>().await;
            }
        });
        let outcome = self.waves().await;
        let left = self.come_to_rest().await;
        listens.abort();
        beats.abort();
        outcome.and(left)
    }

    async fn waves(&mut self) -> Result<(), RegistryError> {
        loop {
            let wave = self.run.wave;
            // Nobody may lack what a run brings to those who are yet to come.
            if self.run.last_wave > 0 {
                (self.tell)(FleetEvent::Wave { number: wave, last: self.run.last_wave });
            }
            self.wave(wave).await?;
            self.look().await?;
            if self.is_halted() {
                return Ok(());
            }
            let (registry, run) = (&self.registry, self.run.id);
            // Asked once: the second answer would be that there are none.
            if self.run.last_wave <= wave && registry.migration_add_latecomers(run).await? == 0 {
                return patiently(|| registry.migration_end(run)).await;
            }
            patiently(|| registry.migration_advance(run, wave)).await?;
            // Where others are further, nothing is left of this one.
            self.run.wave = wave + 1;
            self.run.last_wave = self.run.last_wave.max(self.run.wave);
        }
    }

    /// Until every tenant of the wave was seen to, by whomever; or no more are to begin.
    async fn wave(&mut self, wave: i32) -> Result<(), RegistryError> {
        let mut rounds = 0;
        while !self.is_halted() {
            let servers = patiently(|| self.registry.migration_servers(self.run.id, wave)).await?;
            if servers.is_empty() {
                return Ok(());
            }
            // What was left by the round before is somebody else's.
            if rounds == 1 {
                (self.tell)(FleetEvent::Waiting);
            }
            if rounds > 0 {
                sleep(LOOK_AGAIN).await;
                self.look().await?;
            }
            rounds += 1;
            self.claimable(wave, &servers).await?;
        }
        Ok(())
    }

    /// All that can be claimed of a wave.
    async fn claimable(&mut self, wave: i32, servers: &[ServerId]) -> Result<(), RegistryError> {
        let jobs = usize::try_from(self.run.jobs).unwrap_or(1);
        let mut open = servers.to_vec();
        loop {
            for server in std::mem::take(&mut open) {
                let under_way = self.in_flight.get(&server).copied().unwrap_or(0);
                if self.is_halted() {
                    continue;
                }
                let ahead = (3 * jobs).saturating_sub(under_way);
                if under_way > jobs || self.claim(wave, server, ahead).await? == ahead {
                    open.push(server);
                }
            }
            if self.turns.is_empty() {
                return Ok(());
            }
            self.gather(jobs, &open).await;
            if self.is_due() {
                self.write_down(wave).await?;
            }
        }
    }

    async fn claim(&mut self, wave: i32, server: ServerId, count: usize) -> Result<usize, RegistryError> {
        let limit = i64::try_from(count).unwrap_or(i64::MAX);
        let held: Vec<_> = self.held.iter().copied().collect();
        let by = Claimant { owner: self.owner, lease: LEASE, held: &held };
        let claimed =
            patiently(|| self.registry.migration_claim(self.run.id, wave, server, by, limit)).await?;
        let count = claimed.len();
        self.held.extend(claimed.iter().map(|one| one.tenant));
        for one in claimed {
            let fleet = Arc::clone(&self.fleet);
            *self.in_flight.entry(server).or_default() += 1;
            self.turns.spawn(async move {
                let subdomain = one.subdomain.clone();
                Ended { server, subdomain, result: fleet.turn(one).await }
            });
        }
        Ok(count)
    }

    /// Waits for turns to end, until results are due to be written down; and no longer than a server of these can do without
    /// more.
    async fn gather(&mut self, jobs: usize, open: &[ServerId]) {
        while !self.turns.is_empty() && !self.is_due() {
            let next = match self.write_by {
                None => self.turns.join_next().await,
                Some(until) => match timeout_at(until, self.turns.join_next()).await {
                    Ok(next) => next,
                    Err(_) => return,
                },
            };
            let ended = match next {
                Some(Ok(ended)) => ended,
                Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
                None => return,
            };
            let under_way = self.in_flight.entry(ended.server).or_default();
            *under_way -= 1;
            let hungry = *under_way <= jobs && open.contains(&ended.server);
            if let Some(result) = ended.result {
                (self.tell)(FleetEvent::Tenant { subdomain: ended.subdomain, result: result.clone() });
                self.write_by = self.write_by.or_else(|| Some(Instant::now() + FIRST_WAITS));
                self.results.push(result);
            }
            if hungry {
                return;
            }
        }
    }

    /// Whether what is there should be written down. A failure may be the one too many, and no more should begin then.
    fn is_due(&self) -> bool {
        let is_last = self.turns.is_empty() || self.results.len() >= TOGETHER;
        let failed = self.results.last().is_some_and(|result| result.state == MigrationState::Failed);
        let late = self.write_by.is_some_and(|until| Instant::now() >= until);
        !self.results.is_empty() && (is_last || failed || late)
    }

    /// Writes results down. No more begin of a run that is stopped, by these failures or by somebody else's.
    async fn write_down(&mut self, wave: i32) -> Result<(), RegistryError> {
        if self.record(wave).await? {
            self.halt.send_replace(true);
        }
        Ok(())
    }

    /// How many may fail before no more begin. If nobody said: none before the last wave, and any number in it, and where those
    /// are tried again that failed in a run that had seen to everybody.
    fn limit(&self, wave: i32) -> Option<i64> {
        let usual = (wave < self.run.last_wave && !self.run.completed).then_some(0);
        self.run.max_failures.map(i64::from).or(usual)
    }

    /// While the registry is away results are kept: what they say is so already. Says whether the run is at rest now.
    async fn record(&mut self, wave: i32) -> Result<bool, RegistryError> {
        let has_failed = self.results.iter().any(|result| result.state == MigrationState::Failed);
        let stop = self.limit(wave).filter(|_| has_failed).map(|limit| StopRule { wave, limit });
        let until = Instant::now() + REGISTRY_RETURNS;
        loop {
            match self.registry.migration_record(self.run.id, self.owner, &self.results, stop).await {
                Err(error) if Instant::now() < until => {
                    tracing::warn!(%error, "what came of some migrations could not be written down yet");
                    sleep(LOOK_AGAIN * 5).await;
                }
                recorded => {
                    for result in self.results.drain(..) {
                        self.held.remove(&result.tenant);
                    }
                    self.write_by = None;
                    return recorded;
                }
            }
        }
    }

    /// Reads the run as it is now. One that is at rest is not gone on with.
    async fn look(&mut self) -> Result<(), RegistryError> {
        match patiently(|| self.registry.migration_run(self.run.id)).await? {
            Some(run) => self.run = run,
            None => return Err(RegistryError::Unreadable("migration run")),
        }
        if self.run.status != MigrationRunStatus::Running {
            self.halt.send_replace(true);
        }
        Ok(())
    }

    /// No more begin; what is under way ends, and what is not goes back.
    async fn come_to_rest(&mut self) -> Result<(), RegistryError> {
        self.halt.send_replace(true);
        while !self.turns.is_empty() {
            self.gather(0, &[]).await;
            if self.is_due() {
                self.record(self.run.wave).await?;
            }
        }
        self.registry.migration_give_back(self.run.id, self.owner).await?;
        self.registry.migration_leave(self.run.id).await
    }

    fn is_halted(&self) -> bool {
        *self.halt.borrow()
    }
}
