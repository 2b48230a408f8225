//! From a host name to a connection of that tenant's own database, for thousands of databases on one server.
//!
//! A PostgreSQL session belongs to one database, and a server bears a few hundred of them. So few connections are shared
//! by many tenants: fairly, never more than the server was granted, and at no cost where a tenant's connection is warm.
//!
//! - [`Router::lookup`] says whose a subdomain is, in memory and without I/O.
//! - [`Router::serves`] says whether the program runs on the tenant's schema as it is; [`Router::hold`] waits for its
//!   migration.
//! - [`Router::acquire`] lends a [`TenantDb`]: an idle connection of that tenant, or a new one within the server's budget.
//!   Dropped, it goes back.
//! - [`Router::run`] follows the registry's changes and keeps this router's leases: several routers share a server.
//! - [`Router::figures`] tells what goes on.
//! - [`scheduler`] decides who gets a connection and who gives one up. It is pure, and open to whoever wants to test it.
//!
//! ```no_run
//! # async fn example(registry: portero_registry::Registry) -> Result<(), Box<dyn std::error::Error>> {
//! use portero_kernel::Subdomain;
//! use portero_router::{Router, RouterOptions};
//!
//! let router = Router::start(registry, RouterOptions::default()).await?;
//! let (stop, stopped) = tokio::sync::watch::channel(false);
//! let running = tokio::spawn(router.clone().run(stopped));
//!
//! if let Some(route) = router.lookup(&Subdomain::parse("acme").expect("it is one")) {
//!     let db = router.acquire(&route).await?;
//!     let users: i64 = db.query_one("SELECT count(*) FROM users", &[]).await?.get(0);
//! }
//!
//! stop.send_replace(true);
//! running.await?;
//! # Ok(())
//! # }
//! ```
//!
//! **What a borrower may rely on.** The connection was proven to be in that tenant's database. Nothing of whoever had it
//! before is in it: one that was left in the middle of a statement, or whose session a statement may have changed (`SET`,
//! `LISTEN`, a temporary table …), was closed, and a transaction that wasn't committed was rolled back. So a future may be
//! dropped at any point, here and in [`TenantDb`]; it costs a login, and never a slot. What ended a connection from outside
//! while it was idle is noticed when its socket closes, without asking it first: a statement can still find it gone.
//!
//! This room knows no HTTP and no table of a tenant's. `examples/lend.rs` uses it without the rest of Portero;
//! `tests/lending.rs` holds it to what is said here.

mod directory;
mod figures;
mod follow;
pub mod scheduler;
mod schema;
mod server;
mod snapshot;
mod watch;

pub use directory::{Directory, Route};
pub use figures::{Figures, Histogram, HistogramRecorder, ServerFigures, Share, TenantFigures};
pub use schema::{Behind, SchemaFigures, SchemaPolicy};
pub use snapshot::SnapshotError;

use dashmap::{DashMap, DashSet};
use follow::Leash;
use portero_kernel::{RouterId, ServerId, Subdomain, TenantId};
use portero_pg::{Address, TenantDb, tokio_postgres::Config};
use portero_registry::{Registry, RegistryError, ServerRow, TenantStatus};
use scheduler::{Limits, Refusal};
use server::{Refused, Server};
use snapshot::Shelf;
use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};
use time::OffsetDateTime;
use tokio::{
    sync::{Notify, watch as channel},
    task::JoinHandle,
};

/// How a router behaves.
#[derive(Debug, Clone)]
pub struct RouterOptions {
    /// Its name, for people.
    pub name: String,
    /// Whether it lends connections. One that doesn't knows the routes and how the servers are, takes no part of their
    /// connections, and is no router to wait for.
    pub lends: bool,
    /// Where it keeps its last snapshot of the routes, and its id. Without one it can't start while the registry is away.
    pub data_dir: Option<PathBuf>,
    /// How long a request waits for a connection before it is [`AcquireError::Busy`].
    pub deadline: Duration,
    /// How long a login may take.
    pub login: Duration,
    /// How connections are shared; and how many requests may wait, for a connection or for a migration.
    pub limits: Limits,
    /// What the program needs of a tenant's schema.
    pub schema: SchemaPolicy,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            name: "router".to_owned(),
            lends: true,
            data_dir: None,
            deadline: Duration::from_secs(3),
            login: Duration::from_secs(3),
            limits: Limits::default(),
            schema: SchemaPolicy::default(),
        }
    }
}

