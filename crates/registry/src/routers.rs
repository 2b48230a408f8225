//! The routers that are running: how far each has heard, and its lease on every server's connections.
//!
//! A router lives by its beats, in the registry's time. What a beat decides about connections is in `budget`.

use crate::{
    Registry, RegistryError, Result,
    budget::{Holding, Report, decide},
    connection::Transaction,
};
use portero_kernel::{RouterId, ServerId};
use portero_pg::lock_key;
use std::{collections::BTreeMap, time::Duration};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// What a router says with each beat.
///
/// For the books to be true of the sockets, a router
/// - opens no connection beyond its last grant, and sends one beat at a time;
/// - adopts an answer as soon as it has it: what is above a smaller grant is closed;
/// - opens nothing once its own monotonic clock says that `ttl` has passed since it *sent* the last beat that was
///   answered, if it knows that others share its servers: they may have fenced it. It then says `held: 0`;
/// - beats again at once when it was granted less than it held: only that beat frees the difference for others;
/// - keeps its id over a restart if it can, and ends what its former self left on the servers before its first beat:
///   then it has its lease back at once. Under a new id it waits until the old one's ran out.
#[derive(Debug, Clone)]
pub struct Beat {
    /// Who.
    pub router: RouterId,
    /// Its name, for people.
    pub name: String,
    /// Where its operators' endpoints are, if anybody can reach them.
    pub address: Option<String>,
    /// The value of the route clock up to which it knows every route.
    pub applied: i64,
    /// How long it counts as live if no other beat follows.
    pub ttl: Duration,
    /// Leases that ran out, from the last answer, whose connections on that server have been ended since.
    pub fenced: Vec<LapsedLease>,
    /// The servers it uses, each once. Of one that isn't named it keeps what it has.
    pub servers: Vec<Use>,
}

/// What a router does with a server. All in connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Which.
    pub server: ServerId,
    /// What tenants together may hold there, as this router last read from the server.
    pub capacity: usize,
    /// What it keeps to: its last grant that it has heard of; 0 at first, and when its lease has run out.
    pub held: usize,
    /// What it could put to use: open ones, and those that somebody waits for.
    pub wanted: usize,
    /// What is open, being opened or being closed.
    pub used: usize,
}

/// A lease that ran out, of a router that says nothing any more. It counts in full until somebody ends that router's
/// connections on the server and says so in a beat; void if the router has spoken meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LapsedLease {
    /// Where.
    pub server: ServerId,
    /// Whose: connections bear its id in their `application_name`.
    pub router: RouterId,
    beats: i64,
}

/// What a beat is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What the router may hold of each server that it named and that the registry knows.
    pub granted: Vec<(ServerId, usize)>,
    /// How many routers live, this one included.
    pub live: usize,
    /// Leases on the servers named that ran out. Any router may fence them, and more than one may: what is freed is
    /// granted from the beat on that says so.
    pub lapsed: Vec<LapsedLease>,
    /// The value of the route clock now.
    pub clock: i64,
    /// How many beats were counted under this router's id, this one included.
    pub beats: i64,
}

/// A router that lives.
#[derive(Debug, Clone)]
pub struct RouterRow {
    /// Its id.
    pub id: RouterId,
    /// Its name.
    pub name: String,
    /// Where its operators' endpoints are, if it said.
    pub address: Option<String>,
    /// The value of the route clock up to which it knows every route.
    pub applied: i64,
    /// When it was first heard of.
    pub started_at: OffsetDateTime,
    /// When it last spoke.
    pub seen_at: OffsetDateTime,
    /// When its leases run out.
    pub expires_at: OffsetDateTime,
}

/// A router's lease on a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseRow {
    /// Whose.
    pub router: RouterId,
    /// Its name.
    pub name: String,
    /// Whether it lasts.
    pub live: bool,
    /// The connections it may hold.
    pub granted: usize,
    /// What it could put to use.
    pub wanted: usize,
    /// What it had open.
    pub used: usize,
}

