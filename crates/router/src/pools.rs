//! A pool per tenant, made when first asked for and dropped when nobody asks any more, inside each server's limit.

use crate::{
    Route,
    servers::{Server, ServerFigures},
};
use dashmap::DashMap;
use deadpool_postgres::{
    Connect, Hook, HookError, Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType,
};
use portero_kernel::{ServerId, TenantId};
use portero_pg::{Class, TenantDb, classify, connector, prove};
use portero_registry::{Registry, RegistryError, ServerRow, TenantStatus};
use std::{
    pin::Pin,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{sync::OnceCell, task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Config};

/// How often a request that waits for a full server asks for what has become idle.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// How pools behave.
#[derive(Debug, Clone, Copy)]
pub struct RouterOptions {
    /// Connections that one tenant may hold at the same time.
    pub per_tenant: usize,
    /// How long a request waits for a connection.
    pub deadline: Duration,
    /// After how long unused a connection is closed.
    pub idle: Duration,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self { per_tenant: 8, deadline: Duration::from_secs(3), idle: Duration::from_secs(60) }
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
    /// No connection within the deadline.
    #[error("no connection became free in time")]
    Busy,
    /// The tenant's server, or its database there, can't be reached.
    #[error("the tenant's database can't be reached")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What all pools together hold.
#[derive(Debug, Clone, Copy, Default)]
pub struct PoolFigures {
    /// Tenants with a pool.
    pub pools: usize,
    /// Connections lent to requests.
    pub in_use: usize,
    /// Connections waiting to be lent.
    pub idle: usize,
    /// Requests waiting for a connection.
    pub waiting: usize,
}

struct TenantPool {
    generation: i64,
    server: ServerId,
    pool: Pool,
    /// Milliseconds since the pools began, of the last loan.
    used: AtomicU64,
}

pub(crate) struct Pools {
    registry: Registry,
    options: RouterOptions,
    began: Instant,
    pools: DashMap<TenantId, Arc<TenantPool>>,
    servers: DashMap<ServerId, Arc<OnceCell<Arc<Server>>>>,
    /// What the registry said of each server when it was last asked: it may be away when a server is first needed.
    addresses: DashMap<ServerId, ServerRow>,
    me: Weak<Pools>,
}

impl Pools {
    pub(crate) fn new(registry: Registry, options: RouterOptions) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            registry,
            options,
            began: Instant::now(),
            pools: DashMap::new(),
            servers: DashMap::new(),
            addresses: DashMap::new(),
            me: me.clone(),
        })
    }

    pub(crate) async fn acquire(&self, route: &Route) -> Result<TenantDb, AcquireError> {
        match route.status {
            TenantStatus::Active => {}
            TenantStatus::Provisioning => return Err(AcquireError::Provisioning),
            TenantStatus::Paused => return Err(AcquireError::Paused),
        }
        let pool = match self.known(route) {
            Some(pool) => pool,
            None => self.make(route).await?,
        };
        pool.used.store(self.now_millis(), Ordering::Relaxed);
        match pool.pool.get().await {
            Ok(object) => Ok(TenantDb::proven(object, route.tenant)),
            Err(error) => Err(self.explain(&pool, error)),
        }
    }

    fn known(&self, route: &Route) -> Option<Arc<TenantPool>> {
        let pool = self.pools.get(&route.tenant)?;
        (pool.generation == route.generation).then(|| Arc::clone(&pool))
    }

    async fn make(&self, route: &Route) -> Result<Arc<TenantPool>, AcquireError> {
        let server = self.server(route.server).await?;
        let login = self.registry.open_login(route.tenant, &route.sealed_login).map_err(unavailable)?;
        let config =
            server.address.login(login.role().as_str(), &login.password, login.database.as_str(), "portero");
        let connect =
            BudgetedConnect { server: Arc::clone(&server), tenant: route.tenant, pools: self.me.clone() };
        let manager =
            Manager::from_connect(config, connect, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let tenant = route.tenant;
        let pool = Pool::builder(manager)
            .max_size(self.options.per_tenant)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(self.options.deadline))
            .create_timeout(Some(self.options.deadline))
            .post_create(Hook::async_fn(move |client, _| {
                Box::pin(async move {
                    prove(client, tenant).await.map_err(|error| HookError::message(error.to_string()))
                })
            }))
            .build()
            .map_err(unavailable)?;
        let made = Arc::new(TenantPool {
            generation: route.generation,
            server: server.id,
            pool,
            used: AtomicU64::new(self.now_millis()),
        });
        // Two requests may have made one each: the first in the map is everybody's. One of an older route gives way.
        let entry = self.pools.entry(route.tenant).or_insert_with(|| Arc::clone(&made));
        if entry.generation < route.generation {
            let mut entry = entry;
            let before = std::mem::replace(&mut *entry, Arc::clone(&made));
            before.pool.close();
            return Ok(made);
        }
        Ok(Arc::clone(&entry))
    }

    async fn server(&self, id: ServerId) -> Result<Arc<Server>, AcquireError> {
        let cell = Arc::clone(&self.servers.entry(id).or_default());
        cell.get_or_try_init(|| async {
            let known = self.addresses.get(&id).map(|row| row.clone());
            let row = match known {
                Some(row) => row,
                None => {
                    let row = self.registry.server_by_id(id).await.map_err(unavailable)?;
                    row.ok_or_else(|| unavailable(RegistryError::Unreadable("server")))?
                }
            };
            Server::open(row).await.map(Arc::new).map_err(unavailable)
        })
        .await
        .cloned()
    }

    /// Remembers where every server is, and asks each in the background what it can bear.
    pub(crate) async fn learn_servers(&self) -> Result<(), RegistryError> {
        for row in self.registry.servers().await? {
            let (id, pools) = (row.id, self.me.clone());
            self.addresses.insert(id, row);
            tokio::spawn(async move {
                if let Some(pools) = pools.upgrade()
                    && let Err(error) = pools.server(id).await
                {
                    tracing::warn!(server = %id, %error, "a server does not answer yet");
                }
            });
        }
        Ok(())
    }

    fn explain(&self, pool: &TenantPool, error: PoolError) -> AcquireError {
        let full = || {
            self.servers
                .get(&pool.server)
                .and_then(|cell| cell.get().map(|server| server.permits.available_permits() == 0))
                .unwrap_or(false)
        };
        match error {
            PoolError::Timeout(TimeoutType::Wait) => AcquireError::Busy,
            PoolError::Timeout(_) if full() => AcquireError::Busy,
            PoolError::Backend(error) if classify(&error) == Class::TooManyConnections => AcquireError::Busy,
            error => unavailable(error),
        }
    }

    /// Drops a tenant's pool: its route changed. Connections lent out are closed when they come back.
    pub(crate) fn forget(&self, tenant: TenantId) {
        if let Some((_, pool)) = self.pools.remove(&tenant) {
            pool.pool.close();
        }
    }

    /// Closes connections that nobody used for a while, and forgets pools that hold none.
    pub(crate) fn sweep(&self) {
        let idle = self.options.idle;
        self.pools.retain(|_, pool| {
            pool.pool.retain(|_, metrics| metrics.last_used() < idle);
            let unused =
                Duration::from_millis(self.now_millis().saturating_sub(pool.used.load(Ordering::Relaxed)))
                    > idle;
            pool.pool.status().size > 0 || !unused
        });
    }

    /// Makes room on a server: closes the idle connections of the tenant that has used none for the longest.
    fn make_room(&self, server: ServerId, not_of: TenantId) {
        let longest_idle = self
            .pools
            .iter()
            .filter(|entry| {
                *entry.key() != not_of && entry.server == server && entry.pool.status().available > 0
            })
            .min_by_key(|entry| entry.used.load(Ordering::Relaxed))
            .map(|entry| Arc::clone(entry.value()));
        if let Some(pool) = longest_idle {
            pool.pool.retain(|_, _| false);
        }
    }

    pub(crate) fn close(&self) {
        for pool in &self.pools {
            pool.pool.close();
        }
        self.pools.clear();
    }

    pub(crate) fn figures(&self) -> (PoolFigures, Vec<ServerFigures>) {
        let mut figures = PoolFigures { pools: self.pools.len(), ..PoolFigures::default() };
        for pool in &self.pools {
            let status = pool.pool.status();
            figures.idle += status.available;
            figures.in_use += status.size.saturating_sub(status.available);
            figures.waiting += status.waiting;
        }
        let servers =
            self.servers.iter().filter_map(|cell| cell.get().map(|server| server.figures())).collect();
        (figures, servers)
    }

    fn now_millis(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> AcquireError {
    AcquireError::Unavailable(Box::new(error))
}

/// Opens a socket once the server has room for it.
struct BudgetedConnect {
    server: Arc<Server>,
    tenant: TenantId,
    pools: Weak<Pools>,
}

type Connecting<'a> =
    Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), tokio_postgres::Error>> + Send + 'a>>;

impl Connect for BudgetedConnect {
    fn connect(&self, config: &Config) -> Connecting<'_> {
        let config = config.clone();
        Box::pin(async move {
            let permits = Arc::clone(&self.server.permits);
            let permit = match Arc::clone(&permits).try_acquire_owned() {
                Ok(permit) => permit,
                // The pool's create timeout ends a wait that is too long.
                Err(_) => loop {
                    if let Some(pools) = self.pools.upgrade() {
                        pools.make_room(self.server.id, self.tenant);
                    }
                    // Whatever becomes idle meanwhile is asked for again.
                    if let Ok(permit) = timeout(ASK_AGAIN, Arc::clone(&permits).acquire_owned()).await {
                        break permit.expect("the semaphore is never closed");
                    }
                },
            };
            let (client, connection) = config.connect(connector()).await?;
            let driver = tokio::spawn(async move {
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a tenant's connection ended");
                }
                drop(permit);
            });
            Ok((client, driver))
        })
    }
}
