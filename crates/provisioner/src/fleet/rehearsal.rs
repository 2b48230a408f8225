//! Rehearsals: pending migrations run on a throw-away clone of a tenant's database, before any real one is touched.
//!
//! PostgreSQL copies no database that somebody is in, and a tenant that is served always has somebody in it. So a clone is a
//! [`Scratch`] database of the tenant's own version, made from that version's template, and the rows come over through COPY, all of
//! them from one snapshot. While they do, a shared lock keeps Portero's own migrations away from the tenant: PostgreSQL's
//! snapshots don't hold through a table that is rewritten, and a migration that waited for this reading would have the
//! tenant's requests wait behind it. Foreign keys are taken off meanwhile and triggers are disabled, so that rows may come in any
//! order and are as they were; afterwards both are as before, which is looked at, and the clone is analyzed.
//!
//! # What a clone is not
//! - It has what migrations make, and no more: what has drifted in the tenant (tables, columns, indexes by hand) is not in it. The
//!   drift is told beside what was found.
//! - It is compact, and nobody uses it: a migration takes longer on the tenant itself, and waits for locks there.
//! - Large objects, contents of materialized views, foreign tables, comments and the tenant's role are not cloned. What a migration
//!   would grant to that role by default is not seen.
//! - What runs without a transaction is timed; its locks are not sampled.
//!
//! A run that meets a tenant while it is copied waits for that as for any other migration of it, and not for ever: one rehearses
//! before a run, not during one.
//!
//! Locks are what the migration's session holds right before it commits, from `pg_locks`: all that a transaction takes it keeps
//! until then. A table was rewritten if it has another file than before.

use super::{
    drift::{Difference, as_a_tenants, differences, read_only},
    scratch::{Scratch, sweep},
    turn::words_of,
};
use crate::{
    Catalogue, ServerError,
    disk::shortage,
    points,
    templates::{TemplateError, maintenance},
};
use futures_util::SinkExt;
use portero_kernel::{DatabaseName, SchemaVersion};
use portero_pg::{Attempt, MigrateError, Migration, Migrations, Session, Terms, ident, lock_key};
use portero_registry::ServerRow;
use std::{
    collections::BTreeMap,
    pin::pin,
    time::{Duration, Instant},
};
use tokio::time::timeout;

/// How long one tenant may take, its copying and all its migrations.
const PATIENCE: Duration = Duration::from_secs(900);

/// What may be cloned.
#[derive(Debug, Clone, Copy)]
pub struct CloneLimits {
    /// Databases that take more bytes are not cloned.
    pub largest: u64,
    /// No clone is made where all databases of a server would take more bytes with it.
    pub server: Option<u64>,
}

/// Why a tenant's database was not cloned. Nothing is said of the migrations by that.
#[derive(Debug, thiserror::Error)]
pub enum CloneError {
    /// It is larger than may be.
    #[error("it takes {bytes} bytes, and {largest} may be cloned")]
    TooLarge {
        /// What it takes.
        bytes: u64,
        /// What may be.
        largest: u64,
    },
    /// The server has no room for it.
    #[error("its server has no room for a clone: {0}")]
    NoRoom(String),
    /// It is being migrated, or was in this moment.
    #[error("it is being migrated")]
    Busy,
    /// Rows of this table don't go into what migrations make.
    #[error("rows of {0} could not be copied: {1}")]
    Rows(String, String),
    /// With its rows it is not as it was without: nothing that is seen on it could be relied on.
    #[error("its clone is not as migrations make it, once the rows are in")]
    Unlike,
    /// It was not done in time.
    #[error("cloning and migrating took longer than {} s", PATIENCE.as_secs())]
    TooLong,
    /// The scratch database.
    #[error("there is no database to clone it into")]
    Scratch(#[from] TemplateError),
    /// The server.
    #[error("it could not be cloned")]
    Server(#[from] ServerError),
    /// The history of its migrations.
    #[error("which migrations it has can't be read")]
    History(#[from] MigrateError),
}

impl From<tokio_postgres::Error> for CloneError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error.into())
    }
}

