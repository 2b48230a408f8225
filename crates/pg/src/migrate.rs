//! Running refinery's migrations under an advisory lock.
//!
//! refinery takes no lock of its own and names its history table without a schema, so this holds a session-level lock
//! around the run and pins `search_path`. Each migration is a transaction of its own, its history row in it.

use crate::Session;
use portero_kernel::SchemaVersion;
use refinery::{Runner, Target};

/// Where each database keeps which migrations it has.
const HISTORY: &str = "public.schema_history";

/// Why a database could not be migrated.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The lock, a setting or the history could not be read.
    #[error("preparing the migration failed")]
    Prepare(#[from] tokio_postgres::Error),
    /// The database was migrated by a newer Portero.
    #[error("the schema has version {found}, and this Portero knows only {known}: run the newer one")]
    Newer {
        /// The version of the database's schema.
        found: SchemaVersion,
        /// The newest version that this program has.
        known: SchemaVersion,
    },
    /// A migration failed; it was rolled back, those before it stay.
    #[error("a migration failed")]
    Migration(#[from] refinery::Error),
}

/// A set of migrations, built into the program.
#[derive(Clone, Copy)]
pub struct Migrations {
    runner: fn() -> Runner,
}

impl Migrations {
    /// From the `runner` function that `refinery::embed_migrations!` makes.
    #[must_use]
    pub const fn new(runner: fn() -> Runner) -> Self {
        Self { runner }
    }

    /// The version that a database has after all of them.
    #[must_use]
    pub fn latest(&self) -> SchemaVersion {
        (self.runner)().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
    }

    /// A number that goes with the names, the order and the texts of all of them: another set has another.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut all: Vec<_> = (self.runner)()
            .get_migrations()
            .iter()
            .map(|migration| (migration.version(), migration.name().to_owned(), migration.checksum()))
            .collect();
        all.sort_unstable();
        u64::from_ne_bytes(lock_key(&format!("{all:?}")).to_ne_bytes())
    }

    /// Brings the session's database to the latest version; does nothing where it is there already.
    ///
    /// # Errors
    /// [`MigrateError::Migration`] names the migration: what was applied before it stays applied. After an error the
    /// session is good for nothing but to be closed, which gives up the lock.
    pub async fn run(&self, session: &mut Session) -> Result<SchemaVersion, MigrateError> {
        let key = lock_key("portero.migrate");
        session
            .batch_execute(
                "SET search_path = public; SET lock_timeout = '10s'; SET statement_timeout = '60s'",
            )
            .await?;
        session.execute("SELECT pg_advisory_lock($1)", &[&key]).await?;
        let (found, known) = (self.version(session).await?, self.latest());
        if found > known {
            return Err(MigrateError::Newer { found, known });
        }
        let mut runner =
            (self.runner)().set_target(Target::Latest).set_abort_divergent(true).set_abort_missing(false);
        runner.set_migration_table_name(HISTORY);
        let outcome = runner.run_async(&mut **session).await;
        session.execute("SELECT pg_advisory_unlock($1)", &[&key]).await?;
        outcome?;
        self.version(session).await
    }

    /// The version that the session's database has now; `0` where nothing was ever applied.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn version(&self, session: &Session) -> Result<SchemaVersion, MigrateError> {
        let exists: bool = session.query_one("SELECT to_regclass($1) IS NOT NULL", &[&HISTORY]).await?.get(0);
        if !exists {
            return Ok(0);
        }
        let row =
            session.query_one("SELECT coalesce(max(version), 0) FROM public.schema_history", &[]).await?;
        Ok(row.get(0))
    }
}

/// A stable 64-bit key for an advisory lock: FNV-1a of its name.
#[must_use]
pub fn lock_key(name: &str) -> i64 {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    i64::from_ne_bytes(hash.to_ne_bytes())
}
