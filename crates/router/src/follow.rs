//! Following the registry: what changes is heard and applied, and a beat each second keeps the leases.
//!
//! With the registry away everything known is served on, with the connections last granted. A lease that ran out
//! *because this process was frozen* is another matter: others may have been given what it held. So a login looks at the
//! [`Leash`] at every turn, and after such a gap there are none until a beat is answered.

use crate::{
    Route, Router,
    scheduler::Scheduler,
    server::Server,
    watch::{FENCE, fence_off},
};
use portero_kernel::{RouterId, ServerId};
use portero_pg::tokio_postgres::Config;
use portero_registry::{
    Answer, Beat, Bell, Channel, LapsedLease, RegistryError, RouteChanges, RouteRow, SnapshotHead,
    TenantStatus, Use,
};
use std::{
    collections::HashMap,
    future::poll_fn,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    sync::{Notify, watch},
    task::JoinSet,
    time::timeout,
};

/// How often the clock is read when no bell rings: what a lost notification costs.
const POLL: Duration = Duration::from_secs(1);
/// How often a router beats.
const BEAT: Duration = Duration::from_secs(1);
/// How often the snapshot is written, if there is something new.
const KEEP: Duration = Duration::from_millis(200);
/// By when a router that lives has beaten again.
pub(crate) const OVERDUE: Duration = Duration::from_millis(1300);
/// The least time between two beats.
const HASTE: Duration = Duration::from_millis(100);
/// How long a lease lasts after a beat.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// For how long the registry's answer to the least of questions is waited for.
const SILENCE: Duration = Duration::from_secs(2);
/// How long one beat may take. Its statements give up sooner where they wait for another router's.
const BEAT_TAKES: Duration = Duration::from_millis(2500);
/// How soon a router that could not be fenced is tried again: later than a try lasts.
const FENCE_AGAIN: Duration = FENCE.saturating_add(Duration::from_secs(2));
/// For how long the registry keeps what changed; a router that was away for longer reads everything.
const KEEP_LOG: Duration = Duration::from_secs(24 * 3600);
/// How often that is looked after.
const PRUNE: Duration = Duration::from_secs(600);
/// How long connections may take to end when a router stops.
const LAST_CLOSE: Duration = Duration::from_secs(5);

/// Whether this process has been running all along.
pub(crate) struct Leash {
    began: Instant,
    pulled: AtomicU64,
    /// How often the leases were lost.
    losses: AtomicU64,
}

impl Leash {
    pub(crate) fn new() -> Self {
        Self { began: Instant::now(), pulled: AtomicU64::new(0), losses: AtomicU64::new(0) }
    }

    fn pull(&self) {
        self.pulled.store(self.now(), Ordering::Release);
    }

    /// Whether nobody pulled for longer than a lease lasts.
    pub(crate) fn is_slack(&self) -> bool {
        self.now().saturating_sub(self.pulled.load(Ordering::Acquire)) > millis(LEASE)
    }

    /// Goes on with something for as long as this process has the leases that it began with. A login that was under way
    /// when the process was stopped is nowhere to be seen on the server, and ended by nobody: it would be one more than
    /// granted.
    pub(crate) async fn hold<T>(&self, under_way: impl Future<Output = T>) -> Option<T> {
        let losses = self.losses.load(Ordering::Acquire);
        let mut under_way = pin!(under_way);
        poll_fn(|context| {
            if self.is_slack() || self.losses.load(Ordering::Acquire) != losses {
                return Poll::Ready(None);
            }
            under_way.as_mut().poll(context).map(Some)
        })
        .await
    }

    fn now(&self) -> u64 {
        millis(self.began.elapsed())
    }
}