/// What came of a tenant's rehearsal.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// The version that it began with.
    pub version: SchemaVersion,
    /// The bytes that the tenant's database takes.
    pub bytes: u64,
    /// The rows that were copied.
    pub rows: u64,
    /// How long that took, with the making of the clone.
    pub copied_in: Duration,
    /// What the tenant has otherwise than migrations make it, which the clone has not.
    pub drift: Vec<Difference>,
    /// Each migration that was run, in order; the last may have failed.
    pub steps: Vec<Rehearsed>,
}

/// A migration that was run on a clone.
#[derive(Debug, Clone)]
pub struct Rehearsed {
    /// Which: `V5__plans`.
    pub migration: String,
    /// How long it took.
    pub took: Duration,
    /// Whether it ran in a transaction. Else its locks are not known.
    pub in_transaction: bool,
    /// The strongest lock on each table and view that was there before, held when it was about to commit.
    pub locks: Vec<LockTaken>,
    /// Tables that have another file than before: all their rows were written anew.
    pub rewritten: Vec<String>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// A lock that a migration held.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LockTaken {
    /// On which table.
    pub relation: String,
    /// Its mode, as PostgreSQL's `pg_locks` has it.
    pub mode: String,
}

impl LockTaken {
    /// What a company's requests can't do to the table until it is given up.
    #[must_use]
    pub fn blocks(&self) -> &'static str {
        match self.mode.as_str() {
            "AccessExclusiveLock" => "reads and writes",
            "ExclusiveLock" | "ShareRowExclusiveLock" | "ShareLock" => "writes",
            _ => "nothing",
        }
    }

    /// From the weakest to the strongest.
    fn strength(&self) -> usize {
        const MODES: [&str; 8] = [
            "AccessShareLock",
            "RowShareLock",
            "RowExclusiveLock",
            "ShareUpdateExclusiveLock",
            "ShareLock",
            "ShareRowExclusiveLock",
            "ExclusiveLock",
            "AccessExclusiveLock",
        ];
        MODES.iter().position(|mode| *mode == self.mode).unwrap_or(MODES.len())
    }
}

/// Clones a tenant's database, runs on the clone what it lacks of the set, and drops the clone.
///
/// # Errors
/// [`CloneError`]; a migration that fails is none, but part of the [`Rehearsal`].
pub async fn rehearse(
    server: &ServerRow,
    set: &Migrations,
    subdomain: &str,
    database: &DatabaseName,
    limits: CloneLimits,
) -> Result<Rehearsal, CloneError> {
    let began = Instant::now();
    let source = source(server, database).await?;
    let (version, bytes) = (set.version(&source).await?, size(&source).await?);
    if bytes > limits.largest {
        return Err(CloneError::TooLarge { bytes, largest: limits.largest });
    }
    let outside = maintenance(&server.admin).await?;
    let shortage = shortage(&outside, &server.admin, limits.server, bytes).await?;
    outside.close().await;
    if let Some(shortage) = shortage {
        return Err(CloneError::NoRoom(shortage));
    }
    let mut scratch = Scratch::make(server, set, version, &format!("clone of {database}")).await?;
    let work = points::within(subdomain, "rehearse", false, async {
        let (rows, drift) = fill(&source, &mut scratch, set, version).await?;
        let copied_in = began.elapsed();
        source.close().await;
        points::hold("cloned").await;
        let steps = perform(&mut scratch.inside, set, version).await?;
        Ok(Rehearsal { version, bytes, rows, copied_in, drift, steps })
    });
    let outcome = timeout(PATIENCE, work).await.unwrap_or(Err(CloneError::TooLong));
    let dropped = scratch.drop().await;
    let rehearsal = outcome?;
    dropped?;
    Ok(rehearsal)
}

/// Drops the clones on this server that were left behind; says which.
///
/// # Errors
/// As PostgreSQL says.
pub async fn sweep_server(server: &ServerRow) -> Result<Vec<String>, ServerError> {
    let session = maintenance(&server.admin).await?;
    let swept = sweep(&session, server.id).await;
    session.close().await;
    swept
}