/// Why no connection was lent.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The tenant's database is still being made.
    #[error("the tenant is being created")]
    Provisioning,
    /// The tenant's door is shut.
    #[error("the tenant is paused")]
    Paused,
    /// The tenant is deleted; its data may still be kept.
    #[error("the tenant is deleted")]
    Deleted,
    /// The tenant's schema is older than what is served; see [`SchemaPolicy`].
    #[error("the tenant waits for its migration")]
    Upgrading,
    /// No connection within the deadline, or too many wait already.
    #[error("no connection became free in time")]
    Busy,
    /// The tenant's server, or its database there, can't be reached.
    #[error("the tenant's database can't be reached")]
    Unavailable,
}

/// Why a router can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The directory for the snapshot can't be used.
    #[error("the directory {} can't be used", .0.display())]
    DataDir(PathBuf, #[source] std::io::Error),
    /// Neither the registry nor a snapshot says which tenants there are.
    #[error(
        "the routes can't be read from the registry ({registry}), and as for a snapshot of them on disk: {snapshot}"
    )]
    NothingKnown {
        /// What the registry said.
        registry: String,
        /// What was found on disk.
        #[source]
        snapshot: SnapshotError,
    },
}

/// A server, its row in the registry, and the way to tell its watch where it is.
struct Watched {
    server: Arc<Server>,
    admin: channel::Sender<Config>,
    watching: JoinHandle<()>,
    row: ServerRow,
}

/// The router. Cheap to clone.
#[derive(Clone)]
pub struct Router(Arc<Shared>);

/// What the clones of a router share.
#[doc(hidden)]
pub struct Shared {
    id: RouterId,
    registry: Registry,
    options: RouterOptions,
    directory: Arc<Directory>,
    servers: DashMap<ServerId, Watched>,
    /// Servers whose rows can't be read, by their names; each was logged.
    unreadable: DashSet<String>,
    clock: AtomicI64,
    registry_clock: AtomicI64,
    reachable: AtomicBool,
    started_without_registry: bool,
    hits: AtomicU64,
    misses: AtomicU64,
    beats: AtomicU64,
    unsaved: AtomicBool,
    /// Somebody else runs under it.
    shares_its_id: AtomicBool,
    saved_clock: AtomicI64,
    invalidation: HistogramRecorder,
    shelf: Option<Arc<Shelf>>,
    leash: Arc<Leash>,
    /// Rung when the leases should be looked at.
    hurry: Arc<Notify>,
}

impl std::ops::Deref for Router {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl Router {
    /// Reads all routes: from the registry, or else from the last snapshot on disk. To be called in a tokio runtime; each
    /// server is watched from now on. Connections are granted, and changes heard of, only once [`Router::run`] runs.
    ///
    /// # Errors
    /// [`StartError`] says what is missing.
    pub async fn start(registry: Registry, options: RouterOptions) -> Result<Self, StartError> {
        let shelf = match &options.data_dir {
            None => None,
            Some(directory) => {
                Shelf::take(directory).map_err(|error| StartError::DataDir(directory.clone(), error))?
            }
        };
        if let (None, Some(directory)) = (&shelf, &options.data_dir) {
            let directory = directory.display();
            tracing::warn!(%directory, "another process has this data directory: nothing is kept, and this one can't start without the registry");
        }
        let saved = shelf.as_ref().map_or(Err(SnapshotError::None), Shelf::read);
        // Its last life's id, so that it has its lease again at once.
        let head = saved.as_ref().ok().and_then(|file| registry.open_snapshot_head(file).ok());
        let id = match head.map(|head| head.router) {
            Some(id) if is_another(&registry, id).await => {
                tracing::error!(
                    router = %id,
                    "a router that runs has the identity in this data directory, which was copied from it: taking another"
                );
                RouterId::generate()
            }
            Some(id) => id,
            None => RouterId::generate(),
        };
        let ((clock, rows), servers, without_registry) = match registry.routes_snapshot().await {
            // Where the servers are is read in a moment.
            Ok(routes) => (routes, Vec::new(), false),
            Err(error) => {
                let known =
                    saved.and_then(|file| registry.open_snapshot(&file).map_err(SnapshotError::Sealed));
                let (head, rows) = known.map_err(|snapshot| StartError::NothingKnown {
                    registry: portero_kernel::with_causes(&error),
                    snapshot,
                })?;
                tracing::warn!(routes = rows.len(), clock = head.clock, %error, "the registry can't be reached: starting from the last snapshot");
                ((head.clock, rows), head.servers, true)
            }
        };
        let directory = Arc::new(Directory::default());
        for row in rows {
            directory.put(Arc::new(Route::from(row)));
        }
        let router = Self(Arc::new(Shared {
            id,
            registry,
            directory,
            servers: DashMap::new(),
            unreadable: DashSet::new(),
            clock: AtomicI64::new(clock),
            registry_clock: AtomicI64::new(clock),
            reachable: AtomicBool::new(!without_registry),
            started_without_registry: without_registry,
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            beats: AtomicU64::new(0),
            unsaved: AtomicBool::new(true),
            shares_its_id: AtomicBool::new(false),
            saved_clock: AtomicI64::new(0),
            invalidation: HistogramRecorder::default(),
            shelf: shelf.map(Arc::new),
            leash: Arc::new(Leash::new()),
            hurry: Arc::new(Notify::new()),
            options,
        }));
        servers.into_iter().for_each(|row| router.put_server(row));
        if !without_registry && let Err(error) = router.learn_servers().await {
            tracing::warn!(%error, "the servers can't be read yet");
        }
        Ok(router)
    }

