//! One server's connections: the scheduler under a lock, and the sockets that do what it wishes.
//!
//! The lock is held for the decision alone, some hundreds of nanoseconds; whatever is to be done is done after it.
//! A [`Permit`] goes into each socket and tells the scheduler of its end, so that no path, however it is cut short, can
//! lose a slot or use one twice.

use crate::{
    Directory, Route, RouterOptions,
    figures::{HistogramRecorder, ServerFigures, Share, TenantFigures},
    follow::Leash,
    scheduler::{Breaker, Connection, Failure, Path, Reason, Refusal, Scheduler, SlotId, Wish},
};
use dashmap::DashMap;
use portero_kernel::{ServerId, TenantId, with_causes};
use portero_pg::{
    Address, Class, Endpoint, Fate, Lender, OpenError, Stale, TenantConnection, TenantDb, classify,
    thread_number,
};
use portero_registry::{Registry, RegistryError, TenantStatus};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    task::AbortHandle,
    time::timeout,
};
use tokio_postgres::error::SqlState;

/// How many tenants the figures name.
const TOP: usize = 12;

impl Connection for TenantConnection {
    fn is_closed(&self) -> bool {
        Self::is_closed(self)
    }

    fn home(&self) -> u64 {
        Self::home(self)
    }
}

type Waiter = oneshot::Sender<Result<TenantDb, Refusal>>;
type Scheduling = Scheduler<TenantConnection, Waiter>;

/// A server that tenants' databases are on.
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) address: RwLock<Address>,
    /// Which of its hosts answered last.
    pub(crate) answering: RwLock<Option<Endpoint>>,
    /// Rung when something suggests that the server doesn't answer.
    pub(crate) nudge: Notify,
    /// Connections that tenants together may hold, as the server said.
    capacity: AtomicUsize,
    /// What this router was granted, and of which capacity.
    lease: Mutex<Lease>,
    /// Nobody says what others were granted meanwhile.
    cut_off: AtomicBool,
    /// Sessions that the server counts as this router's, less those that the router counts.
    pub(crate) drift: AtomicI64,
    scheduling: Mutex<Scheduling>,
    cutters: DashMap<SlotId, AbortHandle>,
    /// The runtimes of the threads that requests came from: a login goes where it is wished for.
    homes: DashMap<u64, Handle>,
    application: String,
    began: Instant,
    around: Surroundings,
    connects: HistogramRecorder,
    checkouts: [HistogramRecorder; Path::ALL.len()],
    /// Statements that a migration had made stale: retried, and told to whoever asked.
    stale: [AtomicU64; 2],
    connect_failures: Mutex<BTreeMap<String, u64>>,
    me: Weak<Self>,
}

/// What a router was granted of a server.
#[derive(Debug, Default, Clone, Copy)]
struct Lease {
    connections: usize,
    of: usize,
    /// Connections that other routers were seen to have, while nobody says what they were granted.
    others: usize,
}

impl Lease {
    /// What it is worth on a server that turned out to have less: the same part of it, so that all routers' together fit
    /// even before the registry has dealt them anew.
    fn within(self, capacity: usize) -> usize {
        let part = if capacity < self.of { self.connections * capacity / self.of } else { self.connections };
        part.min(capacity.saturating_sub(self.others))
    }
}

/// What a server needs of the router that it belongs to.
pub(crate) struct Surroundings {
    pub(crate) registry: Registry,
    pub(crate) directory: Arc<Directory>,
    pub(crate) leash: Arc<Leash>,
    /// Rung when the leases should be looked at.
    pub(crate) hurry: Arc<Notify>,
    pub(crate) options: RouterOptions,
}

/// A slot, as long as a socket of it lasts.
struct Permit {
    server: Arc<Server>,
    slot: SlotId,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.server.cutters.remove(&self.slot);
        let unasked = self.server.decide(|scheduling, now| {
            // A login that was dropped half-way: its runtime ends, and another one spawned now would be dropped like this.
            scheduling.failed(now, self.slot, Failure::Server);
            scheduling.gone(now, self.slot)
        });
        if unasked {
            self.server.nudge.notify_one();
        }
    }
}

/// A place in the queue, given up when the request is dropped.
struct Place<'a> {
    server: &'a Server,
    tenant: TenantId,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.server.decide(|scheduling, now| scheduling.cancel(now, self.tenant, self.number));
    }
}

/// Why a login came to nothing.
enum NoLogin {
    /// The route is not what it was when the login was wished for.
    Outdated,
    /// The tenant's door is shut.
    Shut,
    /// The route's secret doesn't open, or can't be read again.
    Registry(RegistryError),
    /// PostgreSQL, or the way there.
    Open(OpenError),
    /// It took too long.
    Late,
}

