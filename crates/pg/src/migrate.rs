//! Bringing a database to the version of a set of migrations.
//!
//! refinery reads the files and knows their checksums; running them is done here, as refinery does it and with its history
//! table, since it takes no lock, asks the server a dozen times and has no way for what can't run in a transaction.
//!
//! A migration takes two messages: one begins a transaction, takes the lock, and reads the history; the other has the
//! migration, its history row, read back as it is then, and the commit. The lock is the transaction's: it goes
//! with the session that had it, also with one that was frozen (`idle_in_transaction_session_timeout`), and holds behind a
//! pooler that hands out sessions by the transaction. Nobody waits for it in the database, where a waiting session would be
//! in the way of what is done CONCURRENTLY.

mod set;
mod statements;
mod unguarded;

pub use set::{Migration, Migrations, SetError};

use crate::{Session, database_mark, literal};
use portero_kernel::{SchemaVersion, TenantId};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::time::{Instant, sleep};
use tokio_postgres::{
    Error, SimpleQueryMessage, SimpleQueryRow,
    error::{ErrorPosition, SqlState},
};

/// Where each database keeps which migrations it has. Written as refinery does.
const CREATE_HISTORY: &str = "CREATE TABLE IF NOT EXISTS public.schema_history(
    version int4 PRIMARY KEY,
    name VARCHAR(255),
    applied_on VARCHAR(255),
    checksum VARCHAR(255))";
/// The name of the advisory lock in each database that whoever migrates it has.
pub const MIGRATION_LOCK: &str = "portero.migrate";

const READ_HISTORY: &str = "SELECT version, name, checksum FROM public.schema_history";
/// As `database_mark` writes it; the catalogue itself is asked, since a function would be one more thing to look up.
const READ_MARK: &str = "SELECT d.description FROM pg_catalog.pg_shdescription d
    JOIN pg_catalog.pg_database b ON b.oid = d.objoid AND b.datname = pg_catalog.current_database()
    WHERE d.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass";

/// How long a database may be somebody else's to migrate before one gives up.
const BUSY_FOR: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The lock, a setting or the history could not be read.
    #[error("preparing the migration failed")]
    Prepare(#[from] Error),
    /// Somebody else migrates it, and doesn't come to an end.
    #[error("another process has been migrating this database for {} s", BUSY_FOR.as_secs())]
    Busy,
    /// The database is another than it should be: nothing was done.
    #[error("the database doesn't bear the mark of tenant {0}")]
    WrongMark(TenantId),
    /// The database was migrated by a newer Portero.
    #[error("the schema has version {found}, and this Portero knows only {known}: run the newer one")]
    Newer {
        /// The version of the database's schema.
        found: SchemaVersion,
        /// The newest version that this program has.
        known: SchemaVersion,
    },
    /// It has another migration of this version than the set.
    #[error(
        "{applied} was applied, and it is not the {expected} that is known here: the name or the text differs"
    )]
    Divergent {
        /// In the database.
        applied: String,
        /// In the set.
        expected: String,
    },
    /// A migration of the set is not in the database, and newer ones are.
    #[error("{missing} was never applied, though version {found} was")]
    Hole {
        /// The migration.
        missing: String,
        /// The newest that is there.
        found: SchemaVersion,
    },
    /// A row of the history doesn't say which migration it is of.
    #[error(
        "a row of public.schema_history has no {0}: it was changed by hand. Put back what it had; until then nothing is migrated here"
    )]
    Damaged(&'static str),
    /// A migration failed; it was rolled back, those before it stay.
    #[error("{migration} failed{}", line.map(|line| format!(" in line {line}")).unwrap_or_default())]
    Migration {
        /// Which.
        migration: String,
        /// Where in its text, if PostgreSQL says.
        line: Option<usize>,
        /// Why.
        #[source]
        source: Error,
    },
    /// An index of that name is there, and it is not the one that the migration makes.
    #[error(
        "{migration}: another index has the name of the one that it makes. There is: {there}. The file says: {wanted}. \
         Drop the one that is there or give it another name, and try again"
    )]
    OtherIndex {
        /// Which migration.
        migration: String,
        /// The definition of the one that is there.
        there: String,
        /// The definition that it would have.
        wanted: String,
    },
    /// After it was committed the history doesn't have it.
    #[error("{0} ran, and the history doesn't have it")]
    Vanished(String),
}