    /// Whose the subdomain is, as far as this router has heard. No I/O.
    #[must_use]
    pub fn lookup(&self, subdomain: &Subdomain) -> Option<Arc<Route>> {
        let found = self.directory.get(subdomain);
        if found.is_some() { &self.hits } else { &self.misses }.fetch_add(1, Ordering::Relaxed);
        found
    }

    /// Whose the subdomain was, where nobody has it and it still leads on to their present one. No I/O.
    #[must_use]
    pub fn moved(&self, subdomain: &Subdomain) -> Option<Arc<Route>> {
        self.directory.moved(subdomain, OffsetDateTime::now_utc())
    }

    /// Whether the tenant's schema is one that the program serves.
    #[must_use]
    pub fn serves(&self, route: &Route) -> bool {
        route.schema_version >= self.options.schema.serves_from()
    }

    /// Waits for the migration of a tenant that isn't served as it is, for [`SchemaPolicy::hold`] at most: until its route
    /// says something else of it, whatever that is. To be looked up again then. Where as many wait already as may
    /// ([`Limits`]), nothing is waited for.
    pub async fn hold(&self, tenant: TenantId) {
        let (policy, limits) = (&self.options.schema, &self.options.limits);
        if policy.patience().is_zero() {
            return;
        }
        let Some(mut one) = self.directory.held.join(tenant, limits.queue_per_tenant, limits.queue) else {
            return;
        };
        let waits = |route: &Route| route.status == TenantStatus::Active && !self.serves(route);
        let other = one.until(&self.directory, |route| !route.is_some_and(waits));
        let _ = tokio::time::timeout(policy.patience(), other).await;
        let now = self.directory.by_tenant(tenant);
        let served = now.is_some_and(|route| route.status == TenantStatus::Active && self.serves(&route));
        let held = &self.directory.held;
        if served { &held.served } else { &held.in_vain }.fetch_add(1, Ordering::Relaxed);
    }

    /// Lends a connection to the route's database. Where there is none idle and none to be opened, this waits its turn,
    /// for [`RouterOptions::deadline`] at most; dropped, it gives up its place.
    ///
    /// # Errors
    /// [`AcquireError`] says which answer the client deserves.
    pub async fn acquire(&self, route: &Route) -> Result<TenantDb, AcquireError> {
        if let Some(shut) = directory::why_shut(route.status) {
            return Err(shut);
        }
        if !self.serves(route) {
            return Err(AcquireError::Upgrading);
        }
        let server = self.server(route.server).ok_or(AcquireError::Unavailable)?;
        server.lend(route).await.map_err(|refused| match refused {
            Refused::Late | Refused::Scheduler(Refusal::QueueFull) => AcquireError::Busy,
            Refused::Scheduler(Refusal::ServerDown) => AcquireError::Unavailable,
            Refused::Scheduler(Refusal::TenantShut) => {
                let now = self.directory.by_tenant(route.tenant);
                now.and_then(|now| directory::why_shut(now.status)).unwrap_or(AcquireError::Unavailable)
            }
        })
    }

    /// The clock value up to which changes are applied here.
    #[must_use]
    pub fn applied(&self) -> i64 {
        self.clock.load(Ordering::Acquire)
    }