impl Server {
    pub(crate) fn new(
        id: ServerId,
        name: String,
        address: Address,
        application: String,
        around: Surroundings,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            id,
            name,
            address: RwLock::new(address),
            answering: RwLock::default(),
            nudge: Notify::new(),
            capacity: AtomicUsize::new(0),
            lease: Mutex::default(),
            cut_off: AtomicBool::new(false),
            drift: AtomicI64::new(0),
            scheduling: Mutex::new(Scheduler::new(around.options.limits)),
            cutters: DashMap::new(),
            homes: DashMap::new(),
            application,
            began: Instant::now(),
            around,
            connects: HistogramRecorder::default(),
            checkouts: Default::default(),
            stale: Default::default(),
            connect_failures: Mutex::default(),
            me: me.clone(),
        })
    }

    /// Lends a connection to this tenant.
    pub(crate) async fn lend(&self, route: &Route) -> Result<TenantDb, Refused> {
        let (began, home) = (Instant::now(), thread_number());
        // Before anybody can wish for a login there.
        if !self.homes.contains_key(&home) {
            self.homes.insert(home, Handle::current());
        }
        let taken = {
            let mut scheduling = self.scheduling();
            let now = began.saturating_duration_since(self.began);
            match scheduling.take(now, route.tenant, home) {
                Some(taken) => Ok((taken, scheduling.wishes())),
                None => {
                    let (waiter, answer) = oneshot::channel();
                    let place = scheduling.wait(now, route.tenant, route.weight.into(), home, waiter);
                    Err((place.map_err(|(_, why)| Refused::Scheduler(why)), answer, scheduling.wishes()))
                }
            }
        };
        match taken {
            Ok(((slot, connection), wishes)) => {
                let lent = self.lent(slot, connection);
                self.fulfil(wishes);
                self.checkouts[Path::Idle as usize].observe(began.elapsed());
                Ok(lent)
            }
            Err((place, answer, wishes)) => {
                self.fulfil(wishes);
                let (number, path) = place?;
                let _place = Place { server: self, tenant: route.tenant, number };
                let answer =
                    timeout(self.around.options.deadline, answer).await.map_err(|_| Refused::Late)?;
                // Each waiter is answered before it is dropped; a runtime that ends drops them all.
                let lent = answer.map_err(|_| Refused::Late)?.map_err(Refused::Scheduler)?;
                self.checkouts[path as usize].observe(began.elapsed());
                Ok(lent)
            }
        }
    }

    /// Makes a decision, and does what it wishes.
    pub(crate) fn decide<T>(&self, decision: impl FnOnce(&mut Scheduling, Duration) -> T) -> T {
        let (outcome, wishes) = {
            let mut scheduling = self.scheduling();
            let outcome = decision(&mut scheduling, self.began.elapsed());
            (outcome, scheduling.wishes())
        };
        self.fulfil(wishes);
        outcome
    }

    pub(crate) fn breaker(&self) -> Breaker {
        self.scheduling().breaker()
    }

    pub(crate) fn counts(&self) -> crate::scheduler::Counts {
        self.scheduling().counts()
    }

    /// Connections that tenants together may hold, as the server last said; 0 before it has.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity.load(Ordering::Relaxed)
    }

    pub(crate) fn set_capacity(&self, capacity: usize) {
        if self.capacity.swap(capacity, Ordering::Relaxed) != capacity {
            self.grant_again(|_| {});
            self.around.hurry.notify_one();
        }
    }

    /// So many connections may be open from now on, of a capacity that was thought to be this.
    pub(crate) fn grant(&self, connections: usize, of: usize) {
        self.cut_off.store(false, Ordering::Relaxed);
        self.grant_again(|lease| *lease = Lease { connections, of, others: 0 });
    }

    /// The lease has run out, and others may have been given what it was for: from now on the server is looked at for
    /// what they have there, until the next grant.
    pub(crate) fn cut_off(&self) {
        self.cut_off.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_cut_off(&self) -> bool {
        self.cut_off.load(Ordering::Relaxed)
    }

    /// So many connections others have.
    pub(crate) fn set_others(&self, others: usize) {
        self.grant_again(|lease| {
            // Word of a grant came meanwhile.
            if self.is_cut_off() {
                lease.others = others;
            }
        });
    }

    fn grant_again(&self, change: impl FnOnce(&mut Lease)) {
        let mut lease = self.lease.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut lease);
        let granted = lease.within(self.capacity());
        self.decide(|scheduling, now| scheduling.set_granted(now, granted));
    }

    /// The name that this router's sessions bear.
    pub(crate) fn application(&self) -> &str {
        &self.application
    }

    pub(crate) fn figures(&self) -> ServerFigures {
        let scheduling = self.scheduling();
        let counts = scheduling.counts();
        let mut tenants: Vec<_> = scheduling.tenants().collect();
        let (breaker, epoch, evictions) = (scheduling.breaker(), scheduling.epoch(), scheduling.evictions());
        drop(scheduling);
        tenants.sort_unstable_by_key(|(tenant, in_use, idle, waiting)| {
            (std::cmp::Reverse((waiting + in_use, *idle)), *tenant)
        });
        let top = tenants
            .into_iter()
            .filter_map(|(tenant, in_use, idle, waiting)| {
                let route = self.around.directory.by_tenant(tenant)?;
                Some(TenantFigures { tenant, subdomain: route.subdomain.to_string(), in_use, idle, waiting })
            })
            .take(TOP)
            .collect();
        ServerFigures {
            id: self.id,
            name: self.name.clone(),
            capacity: self.capacity(),
            granted: counts.granted,
            in_use: counts.in_use,
            idle: counts.idle,
            connecting: counts.connecting,
            closing: counts.closing,
            waiting: counts.waiting,
            waiting_tenants: counts.waiting_tenants,
            active_tenants: counts.active_tenants,
            breaker,
            epoch,
            drift: self.drift.load(Ordering::Relaxed),
            evictions: Reason::ALL.map(|reason| (reason.as_str(), evictions[reason as usize])),
            stale_statements: [("retried", Stale::Retried), ("told", Stale::Told)]
                .map(|(name, stale)| (name, self.stale[stale as usize].load(Ordering::Relaxed))),
            connect_failures: self.connect_failures.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            checkout: Path::ALL.map(|path| (path.as_str(), self.checkouts[path as usize].snapshot())),
            connect: self.connects.snapshot(),
            top,
        }
    }

    /// What these tenants have here.
    pub(crate) fn shares(&self, tenants: &[TenantId]) -> Vec<(TenantId, Share)> {
        let scheduling = self.scheduling();
        let share = |tenant: &TenantId| {
            let (in_use, idle, waiting) = scheduling.tenant(*tenant);
            (*tenant, Share { in_use, idle, waiting })
        };
        tenants.iter().map(share).collect()
    }

    fn scheduling(&self) -> MutexGuard<'_, Scheduling> {
        // A panic under the lock would be a mistake of the scheduler's; its counts are still the best there is.
        self.scheduling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn this(&self) -> Arc<Self> {
        self.me.upgrade().expect("called through the Arc that it lives in")
    }

    fn lent(&self, slot: SlotId, connection: TenantConnection) -> TenantDb {
        TenantDb::lend(connection, self.this(), slot.0)
    }

    fn fulfil(&self, wishes: Vec<Wish<TenantConnection, Waiter>>) {
        for wish in wishes {
            match wish {
                Wish::Connect { slot, tenant, home } => {
                    let permit = Arc::new(Permit { server: self.this(), slot });
                    if let Some(home) = self.homes.get(&home).map(|home| home.clone()) {
                        home.spawn(log_in(permit, tenant));
                    }
                }
                Wish::Close { connection, .. } => connection.close(),
                Wish::Cut { slot } => {
                    if let Some(cutter) = self.cutters.get(&slot) {
                        cutter.abort();
                    }
                }
                // A waiter that left meanwhile drops what it is sent, which brings it back.
                Wish::Give { waiter, slot, connection } => drop(waiter.send(Ok(self.lent(slot, connection)))),
                Wish::Refuse { waiter, why } => drop(waiter.send(Err(why))),
                Wish::Wake { after } => {
                    let server = self.this();
                    if let Ok(runtime) = Handle::try_current() {
                        runtime.spawn(async move {
                            tokio::time::sleep(after).await;
                            server.decide(Scheduling::tick);
                        });
                    }
                }
            }
        }
    }

    async fn open(&self, tenant: TenantId, permit: &Arc<Permit>) -> Result<(TenantConnection, i64), NoLogin> {
        let route = self.around.directory.by_tenant(tenant).ok_or(NoLogin::Shut)?;
        match self.open_by(&route, permit).await {
            // The password may have changed a moment ago, and word of it be under way.
            Err(NoLogin::Open(OpenError::Login(error)))
                if error.code() == Some(&SqlState::INVALID_PASSWORD) =>
            {
                let row = self.around.registry.route_of(tenant).await.map_err(NoLogin::Registry)?;
                let newer = row.map(Route::from).filter(|newer| newer.sealed_login != route.sealed_login);
                match newer {
                    Some(newer) => {
                        let newer = Arc::new(newer);
                        self.around.directory.put(Arc::clone(&newer));
                        self.open_by(&newer, permit).await
                    }
                    None => Err(NoLogin::Open(OpenError::Login(error))),
                }
            }
            outcome => outcome,
        }
    }

    async fn open_by(&self, route: &Route, permit: &Arc<Permit>) -> Result<(TenantConnection, i64), NoLogin> {
        if route.server != self.id {
            return Err(NoLogin::Outdated);
        }
        if route.status != TenantStatus::Active {
            return Err(NoLogin::Shut);
        }
        let login =
            self.around.registry.open_login(route.tenant, &route.sealed_login).map_err(NoLogin::Registry)?;
        let config = self.address.read().unwrap_or_else(PoisonError::into_inner).login(
            login.role().as_str(),
            &login.password,
            login.database.as_str(),
            &self.application,
        );
        let within = self.around.options.login;
        let first = self.answering.read().unwrap_or_else(PoisonError::into_inner).clone();
        let connection =
            TenantConnection::open(&config, route.tenant, Arc::clone(permit), first.as_ref(), within)
                .await
                .map_err(NoLogin::Open)?;
        Ok((connection, route.generation))
    }

    fn note_failure(&self, tenant: TenantId, why: &NoLogin) -> Failure {
        let (failure, key, cause) = match why {
            NoLogin::Outdated => (Failure::Tenant, None, None),
            NoLogin::Shut => (Failure::Tenant, None, None),
            NoLogin::Registry(error) => (Failure::Tenant, None, Some(with_causes(error))),
            NoLogin::Late => (Failure::Server, Some("timeout"), None),
            NoLogin::Open(error) => {
                let (failure, key) = verdict(error);
                (failure, Some(key), Some(with_causes(error)))
            }
        };
        if let Some(key) = key {
            let mut failures = self.connect_failures.lock().unwrap_or_else(PoisonError::into_inner);
            *failures.entry(key.to_owned()).or_default() += 1;
        }
        // The server's own troubles are told once, by whoever watches it.
        if failure == Failure::Tenant
            && let Some(cause) = cause
        {
            tracing::warn!(%tenant, server = self.name, cause, "a tenant's database can't be logged in to");
        }
        failure
    }
}