impl MigrateError {
    /// What PostgreSQL said, if it was that.
    #[must_use]
    pub fn postgres(&self) -> Option<&Error> {
        match self {
            Self::Prepare(error) | Self::Migration { source: error, .. } => Some(error),
            _ => None,
        }
    }
}

/// Under which terms a database is migrated.
#[derive(Clone, Copy)]
pub struct Terms<'a> {
    /// Whose mark the database must bear, where that wasn't seen before: in a new session, looking costs nearly half of what a
    /// login and a small migration do.
    pub tenant: Option<TenantId>,
    /// How long a statement waits for a lock; as the session is set. What runs without a transaction is told it again.
    pub lock_timeout: Duration,
    /// What else belongs to a migration, in its transaction and after it: SQL, or nothing.
    pub and_then: &'a (dyn Fn(&Migration) -> String + Sync),
}

impl Terms<'_> {
    /// Any database; nothing belongs to a migration but itself.
    const PLAIN: Self =
        Self { tenant: None, lock_timeout: Duration::from_secs(10), and_then: &|_| String::new() };
}

/// The versions of a schema before and after an attempt, as its history said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// When it was first looked at.
    pub before: SchemaVersion,
    /// When it was last looked at.
    pub after: SchemaVersion,
}

/// How an attempt ended that didn't fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The database has all of the set.
    Done,
    /// Somebody else is migrating it.
    Busy,
}

/// A row of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Applied {
    version: SchemaVersion,
    name: String,
    checksum: String,
}

impl Migrations {
    /// Brings the session's database to the latest version; does nothing where it is there already. Who else does the same
    /// is waited for.
    ///
    /// # Errors
    /// [`MigrateError::Migration`] names the migration: what was applied before it stays applied. After an error the
    /// session is good for nothing but to be closed, which gives up the lock.
    pub async fn run(&self, session: &mut Session) -> Result<SchemaVersion, MigrateError> {
        session
            .batch_execute(
                "SET search_path = public; SET lock_timeout = '10s'; SET statement_timeout = '60s'",
            )
            .await?;
        let until = Instant::now() + BUSY_FOR;
        let mut versions = None;
        loop {
            match self.attempt(session, Terms::PLAIN, &mut versions).await? {
                Attempt::Done => return Ok(versions.map_or(0, |versions| versions.after)),
                Attempt::Busy if Instant::now() >= until => return Err(MigrateError::Busy),
                Attempt::Busy => sleep(LOOK_AGAIN).await,
            }
        }
    }

    /// The same once, on a session that is set up for it, `search_path` above all; and without waiting for whoever else
    /// migrates the database. `versions` is what the history said, as far as it was read, also where this fails.
    ///
    /// # Errors
    /// As [`Migrations::run`].
    pub async fn attempt(
        &self,
        session: &mut Session,
        terms: Terms<'_>,
        versions: &mut Option<Versions>,
    ) -> Result<Attempt, MigrateError> {
        loop {
            let Some(mut history) = begin(session, terms.tenant).await? else {
                session.batch_execute("ROLLBACK").await?;
                return Ok(Attempt::Busy);
            };
            note(versions, &history);
            let Some(next) = self.next(&history)? else {
                session.batch_execute("COMMIT").await?;
                return Ok(Attempt::Done);
            };
            let applied = if next.is_transactional() {
                apply(session, next, terms).await?
            } else {
                unguarded::apply(session, next, terms).await?
            };
            let applied = applied.filter(|applied| applied.is(next));
            history.push(applied.ok_or_else(|| MigrateError::Vanished(next.to_string()))?);
            note(versions, &history);
            if self.next(&history)?.is_none() {
                return Ok(Attempt::Done);
            }
        }
    }

    /// Whether the session's database has all of them. `versions` is what its history says.
    ///
    /// # Errors
    /// As PostgreSQL says, or where the history is another's.
    pub async fn is_complete(
        &self,
        session: &Session,
        versions: &mut Option<Versions>,
    ) -> Result<bool, MigrateError> {
        let answer = session.simple_query(READ_HISTORY).await?;
        let history = history(results(&answer).into_iter().flatten())?;
        note(versions, &history);
        Ok(self.next(&history)?.is_none())
    }