/// Portero's own session in the tenant's database: it reads all rows, or fails, and may take its time.
async fn source(server: &ServerRow, database: &DatabaseName) -> Result<Session, CloneError> {
    let session = read_only(&server.admin, database.as_str()).await?;
    session
        .batch_execute("SET row_security = off; SET statement_timeout = '15min'; SET idle_in_transaction_session_timeout = '5min'")
        .await?;
    Ok(session)
}

async fn size(session: &Session) -> Result<u64, CloneError> {
    let row = session.query_one("SELECT pg_database_size(current_database())", &[]).await?;
    Ok(u64::try_from(row.get::<_, i64>(0)).unwrap_or(0))
}

/// Copies the rows; says how many, and in what the tenant differs from the clone.
async fn fill(
    source: &Session,
    scratch: &mut Scratch,
    set: &Migrations,
    version: SchemaVersion,
) -> Result<(u64, Vec<Difference>), CloneError> {
    let name = scratch.name().to_owned();
    let reference = as_a_tenants(&mut scratch.inside, &name).await?;
    source.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let key = lock_key("portero.migrate");
    let locked = source.query_one("SELECT pg_try_advisory_xact_lock_shared($1)", &[&key]).await?;
    if !locked.get::<_, bool>(0) || set.version(source).await? != version {
        return Err(CloneError::Busy);
    }
    let drift = differences(&Catalogue::read(source).await?, &reference);
    let inside = &scratch.inside;
    inside.batch_execute("SET statement_timeout = '15min'").await?;
    let after = statements(inside, LATER).await?;
    for statement in statements(inside, FIRST).await? {
        inside.batch_execute(&statement).await?;
    }
    let (there, here) = (tables(source).await?, tables(inside).await?);
    let mut rows = 0;
    for (table, columns) in &here {
        let Some(known) = there.get(table) else { continue };
        let common: Vec<_> =
            columns.iter().filter(|column| known.contains(column)).map(|(name, _)| ident(name)).collect();
        if !common.is_empty() {
            rows +=
                copy(source, inside, &format!("{} ({})", qualified(table), common.join(", ")), table).await?;
        }
    }
    sequences(source, inside).await?;
    source.batch_execute("COMMIT").await?;
    for statement in after {
        inside.batch_execute(&statement).await?;
    }
    inside.batch_execute("ANALYZE").await?;
    if Catalogue::read(inside).await?.structure != reference.structure {
        return Err(CloneError::Unlike);
    }
    Ok((rows, drift))
}

/// What is in the way of rows that come in any order, or that were there before it.
const FIRST: &str = "
    SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname)
    FROM pg_catalog.pg_constraint k
    WHERE (k.contype = 'f' AND k.conparentid = 0 OR k.contype = 'c' AND NOT k.convalidated AND k.coninhcount = 0) AND k.conrelid <> 0
    UNION ALL
    SELECT format('ALTER TABLE %s DISABLE TRIGGER %I', t.tgrelid::regclass, t.tgname)
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgparentid = 0";

/// The same, as it was.
const LATER: &str = "
    SELECT format('ALTER TABLE %s ADD CONSTRAINT %I %s', k.conrelid::regclass, k.conname, pg_get_constraintdef(k.oid))
    FROM pg_catalog.pg_constraint k
    WHERE (k.contype = 'f' AND k.conparentid = 0 OR k.contype = 'c' AND NOT k.convalidated AND k.coninhcount = 0) AND k.conrelid <> 0
    UNION ALL
    SELECT format('ALTER TABLE %s ENABLE %s TRIGGER %I', t.tgrelid::regclass,
                  CASE t.tgenabled WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, t.tgname)
    FROM pg_catalog.pg_trigger t WHERE NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgparentid = 0";