/// Why nothing was lent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Scheduler(Refusal),
    Late,
}

async fn log_in(permit: Arc<Permit>, tenant: TenantId) {
    let (server, slot) = (&permit.server, permit.slot);
    let began = Instant::now();
    let login = timeout(server.around.options.login, server.open(tenant, &permit));
    let Some(outcome) = server.around.leash.hold(login).await else {
        server.decide(|scheduling, now| scheduling.failed(now, slot, Failure::Server));
        return;
    };
    let outcome = outcome.unwrap_or(Err(NoLogin::Late));
    match outcome {
        Ok((connection, generation)) => {
            server.connects.observe(began.elapsed());
            server.cutters.insert(slot, connection.cutter());
            server.decide(|scheduling, now| scheduling.opened(now, slot, generation, connection));
        }
        Err(why) => {
            let failure = server.note_failure(tenant, &why);
            server.decide(|scheduling, now| scheduling.failed(now, slot, failure));
            if failure == Failure::Server {
                server.nudge.notify_one();
            }
        }
    }
}

/// Whose fault a failed login is, and the name it is counted under.
fn verdict(error: &OpenError) -> (Failure, &str) {
    let error = match error {
        OpenError::Unreachable(_) => return (Failure::Server, "io"),
        OpenError::ReadOnly => return (Failure::Server, "25006"),
        OpenError::Login(error) | OpenError::NotTheTenant(portero_pg::NotTheTenant::Unreadable(error)) => {
            error
        }
        OpenError::NotTheTenant(_) => return (Failure::Tenant, "wrong-mark"),
    };
    let failure = match classify(error) {
        // "too many connections for role", or for the database: the server has room for others.
        Class::TooManyConnections => match error.as_db_error().and_then(|db| db.routine()) {
            Some("InitializeSessionUserId" | "CheckMyDatabase") => Failure::TenantFull,
            _ => Failure::Full,
        },
        Class::Unavailable => Failure::Server,
        _ => Failure::Tenant,
    };
    (failure, error.code().map_or("io", SqlState::code))
}

impl Lender for Server {
    fn take_back(&self, ticket: u64, connection: TenantConnection, fate: Fate) {
        if fate == Fate::Suspect {
            self.nudge.notify_one();
        }
        self.decide(|scheduling, now| {
            scheduling.release(now, SlotId(ticket), connection, fate == Fate::Clean);
        });
    }

    fn note_stale(&self, stale: Stale) {
        self.stale[stale as usize].fetch_add(1, Ordering::Relaxed);
    }
}
