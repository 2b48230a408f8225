//! The least that can share few connections among many databases: a list of idle ones in the order of their last use,
//! and a bound. No fairness, no failures, no changes: it is what the router's budget is compared with.

use anyhow::Result;
use portero_pg::{Session, connect};
use std::{collections::VecDeque, sync::Mutex};
use tokio::sync::Semaphore;
use tokio_postgres::Config;

pub(crate) struct Lru {
    logins: Vec<Config>,
    /// One for each connection in use.
    permits: Semaphore,
    state: Mutex<State>,
    capacity: usize,
}

#[derive(Default)]
struct State {
    /// Oldest first, each with its tenant.
    idle: VecDeque<(usize, Session)>,
    open: usize,
}

/// What to do for a connection.
enum Plan {
    Take(Session),
    Connect,
    /// This one goes first.
    Replace(Session),
}

impl Lru {
    pub(crate) fn new(logins: Vec<Config>, capacity: usize) -> Self {
        Self { logins, permits: Semaphore::new(capacity), state: Mutex::default(), capacity }
    }

    /// Runs the SELECT in a tenant's database.
    pub(crate) async fn select(&self, tenant: usize) -> Result<()> {
        let _permit = self.permits.acquire().await?;
        let plan = self.plan(tenant);
        let session = match plan {
            Plan::Take(session) => session,
            Plan::Connect => self.connect(tenant).await?,
            Plan::Replace(oldest) => {
                oldest.close().await;
                self.connect(tenant).await?
            }
        };
        session.query_one("SELECT 1", &[]).await?;
        self.lock().idle.push_back((tenant, session));
        Ok(())
    }

    fn plan(&self, tenant: usize) -> Plan {
        let mut state = self.lock();
        // The latest first: it is the warmest.
        let own = state.idle.iter().rposition(|(of, _)| *of == tenant);
        if let Some((_, session)) = own.and_then(|own| state.idle.remove(own)) {
            return Plan::Take(session);
        }
        if state.open < self.capacity {
            state.open += 1;
            return Plan::Connect;
        }
        // A permit in hand and all open: so one of them is idle.
        state.idle.pop_front().map_or(Plan::Connect, |(_, oldest)| Plan::Replace(oldest))
    }

    async fn connect(&self, tenant: usize) -> Result<Session> {
        Ok(connect(&self.logins[tenant]).await?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Closes all connections, and waits until they are.
    pub(crate) async fn close(&self) {
        let idle = std::mem::take(&mut self.lock().idle);
        for (_, session) in idle {
            session.close().await;
        }
    }
}