impl Registry {
    /// Says that a router lives, and asks for its grants.
    ///
    /// Beats that name the same server come one after the other. The sum of what all leases on it count for, the greatest
    /// of granted, held and used of each, stays within `capacity`.
    ///
    /// # Errors
    /// The registry, or another router that keeps it waiting for seconds. Whether the beat counted is then unknown: the
    /// router goes on with what it has, and says in its next what it keeps to.
    pub async fn router_beat(&self, beat: &Beat) -> Result<Answer> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lock_budgets(&txn, &beat.servers).await?;
        let beats = router_upsert(&txn, beat).await?;
        leases_forget(&txn, &beat.fenced).await?;
        let known = leases_of(&txn, &beat.servers).await?;
        let mut granted = Vec::with_capacity(beat.servers.len());
        let mut lapsed = Vec::new();
        for used in &beat.servers {
            let Some(leases) = known.get(&used.server) else { continue };
            let rows: Vec<Holding> = leases.iter().map(|(row, _)| *row).collect();
            let own = decide(used.capacity, report(beat.router, used), &rows);
            lease_upsert(&txn, used, &own).await?;
            granted.push((used.server, own.granted));
            lapsed.extend(leases.iter().filter(|(row, _)| !row.live).map(|(row, beats)| LapsedLease {
                server: used.server,
                router: row.router,
                beats: *beats,
            }));
        }
        let (live, clock) = routers_count_and_clock(&txn).await?;
        txn.commit().await?;
        Ok(Answer { granted, live, lapsed, clock, beats })
    }

    /// How many beats were counted of a router whose leases last, and how long ago the last one was.
    ///
    /// # Errors
    /// The registry.
    pub async fn router_last_beat(&self, router: RouterId) -> Result<Option<(i64, Duration)>> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT beats, extract(epoch FROM clock_timestamp() - seen_at)::float8 AS age
                 FROM routers WHERE id = $1 AND expires_at > now()",
                &[&router.uuid()],
            )
            .await?;
        Ok(row.map(|row| (row.get("beats"), Duration::try_from_secs_f64(row.get("age")).unwrap_or_default())))
    }

    /// Notes between two beats how far a router has heard: somebody may be waiting for it.
    ///
    /// # Errors
    /// The registry.
    pub async fn router_applied(&self, router: RouterId, applied: i64) -> Result<()> {
        self.client()
            .await?
            .execute("UPDATE routers SET applied = $2 WHERE id = $1", &[&router.uuid(), &applied])
            .await?;
        Ok(())
    }

    /// Forgets a router that stops, and its leases: all its connections must be closed by then.
    ///
    /// # Errors
    /// The registry.
    pub async fn router_leave(&self, router: RouterId) -> Result<()> {
        self.client().await?.execute("DELETE FROM routers WHERE id = $1", &[&router.uuid()]).await?;
        Ok(())
    }

    /// The routers that live, by name.
    ///
    /// # Errors
    /// The registry.
    pub async fn routers_live(&self) -> Result<Vec<RouterRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT id, name, address, applied, started_at, seen_at, expires_at
                 FROM routers WHERE expires_at > now() ORDER BY name, id",
                &[],
            )
            .await?;
        Ok(rows.iter().map(RouterRow::from_row).collect())
    }

    /// The leases on a server, by the routers' names.
    ///
    /// # Errors
    /// The registry.
    pub async fn server_leases(&self, server: ServerId) -> Result<Vec<LeaseRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT r.id, r.name, r.expires_at > now() AS live, l.granted, l.wanted, l.used
                 FROM budget_leases l JOIN routers r ON r.id = l.router_id
                 WHERE l.server_id = $1 ORDER BY r.name, r.id",
                &[&server.uuid()],
            )
            .await?;
        Ok(rows.iter().map(LeaseRow::from_row).collect())
    }
}

impl RouterRow {
    fn from_row(row: &Row) -> Self {
        Self {
            id: RouterId::from(row.get::<_, Uuid>("id")),
            name: row.get("name"),
            address: row.get("address"),
            applied: row.get("applied"),
            started_at: row.get("started_at"),
            seen_at: row.get("seen_at"),
            expires_at: row.get("expires_at"),
        }
    }
}

impl LeaseRow {
    fn from_row(row: &Row) -> Self {
        Self {
            router: RouterId::from(row.get::<_, Uuid>("id")),
            name: row.get("name"),
            live: row.get("live"),
            granted: count(row, "granted"),
            wanted: count(row, "wanted"),
            used: count(row, "used"),
        }
    }
}

fn report(router: RouterId, used: &Use) -> Report {
    Report { router, held: used.held, wanted: used.wanted, used: used.used }
}

/// One beat at a time decides about a server. The locks are taken in everybody's order; and a router that stops in the
/// middle of a beat is cut off, so that it holds up the others for seconds and not for good.
async fn lock_budgets(txn: &Transaction<'_>, servers: &[Use]) -> Result<()> {
    txn.batch_execute(
        "SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '2s';
         SET LOCAL idle_in_transaction_session_timeout = '3s'",
    )
    .await?;
    let mut keys: Vec<i64> =
        servers.iter().map(|used| lock_key(&format!("portero.budget.{}", used.server))).collect();
    keys.sort_unstable();
    txn.execute("SELECT pg_advisory_xact_lock(key) FROM unnest($1::bigint[]) AS key", &[&keys]).await?;
    Ok(())
}

