//! From a host name to a connection of that tenant's own database.
//!
//! [`Directory`] says whose a subdomain is, in memory and without I/O; [`Router::acquire`] lends a [`TenantDb`] from
//! that tenant's pool. This room knows no HTTP and no table of a tenant's.

mod directory;
mod pools;
mod servers;

pub use directory::{Directory, Route};
pub use pools::{AcquireError, PoolFigures, RouterOptions};
pub use servers::ServerFigures;

use pools::Pools;
use portero_kernel::Subdomain;
use portero_pg::TenantDb;
use portero_registry::{Bell, Channel, Registry, Result};
use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::sync::watch;

/// How often the clock is read when no bell rings: what a lost notification costs.
const POLL: Duration = Duration::from_secs(1);
/// How often pools are looked over for connections nobody uses.
const SWEEP: Duration = Duration::from_secs(15);

/// The router. Cheap to clone.
#[derive(Clone)]
pub struct Router {
    registry: Registry,
    directory: Arc<Directory>,
    pools: Arc<Pools>,
    clock: Arc<AtomicI64>,
}

impl Router {
    /// Reads all routes.
    ///
    /// # Errors
    /// The registry.
    pub async fn start(registry: Registry, options: RouterOptions) -> Result<Self> {
        let (clock, routes) = registry.routes_snapshot().await?;
        let directory = Arc::new(Directory::default());
        for route in routes {
            directory.put(Route::from(route));
        }
        let pools = Pools::new(registry.clone(), options);
        pools.learn_servers().await?;
        Ok(Self { registry, directory, pools, clock: Arc::new(AtomicI64::new(clock)) })
    }

    /// Whose the subdomain is, as far as this router has heard. No I/O.
    #[must_use]
    pub fn lookup(&self, subdomain: &Subdomain) -> Option<Arc<Route>> {
        self.directory.get(subdomain)
    }

    /// Lends a connection to the route's database.
    ///
    /// # Errors
    /// [`AcquireError`] says which answer the client deserves.
    pub async fn acquire(&self, route: &Route) -> std::result::Result<TenantDb, AcquireError> {
        self.pools.acquire(route).await
    }

    /// The clock value up to which changes are applied here.
    #[must_use]
    pub fn applied(&self) -> i64 {
        self.clock.load(Ordering::Acquire)
    }

    /// How many routes there are, and what the pools hold.
    #[must_use]
    pub fn figures(&self) -> (usize, PoolFigures, Vec<ServerFigures>) {
        let (pools, servers) = self.pools.figures();
        (self.directory.len(), pools, servers)
    }

    /// Applies changes as they come, and lets go of connections nobody uses, until told to stop.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut bell = Bell::new(&self.registry, Channel::Routes);
        let mut sweep = tokio::time::interval(SWEEP);
        let mut heard = true;
        while !*stop.borrow() {
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
            tokio::select! {
                _ = stop.changed() => {}
                () = bell.rung() => {}
                () = tokio::time::sleep(POLL) => {}
                _ = sweep.tick() => self.pools.sweep(),
            }
        }
        self.pools.close();
    }

    async fn catch_up(&self) -> Result<()> {
        let (clock, changes) = self.registry.routes_since(self.applied()).await?;
        for change in changes {
            match change.route {
                Some(row) => self.directory.put(Route::from(row)),
                None => self.directory.remove(change.tenant),
            }
            self.pools.forget(change.tenant);
        }
        self.clock.store(clock, Ordering::Release);
        Ok(())
    }
}
