//! The servers' side of it: where each is, and how many connections it can bear.
//!
//! A permit is taken before a socket is opened and moved into the task that drives it: it lives exactly as long as the
//! socket, so the count can't drift.

use portero_kernel::ServerId;
use portero_pg::{Address, connect};
use portero_registry::ServerRow;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Connections left for operators, for provisioning, and for the registry where it is on the same server.
const RESERVE: usize = 24;

/// A server that tenants' databases are on.
pub(crate) struct Server {
    pub(crate) id: ServerId,
    pub(crate) name: String,
    pub(crate) address: Address,
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) capacity: usize,
}

/// What a server's connections are doing.
#[derive(Debug, Clone)]
pub struct ServerFigures {
    /// Its name.
    pub name: String,
    /// Connections that all tenants together may hold.
    pub capacity: usize,
    /// Connections that are open or being opened.
    pub open: usize,
}

impl Server {
    /// Asks the server how many connections it can bear.
    pub(crate) async fn open(row: ServerRow) -> Result<Self, tokio_postgres::Error> {
        let session = connect(&row.admin).await?;
        let limits = session
            .query_one(
                "SELECT current_setting('max_connections')::integer - current_setting('superuser_reserved_connections')::integer",
                &[],
            )
            .await?;
        session.close().await;
        let usable = usize::try_from(limits.get::<_, i32>(0)).unwrap_or(0);
        let capacity = usable.saturating_sub(RESERVE).max(1);
        Ok(Self {
            id: row.id,
            name: row.name,
            address: Address::of(&row.admin),
            permits: Arc::new(Semaphore::new(capacity)),
            capacity,
        })
    }

    pub(crate) fn figures(&self) -> ServerFigures {
        ServerFigures {
            name: self.name.clone(),
            capacity: self.capacity,
            open: self.capacity - self.permits.available_permits(),
        }
    }
}