/// Whether to stop. A sender that is gone is as good as told.
fn is_told(stop: &watch::Receiver<bool>) -> bool {
    *stop.borrow() || stop.has_changed().is_err()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Router {
    /// Applies changes as they come and keeps the leases until told to stop; then closes every connection. To be stopped
    /// after the last request was answered. If it ends before it was told to, something in it failed for good: whoever
    /// serves requests by this router should end too, and be started again.
    pub async fn run(self, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(self.clone().follow(stop.clone()));
        tasks.spawn(self.clone().beat(stop.clone()));
        tasks.spawn(self.clone().keep(stop.clone()));
        // Each runs until it is told to stop: the first that ends before has failed.
        while let Some(ended) = tasks.join_next().await {
            if let Err(error) = &ended {
                tracing::error!(%error, "a task of the router ended badly");
            }
            if ended.is_err() || !is_told(&stop) {
                tracing::error!("the router stops");
                return tasks.shutdown().await;
            }
        }
        self.leave().await;
    }

    async fn follow(self, mut stop: watch::Receiver<bool>) {
        let mut bell = Bell::new(&self.registry, Channel::Routes);
        let mut heard = true;
        while !is_told(&stop) {
            bell.listen().await;
            match self.catch_up().await {
                Ok(()) => heard = true,
                // The registry may be away for long: say so once. Known tenants are served on.
                Err(error) if heard => {
                    heard = false;
                    tracing::warn!(%error, "changes of routes can't be read: serving what is known");
                }
                Err(_) => {}
            }
            self.reachable.store(heard, Ordering::Relaxed);
            tokio::select! {
                _ = stop.changed() => {}
                () = bell.rung() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Keeps the snapshot on disk up to date. A hundred thousand routes take a while to write: no more than a twentieth of
    /// the time goes into it.
    async fn keep(self, mut stop: watch::Receiver<bool>) {
        while !is_told(&stop) {
            let began = Instant::now();
            if self.unsaved.swap(false, Ordering::Relaxed) {
                self.save().await;
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(KEEP.max(began.elapsed() * 20)) => {}
            }
        }
        self.save().await;
    }

    /// Applies what changed since the last time.
    async fn catch_up(&self) -> Result<(), RegistryError> {
        match self.registry.routes_since(self.applied()).await? {
            RouteChanges::Since { clock, changes } => {
                if changes.is_empty() {
                    return Ok(());
                }
                for change in changes {
                    match change.route {
                        Some(row) => self.apply(Arc::new(Route::from(row))),
                        None => self.forget(change.tenant),
                    }
                    self.invalidation.observe(change.age);
                }
                self.clock.store(clock, Ordering::Release);
            }
            RouteChanges::Gap => {
                let (clock, rows) = self.registry.routes_snapshot().await?;
                if clock < self.applied() {
                    self.restore(clock, rows);
                    return Ok(());
                }
                let mut gone: HashMap<_, _> =
                    self.directory.all().into_iter().map(|route| (route.tenant, ())).collect();
                for row in rows {
                    gone.remove(&row.tenant);
                    self.apply(Arc::new(Route::from(row)));
                }
                gone.into_keys().for_each(|tenant| self.forget(tenant));
                self.clock.store(clock, Ordering::Release);
            }
        }
        self.unsaved.store(true, Ordering::Relaxed);
        if self.beats.load(Ordering::Relaxed) > 0 {
            self.registry.router_applied(self.id, self.applied()).await?;
        }
        Ok(())
    }

    /// Puts a route in its place, and lets nobody have a connection by an older one.
    fn apply(&self, route: Arc<Route>) {
        let (tenant, generation, open) =
            (route.tenant, route.generation, route.status == TenantStatus::Active);
        if self.directory.put(route) {
            for server in self.servers() {
                server.decide(|scheduling, now| {
                    scheduling.invalidate(now, tenant, generation);
                    if !open {
                        scheduling.shut(tenant);
                    }
                });
            }
        }
    }

    /// The registry is older than what was known: somebody restored it. What it says is true, whatever is remembered.
    fn restore(&self, clock: i64, rows: Vec<RouteRow>) {
        tracing::warn!(
            known = self.applied(),
            clock,
            "the registry has gone back in time, as after a restore: its routes replace all that were known"
        );
        self.directory.restore(rows.into_iter().map(|row| Arc::new(Route::from(row))));
        for server in self.servers() {
            server.decide(Scheduler::start_over);
        }
        self.clock.store(clock, Ordering::Release);
        self.unsaved.store(true, Ordering::Relaxed);
    }

    fn forget(&self, tenant: portero_kernel::TenantId) {
        self.directory.remove(tenant);
        for server in self.servers() {
            server.decide(|scheduling, now| {
                scheduling.invalidate(now, tenant, i64::MAX);
                scheduling.shut(tenant);
            });
        }
    }

    async fn save(&self) {
        let Some(shelf) = self.shelf.clone() else { return };
        let shared = self.shares_its_id.load(Ordering::Relaxed);
        // When it is started again it has one of its own.
        let router = if shared { RouterId::generate() } else { self.id };
        let head = SnapshotHead { router, clock: self.applied(), servers: self.server_rows() };
        let (registry, routes, clock) = (self.registry.clone(), self.directory.all(), head.clock);
        let written = tokio::task::spawn_blocking(move || {
            shelf.write(&registry, &head, routes.iter().map(|route| route.to_row()))
        });
        match written.await {
            Ok(Ok(())) => self.saved_clock.store(clock, Ordering::Relaxed),
            Ok(Err(error)) => {
                self.unsaved.store(true, Ordering::Relaxed);
                tracing::warn!(%error, "the snapshot of routes can't be written: a start without the registry would fail");
            }
            Err(error) => tracing::error!(%error, "writing the snapshot of routes ended badly"),
        }
    }

    async fn beat(self, mut stop: watch::Receiver<bool>) {
        let mut leases = Leases::default();
        let mut pruned = Instant::now();
        while !is_told(&stop) {
            if self.leash.is_slack() && leases.live != 1 {
                tracing::warn!(
                    "this process stood still for longer than its leases last: no logins until they are renewed"
                );
                leases.lose(&self);
            }
            self.leash.pull();
            // What a beat was answered before the process stood still is worth nothing after it.
            let Some(hurry) = self.leash.hold(leases.beat(&self)).await else { continue };
            self.leash.pull();
            if leases.shared {
                tracing::error!(router = %self.id, "another process runs under this router's identity: its data directory was copied");
                self.shares_its_id.store(true, Ordering::Relaxed);
                return self.save().await;
            }
            self.mend_watches();
            if pruned.elapsed() >= PRUNE {
                pruned = Instant::now();
                // The next time will do.
                let _ = self.registry.route_log_prune(KEEP_LOG).await;
            }
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(if hurry { HASTE } else { BEAT }) => {}
                () = self.hurry.notified(), if !hurry => tokio::time::sleep(HASTE).await,
            }
        }
    }

    /// Closes all connections and gives up the leases.
    async fn leave(&self) {
        let servers = self.servers();
        for server in &servers {
            server.decide(|scheduling, now| scheduling.close_all(now));
        }
        let closed = async {
            while servers.iter().any(|server| server.counts().open() > 0) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(LAST_CLOSE, closed).await.is_ok() {
            // Nobody is there to be told of an error; the leases then run out.
            let _ = timeout(LAST_CLOSE, self.registry.router_leave(self.id)).await;
        }
    }
}

/// What a router knows of its leases.
#[derive(Default)]
struct Leases {
    held: HashMap<ServerId, usize>,
    /// Routers that lived at the last answer, this one included.
    live: usize,
    /// Since when every beat was answered.
    answered_since: Option<Instant>,
    /// When the last beat was sent that was answered.
    answered: Option<Instant>,
    /// How many beats may have been counted by now, if they are all this router's.
    counted: Option<i64>,
    /// Somebody else's were counted too.
    shared: bool,
    /// Leases that ran out whose connections are being ended, and those that have been: told with the next beat.
    fencing: JoinSet<Option<LapsedLease>>,
    fenced: Vec<LapsedLease>,
    /// When that was last begun, by server and router.
    tried: HashMap<(ServerId, RouterId), Instant>,
}

impl Leases {
    /// One beat; says whether the next should follow at once.
    async fn beat(&mut self, router: &Router) -> bool {
        // The least that the registry can be asked: if it doesn't answer that, its connections are dead, or it is.
        match timeout(SILENCE, router.learn_servers()).await {
            Ok(Ok(())) => {}
            // That the registry is away is said by whoever follows it.
            Ok(Err(error)) => tracing::debug!(%error, "the servers can't be read"),
            Err(_) => {
                tracing::warn!("the registry was silent for {SILENCE:?}: asking over new connections");
                router.registry.give_up_connections();
            }
        }
        if !router.options.lends {
            return false;
        }
        while let Some(ended) = self.fencing.try_join_next() {
            self.fenced.extend(ended.ok().flatten());
        }
        let servers: Vec<Arc<Server>> = router.servers();
        let uses: Vec<Use> = servers.iter().filter_map(|server| self.use_of(server)).collect();
        let capacities = uses.iter().map(|used| (used.server, used.capacity)).collect();
        let beat = Beat {
            router: router.id,
            name: router.options.name.clone(),
            address: None,
            applied: router.applied(),
            ttl: LEASE,
            fenced: std::mem::take(&mut self.fenced),
            servers: uses,
        };
        let sent = Instant::now();
        self.counted = self.counted.map(|counted| counted + 1);
        match timeout(BEAT_TAKES, router.registry.router_beat(&beat)).await {
            Ok(Ok(answer)) => {
                self.answered_since.get_or_insert(sent);
                self.answered = Some(sent);
                self.shared = self.counted.is_some_and(|counted| answer.beats > counted);
                self.counted = Some(answer.beats);
                router.beats.fetch_add(1, Ordering::Relaxed);
                self.adopt(router, answer, &capacities).await
            }
            outcome => {
                if outcome.is_err() {
                    router.registry.give_up_connections();
                }
                self.answered_since = None;
                // Without a word from the registry, and never granted anything: as much as the server bears.
                let alone = router.started_without_registry && self.live == 0;
                for server in servers.iter().filter(|_| alone) {
                    let capacity = server.capacity();
                    if capacity > 0 && !self.held.contains_key(&server.id) {
                        server.grant(capacity, capacity);
                        self.held.insert(server.id, capacity);
                    }
                }
                let lapsed = self.answered.is_some_and(|answered| answered.elapsed() > LEASE);
                if alone || (lapsed && self.live > 1) {
                    servers.iter().for_each(|server| server.cut_off());
                }
                false
            }
        }
    }

    fn use_of(&self, server: &Server) -> Option<Use> {
        let capacity = server.capacity();
        let counts = server.counts();
        (capacity > 0).then(|| Use {
            server: server.id,
            capacity,
            held: self.held.get(&server.id).copied().unwrap_or(0),
            wanted: (counts.open() + counts.waiting).min(capacity),
            used: counts.open(),
        })
    }

    async fn adopt(&mut self, router: &Router, answer: Answer, of: &HashMap<ServerId, usize>) -> bool {
        self.live = answer.live;
        router.registry_clock.store(answer.clock, Ordering::Relaxed);
        let mut hurry = false;
        for (id, granted) in answer.granted {
            if let Some(server) = router.server(id) {
                let before = self.held.insert(id, granted).unwrap_or(0);
                server.grant(granted, of.get(&id).copied().unwrap_or(0));
                let counts = server.counts();
                // What was given up is free for others with the beat that says so; what is wanted may be there by then.
                hurry |= granted < before || counts.open() > granted;
                hurry |= counts.waiting > 0 && granted < server.capacity();
            }
        }
        // After an outage of the registry everybody's lease has run out: whoever is back first must not shut the others
        // out. So only one who was answered for as long as a lease lasts may judge.
        let may_judge = self.answered_since.is_some_and(|since| since.elapsed() >= LEASE);
        self.tried.retain(|_, began| began.elapsed() < FENCE_AGAIN);
        for lease in answer.lapsed.into_iter().filter(|_| may_judge) {
            let key = (lease.server, lease.router);
            if let Some(admin) = router.admin_of(lease.server)
                && !self.tried.contains_key(&key)
            {
                self.tried.insert(key, Instant::now());
                self.fencing.spawn(fence(lease, admin, Arc::clone(&router.hurry)));
            }
        }
        hurry
    }

    /// Others may have been given what this one held.
    fn lose(&mut self, router: &Router) {
        router.leash.losses.fetch_add(1, Ordering::Release);
        self.held.clear();
        self.answered_since = None;
        for server in router.servers() {
            server.grant(0, 0);
        }
    }
}

/// Ends what a router that says nothing any more left on a server. Beside the beats: a server that hangs must not make
/// this router miss its own.
async fn fence(lease: LapsedLease, admin: Config, hurry: Arc<Notify>) -> Option<LapsedLease> {
    if !fence_off(&admin, &crate::application_of(lease.router)).await {
        return None;
    }
    tracing::warn!(router = %lease.router, server = %lease.server, "a router is gone: its connections were ended");
    hurry.notify_one();
    Some(lease)
}