    /// What this router knows, holds and has done.
    #[must_use]
    pub fn figures(&self) -> Figures {
        let mut servers: Vec<_> = self.servers().iter().map(|server| server.figures()).collect();
        servers.sort_by(|a, b| a.name.cmp(&b.name));
        let mut schema = SchemaFigures::count(&self.directory, &self.options.schema);
        self.directory.held.add_to(&mut schema);
        Figures {
            schema,
            routes: self.directory.len(),
            clock: self.applied(),
            clock_lag: (self.registry_clock.load(Ordering::Relaxed) - self.applied()).max(0),
            saved_clock: self.saved_clock.load(Ordering::Relaxed),
            registry_reachable: self.reachable.load(Ordering::Relaxed),
            lookups_hit: self.hits.load(Ordering::Relaxed),
            lookups_missed: self.misses.load(Ordering::Relaxed),
            invalidation: self.invalidation.snapshot(),
            servers,
        }
    }

    /// What each of these tenants has now.
    #[must_use]
    pub fn shares(&self, tenants: &[TenantId]) -> BTreeMap<TenantId, Share> {
        let mut all: BTreeMap<TenantId, Share> = BTreeMap::new();
        for (tenant, share) in self.servers().iter().flat_map(|server| server.shares(tenants)) {
            let sum = all.entry(tenant).or_default();
            sum.in_use += share.in_use;
            sum.idle += share.idle;
            sum.waiting += share.waiting;
        }
        all
    }

    fn servers(&self) -> Vec<Arc<Server>> {
        self.servers.iter().map(|watched| Arc::clone(&watched.server)).collect()
    }

    fn server(&self, id: ServerId) -> Option<Arc<Server>> {
        self.servers.get(&id).map(|watched| Arc::clone(&watched.server))
    }

    fn admin_of(&self, id: ServerId) -> Option<Config> {
        self.servers.get(&id).map(|watched| watched.row.admin.clone())
    }

    fn server_rows(&self) -> Vec<ServerRow> {
        self.servers.iter().map(|watched| watched.row.clone()).collect()
    }

    /// Reads where the servers are; one that is new is watched from now on.
    async fn learn_servers(&self) -> Result<(), RegistryError> {
        for read in self.registry.servers_each().await? {
            match read {
                Ok(row) => {
                    self.unreadable.remove(&row.name);
                    self.put_server(row);
                }
                Err((server, error)) => {
                    if self.unreadable.insert(server.clone()) {
                        tracing::error!(server, %error, "a server's row can't be read: it is used as it was known, if it was");
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks whether every server is watched; it would be used for ever as it was last seen.
    fn mend_watches(&self) {
        for mut watched in self.servers.iter_mut() {
            if watched.watching.is_finished() {
                tracing::error!(
                    server = watched.server.name,
                    "the watch of a server ended by itself: it begins anew"
                );
                let watch = watch::Watch::new(Arc::clone(&watched.server), watched.admin.subscribe());
                watched.watching = tokio::spawn(watch.run());
            }
        }
    }

    fn put_server(&self, row: ServerRow) {
        if let Some(mut watched) = self.servers.get_mut(&row.id) {
            if watched.row.sealed_url != row.sealed_url {
                watched.server.set_address(&Address::of(&row.admin));
                watched.admin.send_replace(row.admin.clone());
                self.unsaved.store(true, Ordering::Relaxed);
                watched.row = row;
            }
            return;
        }
        let server = Server::new(
            row.id,
            row.name.clone(),
            Address::of(&row.admin),
            application_of(self.id),
            server::Surroundings {
                registry: self.registry.clone(),
                directory: Arc::clone(&self.directory),
                leash: Arc::clone(&self.leash),
                hurry: Arc::clone(&self.hurry),
                options: self.options.clone(),
            },
        );
        let (admin, told) = channel::channel(row.admin.clone());
        let watching = tokio::spawn(watch::Watch::new(Arc::clone(&server), told).run());
        self.unsaved.store(true, Ordering::Relaxed);
        self.servers.insert(row.id, Watched { server, admin, watching, row });
    }
}

/// Whether somebody else is running under this id: its beats go on. Those of a former life of ours don't.
async fn is_another(registry: &Registry, id: RouterId) -> bool {
    // Without the registry nobody can say.
    let Ok(Some((before, age))) = registry.router_last_beat(id).await else { return false };
    tokio::time::sleep(follow::OVERDUE.saturating_sub(age)).await;
    registry.router_last_beat(id).await.is_ok_and(|last| last.is_some_and(|(beats, _)| beats > before))
}

/// What the names of all routers' sessions begin with.
const APPLICATION: &str = "portero:";

/// The name that a router's sessions bear on the servers.
fn application_of(router: RouterId) -> String {
    format!("{APPLICATION}{}", router.uuid().simple())
}