    /// The version that the session's database has now; `0` where nothing was ever applied.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn version(&self, session: &Session) -> Result<SchemaVersion, MigrateError> {
        let exists: bool =
            session.query_one("SELECT to_regclass('public.schema_history') IS NOT NULL", &[]).await?.get(0);
        if !exists {
            return Ok(0);
        }
        let row =
            session.query_one("SELECT coalesce(max(version), 0) FROM public.schema_history", &[]).await?;
        Ok(row.get(0))
    }

    /// The first that a database lacks, by its history.
    fn next(&self, history: &[Applied]) -> Result<Option<&Migration>, MigrateError> {
        let (found, known) = (newest(history), self.latest());
        if found > known {
            return Err(MigrateError::Newer { found, known });
        }
        for migration in self.all() {
            match history.iter().find(|applied| applied.version == migration.version) {
                Some(applied) if applied.is(migration) => {}
                Some(applied) => {
                    return Err(MigrateError::Divergent {
                        applied: format!("V{}__{}", applied.version, applied.name),
                        expected: migration.to_string(),
                    });
                }
                None if migration.version < found => {
                    return Err(MigrateError::Hole { missing: migration.to_string(), found });
                }
                None => return Ok(Some(migration)),
            }
        }
        Ok(None)
    }
}

impl Applied {
    fn is(&self, migration: &Migration) -> bool {
        self.version == migration.version
            && self.name == migration.name
            && self.checksum == migration.checksum.to_string()
    }

    fn from_row(row: &SimpleQueryRow) -> Result<Self, MigrateError> {
        let text = |at, what| row.get(at).ok_or(MigrateError::Damaged(what));
        Ok(Self {
            version: text(0, "version")?.parse().map_err(|_| MigrateError::Damaged("version"))?,
            name: text(1, "name")?.to_owned(),
            checksum: text(2, "checksum")?.to_owned(),
        })
    }
}

/// What was applied, oldest first.
fn history<'a>(rows: impl Iterator<Item = &'a SimpleQueryRow>) -> Result<Vec<Applied>, MigrateError> {
    let mut history = rows.map(Applied::from_row).collect::<Result<Vec<_>, _>>()?;
    history.sort_by_key(|applied| applied.version);
    Ok(history)
}

fn newest(history: &[Applied]) -> SchemaVersion {
    history.last().map_or(0, |applied| applied.version)
}

fn note(versions: &mut Option<Versions>, history: &[Applied]) {
    let after = newest(history);
    let before = versions.map_or(after, |versions| versions.before);
    *versions = Some(Versions { before, after });
}

/// Begins a transaction that has the lock, and reads the history in it; nothing where somebody else has the lock.
async fn begin(session: &Session, tenant: Option<TenantId>) -> Result<Option<Vec<Applied>>, MigrateError> {
    let key = lock_key(MIGRATION_LOCK);
    let mut lock = format!("BEGIN; SELECT pg_catalog.pg_try_advisory_xact_lock({key})");
    if tenant.is_some() {
        lock.extend(["; ", READ_MARK]);
    }
    let (answer, is_new) = match session.simple_query(&format!("{lock}; {READ_HISTORY}")).await {
        Ok(answer) => (answer, false),
        // Of a database that has never been migrated. One at a time makes the table.
        Err(error) if error.code() == Some(&SqlState::UNDEFINED_TABLE) => {
            session.batch_execute("ROLLBACK").await?;
            (session.simple_query(&lock).await?, true)
        }
        Err(error) => return Err(error.into()),
    };
    let mut results = results(&answer).into_iter();
    let mut value = || results.next()?.first()?.get(0).map(str::to_owned);
    let locked = value();
    if let Some(tenant) = tenant
        && value() != Some(database_mark(tenant))
    {
        return Err(MigrateError::WrongMark(tenant));
    }
    if locked.as_deref() != Some("t") {
        return Ok(None);
    }
    if is_new {
        session.batch_execute(CREATE_HISTORY).await?;
    }
    history(results.next().into_iter().flatten()).map(Some)
}

/// The migration and its row, in the transaction that was begun, and the end of that; says what the history has of it.
async fn apply(
    session: &Session,
    migration: &Migration,
    terms: Terms<'_>,
) -> Result<Option<Applied>, MigrateError> {
    let (sql, and_then, row) = (&migration.sql, (terms.and_then)(migration), history_row(migration));
    // The text comes first: where PostgreSQL finds a fault in it, it counts the characters up to there.
    let answer = session
        .simple_query(&format!("{sql}\n;{and_then};{row};COMMIT"))
        .await
        .map_err(|source| failed(migration, &migration.sql, source))?;
    let rows = results(&answer).pop().unwrap_or_default();
    rows.first().map(|row| Applied::from_row(row)).transpose()
}