/// Statements that PostgreSQL writes by itself, each name quoted.
async fn statements(session: &Session, sql: &str) -> Result<Vec<String>, CloneError> {
    Ok(session.query(sql, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// A table's schema and name.
type Table = (String, String);
/// Its columns that take values, each with its type.
type Columns = Vec<(String, String)>;

fn qualified((schema, name): &Table) -> String {
    format!("{}.{}", ident(schema), ident(name))
}

/// The tables that hold rows; partitions are tables of their own.
async fn tables(session: &Session) -> Result<BTreeMap<Table, Columns>, CloneError> {
    let rows = session
        .query(
            "SELECT n.nspname::text, c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod)
             FROM pg_catalog.pg_class c
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
             JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid
             WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
               AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
               AND c.oid IS DISTINCT FROM to_regclass('public.schema_history')::oid
             ORDER BY c.oid, a.attnum",
            &[],
        )
        .await?;
    let mut tables: BTreeMap<Table, Columns> = BTreeMap::new();
    for row in rows {
        tables.entry((row.get(0), row.get(1))).or_default().push((row.get(2), row.get(3)));
    }
    Ok(tables)
}

/// All rows of a table, in PostgreSQL's own form; says how many.
async fn copy(from: &Session, to: &Session, columns: &str, table: &Table) -> Result<u64, CloneError> {
    let list = columns.split_once(" (").map_or("", |(_, list)| list.trim_end_matches(')'));
    let select = format!("COPY (SELECT {list} FROM ONLY {}) TO STDOUT (FORMAT binary)", qualified(table));
    let fill = format!("COPY {columns} FROM STDIN (FORMAT binary)");
    let streamed = async {
        let (out, sink) = (from.copy_out(&select).await?, to.copy_in(&fill).await?);
        let (mut out, mut sink) = (pin!(out), pin!(sink));
        sink.send_all(&mut out).await?;
        sink.finish().await
    };
    streamed.await.map_err(|error| CloneError::Rows(table.1.clone(), words_of(&error)))
}

/// Sequences go on where the tenant's do.
async fn sequences(from: &Session, to: &Session) -> Result<(), CloneError> {
    let rows = from
        .query(
            "SELECT format('%I.%I', schemaname, sequencename), last_value FROM pg_catalog.pg_sequences WHERE last_value IS NOT NULL",
            &[],
        )
        .await?;
    for row in rows {
        let (name, value): (String, i64) = (row.get(0), row.get(1));
        to.execute("SELECT setval(to_regclass($1), $2) WHERE to_regclass($1) IS NOT NULL", &[&name, &value])
            .await?;
    }
    Ok(())
}

/// What was there before a migration, and what it locked of that.
const NOTEBOOK: &str = "
    CREATE TEMPORARY TABLE rehearsal_before (relation oid, name text, kind \"char\", file oid);
    CREATE TEMPORARY TABLE rehearsal_locks (name text, mode text)";
const BEFORE: &str = "
    TRUNCATE pg_temp.rehearsal_before, pg_temp.rehearsal_locks;
    INSERT INTO pg_temp.rehearsal_before
    SELECT c.oid, n.nspname || '.' || c.relname, c.relkind, c.relfilenode
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'm', 'v') AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
      AND c.oid IS DISTINCT FROM to_regclass('public.schema_history')::oid";
/// In the migration's own transaction.
const SAMPLE: &str = "
    INSERT INTO pg_temp.rehearsal_locks
    SELECT b.name, l.mode FROM pg_catalog.pg_locks l
    JOIN pg_catalog.pg_database d ON d.oid = l.database AND d.datname = pg_catalog.current_database()
    JOIN pg_temp.rehearsal_before b ON b.relation = l.relation
    WHERE l.pid = pg_catalog.pg_backend_pid() AND l.locktype = 'relation' AND l.granted";
const REWRITTEN: &str = "
    SELECT b.name FROM pg_temp.rehearsal_before b JOIN pg_catalog.pg_class c ON c.oid = b.relation
    WHERE b.kind IN ('r', 'm') AND c.relfilenode <> b.file ORDER BY b.name";

/// Runs what is pending, one after the other, until one fails.
async fn perform(
    session: &mut Session,
    set: &Migrations,
    version: SchemaVersion,
) -> Result<Vec<Rehearsed>, CloneError> {
    session
        .batch_execute("SET search_path = public; SET lock_timeout = '10s'; SET statement_timeout = '60s'")
        .await?;
    session.batch_execute(NOTEBOOK).await?;
    let mut steps = Vec::new();
    for migration in set.after(version) {
        let step = run(session, set, migration).await?;
        let failed = step.error.is_some();
        steps.push(step);
        if failed {
            break;
        }
    }
    Ok(steps)
}

async fn run(
    session: &mut Session,
    set: &Migrations,
    migration: &Migration,
) -> Result<Rehearsed, CloneError> {
    session.batch_execute(BEFORE).await?;
    let terms =
        Terms { tenant: None, lock_timeout: Duration::from_secs(10), and_then: &|_| SAMPLE.to_owned() };
    let began = Instant::now();
    let outcome = set.up_to(migration.version).attempt(session, terms, &mut None).await;
    let mut step = Rehearsed {
        migration: migration.to_string(),
        took: began.elapsed(),
        in_transaction: migration.is_transactional(),
        locks: Vec::new(),
        rewritten: Vec::new(),
        error: None,
    };
    match outcome {
        Ok(Attempt::Done) => {
            if step.in_transaction {
                step.locks = locks(session).await?;
            }
            step.rewritten = session.query(REWRITTEN, &[]).await?.iter().map(|row| row.get(0)).collect();
        }
        Ok(Attempt::Busy) => return Err(CloneError::Busy),
        Err(error) => step.error = Some(in_words(&error)),
    }
    Ok(step)
}

/// Why a migration failed. The row that PostgreSQL shows is a tenant's, and this ends in a pipeline's log.
fn in_words(error: &MigrateError) -> String {
    match error.postgres() {
        Some(said) => format!("{error}: {}", words_of(said)),
        None => error.to_string(),
    }
}

/// The strongest on each relation.
async fn locks(session: &Session) -> Result<Vec<LockTaken>, CloneError> {
    let rows = session.query("SELECT DISTINCT name, mode FROM pg_temp.rehearsal_locks", &[]).await?;
    let mut strongest: BTreeMap<String, LockTaken> = BTreeMap::new();
    for row in rows {
        let lock = LockTaken { relation: row.get(0), mode: row.get(1) };
        match strongest.get(&lock.relation) {
            Some(known) if known.strength() >= lock.strength() => {}
            _ => drop(strongest.insert(lock.relation.clone(), lock)),
        }
    }
    Ok(strongest.into_values().collect())
}

/// Which of these to rehearse: `count`, spread from the smallest to the largest, the largest among them. `sizes` are in any
/// order; what comes back are places in it, the largest first.
#[must_use]
pub fn sample(sizes: &[u64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|at| (std::cmp::Reverse(sizes[*at]), *at));
    if count >= order.len() {
        return order;
    }
    let last = order.len() - 1;
    let steps = count.saturating_sub(1).max(1);
    (0..count).map(|step| order[step * last / steps]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_spread_over_all_sizes() {
        let sizes = [5, 50, 10, 40, 30, 20];
        for (count, picked) in [
            (0, &[][..]),
            (1, &[50]),
            (2, &[50, 5]),
            (3, &[50, 30, 5]),
            (6, &[50, 40, 30, 20, 10, 5]),
            (99, &[50, 40, 30, 20, 10, 5]),
        ] {
            let found: Vec<u64> = sample(&sizes, count).into_iter().map(|at| sizes[at]).collect();
            assert_eq!(found, picked, "{count}");
        }
        assert!(sample(&[], 3).is_empty());
    }

    #[test]
    fn a_lock_says_whom_it_keeps_out() {
        let lock = |mode: &str| LockTaken { relation: "public.users".to_owned(), mode: mode.to_owned() };
        assert_eq!(lock("AccessExclusiveLock").blocks(), "reads and writes");
        assert_eq!(lock("ShareLock").blocks(), "writes");
        assert_eq!(lock("ShareUpdateExclusiveLock").blocks(), "nothing");
        assert!(lock("AccessExclusiveLock").strength() > lock("ShareLock").strength());
    }
}