/// Notes that the router lives; and forgets those that have been silent for an hour and hold nothing.
async fn router_upsert(txn: &Transaction<'_>, beat: &Beat) -> Result<i64> {
    let row = txn.query_one(
        "INSERT INTO routers (id, name, address, applied, expires_at)
         VALUES ($1, $2, $3, $4, now() + make_interval(secs => $5))
         ON CONFLICT (id) DO UPDATE SET name = excluded.name, address = excluded.address, applied = excluded.applied,
             seen_at = now(), expires_at = excluded.expires_at, beats = routers.beats + 1
         RETURNING beats",
        &[&beat.router.uuid(), &beat.name, &beat.address, &beat.applied, &beat.ttl.as_secs_f64()],
    )
    .await?;
    txn.execute(
        "DELETE FROM routers WHERE id IN
             (SELECT id FROM routers r
              WHERE expires_at < now() - interval '1 hour'
                AND NOT EXISTS (SELECT FROM budget_leases l WHERE l.router_id = r.id)
              FOR UPDATE SKIP LOCKED)",
        &[],
    )
    .await?;
    Ok(row.get(0))
}

/// Forgets leases whose connections were ended, unless their router has spoken since, or is speaking now.
async fn leases_forget(txn: &Transaction<'_>, fenced: &[LapsedLease]) -> Result<()> {
    for lease in fenced {
        txn.execute(
            "DELETE FROM budget_leases
             WHERE server_id = $1 AND router_id IN
                   (SELECT id FROM routers WHERE id = $2 AND beats = $3 AND expires_at <= now()
                    FOR UPDATE SKIP LOCKED)",
            &[&lease.server.uuid(), &lease.router.uuid(), &lease.beats],
        )
        .await?;
    }
    Ok(())
}

/// The leases on each of these servers that the registry knows, and how many beats their routers have sent.
async fn leases_of(
    txn: &Transaction<'_>,
    servers: &[Use],
) -> Result<BTreeMap<ServerId, Vec<(Holding, i64)>>> {
    let ids: Vec<Uuid> = servers.iter().map(|used| used.server.uuid()).collect();
    let rows = txn
        .query(
            "SELECT s.id AS server, r.id AS router, r.expires_at > now() AS live, r.beats,
                    l.granted, l.held, l.wanted, l.used
             FROM servers s
             LEFT JOIN (budget_leases l JOIN routers r ON r.id = l.router_id) ON l.server_id = s.id
             WHERE s.id = ANY($1)",
            &[&ids],
        )
        .await?;
    let mut known: BTreeMap<ServerId, Vec<(Holding, i64)>> = BTreeMap::new();
    for row in &rows {
        let leases = known.entry(ServerId::from(row.get::<_, Uuid>("server"))).or_default();
        let Some(router) = row.get::<_, Option<Uuid>>("router") else { continue };
        let holding = Holding {
            router: RouterId::from(router),
            live: row.get("live"),
            granted: count(row, "granted"),
            held: count(row, "held"),
            wanted: count(row, "wanted"),
            used: count(row, "used"),
        };
        leases.push((holding, row.get("beats")));
    }
    Ok(known)
}

async fn lease_upsert(txn: &Transaction<'_>, used: &Use, own: &Holding) -> Result<()> {
    let server = used.server.uuid();
    txn.execute(
        "INSERT INTO budget_leases (server_id, router_id, granted, held, wanted, used) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (server_id, router_id) DO UPDATE SET granted = excluded.granted, held = excluded.held,
             wanted = excluded.wanted, used = excluded.used",
        &[&server, &own.router.uuid(), &int(own.granted), &int(own.held), &int(own.wanted), &int(own.used)],
    )
    .await?;
    txn.execute(
        "UPDATE servers SET capacity = $2 WHERE id = $1 AND capacity IS DISTINCT FROM $2",
        &[&server, &int(used.capacity)],
    )
    .await?;
    Ok(())
}

async fn routers_count_and_clock(txn: &Transaction<'_>) -> Result<(usize, i64)> {
    let row = txn
        .query_one(
            "SELECT (SELECT count(*) FROM routers WHERE expires_at > now()) AS live, value FROM route_clock",
            &[],
        )
        .await?;
    let live = usize::try_from(row.get::<_, i64>("live"))
        .map_err(|_| RegistryError::Unreadable("number of routers"))?;
    Ok((live, row.get("value")))
}

/// A number of connections, as its column holds it.
pub(crate) fn int(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

/// A number of connections from its column, which a constraint keeps from being negative.
fn count(row: &Row, column: &str) -> usize {
    usize::try_from(row.get::<_, i32>(column)).unwrap_or(0)
}