/// As refinery writes it, and read back.
fn history_row(migration: &Migration) -> String {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
    format!(
        "INSERT INTO public.schema_history (version, name, applied_on, checksum) VALUES ({}, {}, {}, '{}')
         RETURNING version, name, checksum",
        migration.version,
        literal(&migration.name),
        literal(&now),
        migration.checksum
    )
}

/// What PostgreSQL had against a migration, of which it was told this part.
fn failed(migration: &Migration, part: &str, source: Error) -> MigrateError {
    let position = source.as_db_error().and_then(|error| error.position());
    let line = match position {
        Some(ErrorPosition::Original(at)) => line_of(&migration.sql, part, usize::try_from(*at).unwrap_or(0)),
        _ => None,
    };
    MigrateError::Migration { migration: migration.to_string(), line, source }
}

/// The line of a text that a character of a part of it is in, counted from 1 as the character is.
fn line_of(text: &str, part: &str, character: usize) -> Option<usize> {
    let within: String = part.chars().take(character.checked_sub(1)?).collect();
    let begins = (part.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
    let before = text.get(..begins + within.len()).filter(|_| within.len() < part.len())?;
    Some(before.matches('\n').count() + 1)
}

/// The rows of each result that has any columns.
fn results(answer: &[SimpleQueryMessage]) -> Vec<Vec<&SimpleQueryRow>> {
    let mut results: Vec<Vec<&SimpleQueryRow>> = Vec::new();
    for message in answer {
        match message {
            SimpleQueryMessage::RowDescription(_) => results.push(Vec::new()),
            SimpleQueryMessage::Row(row) => results.last_mut().into_iter().for_each(|rows| rows.push(row)),
            _ => {}
        }
    }
    results
}

/// A stable 64-bit key for an advisory lock: FNV-1a of its name.
#[must_use]
pub fn lock_key(name: &str) -> i64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Migrations {
        let none = Migrations::embedded(&refinery::Runner::new(&[]));
        none.with(["V1__a", "V2__b", "V3__c"].map(|stem| Migration::new(stem, stem).unwrap())).unwrap()
    }

    fn history(versions: &[SchemaVersion]) -> Vec<Applied> {
        let known = set();
        let applied = |version: &SchemaVersion| {
            let known = known.find(*version);
            let (name, checksum) =
                known.map_or(("z", 0), |migration| (migration.name.as_str(), migration.checksum));
            Applied { version: *version, name: name.to_owned(), checksum: checksum.to_string() }
        };
        versions.iter().map(applied).collect()
    }

    #[test]
    fn the_first_that_a_database_lacks_comes_next() {
        for (applied, next) in [(&[][..], Some(1)), (&[1], Some(2)), (&[1, 2], Some(3)), (&[1, 2, 3], None)] {
            let found = set().next(&history(applied)).unwrap().map(|migration| migration.version);
            assert_eq!(found, next, "{applied:?}");
        }
    }

    #[test]
    fn a_history_that_is_another_is_not_gone_on_with() {
        let told = |history: &[Applied]| set().next(history).unwrap_err().to_string();
        assert!(told(&history(&[1, 2, 3, 4])).contains("version 4, and this Portero knows only 3"));
        assert!(told(&history(&[1, 3])).contains("V2__b was never applied, though version 3 was"));
        let mut other = history(&[1, 2]);
        other[1].checksum = "17".to_owned();
        assert!(told(&other).contains("V2__b was applied, and it is not"), "{}", told(&other));
    }

    #[test]
    fn a_fault_is_in_a_line() {
        for (at, line) in [(0, None), (1, Some(1)), (3, Some(1)), (4, Some(2)), (7, Some(3)), (8, None)] {
            assert_eq!(line_of("ño\nab\nc", "ño\nab\nc", at), line, "{at}");
        }
        let text = "SELECT 1;\nSELECT 2;\n\nSELECT x";
        assert_eq!(line_of(text, &text[text.find("SELECT x").unwrap()..], 8), Some(4));
    }
}
