//! Refilling: on every server a template of the fleet's schema and as many spares as are wanted, looked after in the
//! background.
//!
//! One round per server: whoever holds the server's lock in the registry looks what is there, clears away what crashes left,
//! and makes what lacks, one at a time. A round begins from what it finds and can end anywhere; the next goes on. It comes
//! soon after a sign-up and every [`LOOK_EVERY`] at the latest, after failures later and later. How a round went is written
//! in the registry, for doctor, metrics and `portero server show`. Serving waits for none of it.

use crate::{
    disk::shortage,
    fleet::{FleetSchema, sweep},
    server,
    spares::{SpareError, discard, make, reconcile},
    templates::{self, Template},
};
use futures_util::future::join_all;
use portero_kernel::{ServerId, with_causes};
use portero_pg::Session;
use portero_registry::{
    Bell, Channel, Refilled, Registry, RegistryError, ServerRow, ServerStatus, SpareRow, SpareState, Stopped,
};
use std::{
    collections::HashMap,
    time::{Duration, Instant},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How often to look without having heard of a sign-up.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// After a sign-up: it is to have the server for itself.
const SETTLE: Duration = Duration::from_millis(500);
/// Who signs up comes first: so long at most a spare waits until nobody does, and those of a round together; and so often it
/// looks.
const GIVES_WAY: Duration = Duration::from_secs(10);
const GIVES_WAY_IN_ALL: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(250);
/// How long one round may take. A server that hangs would hold it for ever.
const ROUND: Duration = Duration::from_secs(120);
/// After the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// How much is kept ready.
#[derive(Debug, Clone, Copy)]
pub struct RefillOptions {
    /// Spares on each server that takes new tenants; 0 for none.
    pub spares: usize,
    /// No spare is made on a server whose databases take as many bytes.
    pub size_limit: Option<u64>,
}

/// Keeps templates and spares ready on all servers.
pub struct Refill {
    registry: Registry,
    options: RefillOptions,
    troubled: HashMap<ServerId, Trouble>,
}

/// Failures in a row.
struct Trouble {
    pause: Duration,
    until: Instant,
}

impl Trouble {
    fn after(before: Option<&Self>) -> Self {
        let pause = before.map_or(FIRST_PAUSE, |trouble| (trouble.pause * 2).min(LONGEST_PAUSE));
        Self { pause, until: Instant::now() + pause }
    }
}

impl Refill {
    /// For the servers of this registry.
    #[must_use]
    pub fn new(registry: Registry, options: RefillOptions) -> Self {
        Self { registry, options, troubled: HashMap::new() }
    }

    /// Works until told to stop; then it stops at once. What is half-made is cleared away by the next round of anybody.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.rounds() => {}
        }
    }

    async fn rounds(&mut self) {
        let mut bell = Bell::new(&self.registry, Channel::Jobs);
        loop {
            bell.listen().await;
            self.round().await;
            tokio::select! {
                () = bell.rung() => sleep(SETTLE).await,
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    async fn round(&mut self) {
        let servers = match self.registry.servers_each().await {
            // One that can't be read is told of elsewhere.
            Ok(servers) => servers.into_iter().flatten(),
            Err(error) => return tracing::debug!(%error, "the registry is away: nothing is refilled"),
        };
        let now = Instant::now();
        let due: Vec<_> = servers
            .filter(|server| self.troubled.get(&server.id).is_none_or(|trouble| trouble.until <= now))
            .collect();
        let outcomes = join_all(due.iter().map(|server| self.look_after(server))).await;
        for (server, well) in due.iter().zip(outcomes) {
            if well {
                self.troubled.remove(&server.id);
            } else {
                let trouble = Trouble::after(self.troubled.get(&server.id));
                self.troubled.insert(server.id, trouble);
            }
        }
    }

    /// A round for one server; says whether it went well.
    async fn look_after(&self, server: &ServerRow) -> bool {
        let lock = match self.registry.refill_lock(server.id).await {
            Ok(Some(lock)) => lock,
            // Somebody else looks after it.
            Ok(None) => return true,
            Err(_) => return false,
        };
        let mut refilled = Refilled { wanted: self.options.spares, ..Refilled::default() };
        let outcome = match timeout(ROUND, self.refill(server, &mut refilled)).await {
            Ok(outcome) => outcome.map_err(|error| with_causes(&error)),
            Err(_) => Err(format!("a round took longer than {} s", ROUND.as_secs())),
        };
        if let Err(error) = &outcome {
            tracing::warn!(server = server.name, error, "spares could not be made");
            refilled.stopped = Some((Stopped::Error, error.clone()));
        }
        if let Err(error) = self.registry.refill_set(server.id, &refilled).await {
            tracing::warn!(
                server = server.name,
                error = with_causes(&error),
                "how refilling goes could not be noted"
            );
        }
        lock.close().await;
        outcome.is_ok()
    }

    async fn refill(&self, server: &ServerRow, refilled: &mut Refilled) -> Result<(), SpareError> {
        let session = server::refiller(&server.admin, server.id).await?;
        // What a rehearsal left is in nobody's way: spares don't wait for it.
        if let Err(error) = sweep(&session, server.id).await {
            tracing::warn!(
                server = server.name,
                error = with_causes(&error),
                "clones could not be cleared away"
            );
        }
        let ready = self.clear(server, &session).await?;
        if server.status == ServerStatus::Draining {
            self.discard_all(server, &session, &ready).await?;
            refilled.stopped = Some((Stopped::Draining, "it takes no new companies".to_owned()));
            session.close().await;
            return Ok(());
        }
        let set = FleetSchema::read(&self.registry).await?.migrations;
        let template = match templates::ensure(&server.admin, server.id, &set).await {
            Ok(template) => template,
            Err(error) => {
                refilled.templates = Some(templates::prune(&session, &set).await?);
                return Err(SpareError::Template(error));
            }
        };
        refilled.templates = Some(templates::prune(&session, &set).await?);
        let newest = set.latest();
        // Those of a newer program count: it will not make room for ours.
        let (new, old): (Vec<_>, Vec<_>) =
            ready.into_iter().partition(|spare| spare.schema_version >= newest);
        let lacking = self.options.spares.saturating_sub(new.len());
        if lacking > 0 {
            if let Some(shortage) = shortage(&session, &server.admin, self.options.size_limit, 0).await? {
                refilled.stopped = Some((Stopped::Disk, shortage));
                session.close().await;
                return Ok(());
            }
            self.make(server, &session, &template, lacking).await?;
        }
        // Until here they were better than none: a sign-up that is given one migrates it.
        self.discard_all(server, &session, &old).await?;
        session.close().await;
        Ok(())
    }

    /// Clears away what crashes left; says what is ready. Nobody else is making any: whoever did has lost the lock.
    async fn clear(&self, server: &ServerRow, session: &Session) -> Result<Vec<SpareRow>, SpareError> {
        let spares = self.registry.spares_of(server.id).await?;
        let (ready, leftover): (Vec<_>, Vec<_>) =
            spares.into_iter().partition(|spare| spare.state == SpareState::Ready);
        self.discard_all(server, session, &leftover).await?;
        let lost = reconcile(&self.registry, session, server, &ready).await?;
        for spare in &lost {
            tracing::warn!(server = server.name, database = %spare.database, "a spare has no database any more");
            discard(&self.registry, session, server, spare).await?;
        }
        Ok(ready.into_iter().filter(|spare| lost.iter().all(|lost| lost.id != spare.id)).collect())
    }

    /// Drops spares that are no more to be had. One that can't be dropped keeps its row for the next round, and others from
    /// nothing.
    async fn discard_all(
        &self,
        server: &ServerRow,
        session: &Session,
        spares: &[SpareRow],
    ) -> Result<(), RegistryError> {
        for spare in spares {
            match discard(&self.registry, session, server, spare).await {
                Err(SpareError::Registry(error)) => return Err(error),
                Err(error) => {
                    let error = with_causes(&error);
                    tracing::warn!(server = server.name, database = %spare.database, error, "a spare could not be dropped");
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Waits while a company's job is at work on the server. Where that goes on and on, spares are made nonetheless: slowly.
    async fn give_way(&self, server: &ServerRow, at_most: Duration) -> Result<(), RegistryError> {
        let until = Instant::now() + GIVES_WAY.min(at_most);
        while Instant::now() < until && self.registry.is_at_work_on(server.id).await? {
            sleep(LOOK_AGAIN).await;
        }
        Ok(())
    }

    /// One after the other: nobody waits for them, and somebody may be served meanwhile.
    async fn make(
        &self,
        server: &ServerRow,
        session: &Session,
        template: &Template,
        count: usize,
    ) -> Result<(), SpareError> {
        let mut patience = GIVES_WAY_IN_ALL;
        for _ in 0..count {
            let began = Instant::now();
            self.give_way(server, patience).await?;
            patience = patience.saturating_sub(began.elapsed());
            make(&self.registry, session, server, template).await?;
        }
        tracing::debug!(server = server.name, count, "spares were made");
        Ok(())
    }
}
