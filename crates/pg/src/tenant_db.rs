//! A connection that has proven whose database it is.
//!
//! Every tenant database bears a mark, a comment on the database with the tenant's id. [`TenantConnection::open`] reads
//! it after each login; only what bears the right mark becomes a [`TenantConnection`], whoever lends connections lends
//! it as a [`TenantDb`], and domain code runs SQL on nothing else.
//!
//! What the next borrower sees is as new. A `TenantDb` comes back with a [`Fate`]: dropped in the middle of a statement,
//! or after a statement that may have changed the session itself (`SET`, `LISTEN`, a session's advisory lock, a temporary
//! table), it is closed rather than lent again. A transaction that wasn't committed is rolled back before anything else
//! runs on its connection.
//!
//! Statements are prepared once for a connection and kept. A migration can make one stale: its rows have other columns
//! now, or its parameters another type, and PostgreSQL refuses to run it. It is prepared again and retried, once, and nobody notices; in a transaction,
//! which the refusal ends, that isn't possible, and the error is [`Class::Stale`]. Either way the connection forgets all
//! that it has prepared, since what made one statement stale did so with others.

use crate::{
    Class, classify, connector,
    error::is_outdated,
    wire::{Endpoint, Guarded, Stream},
};
use deadpool_postgres::{ClientWrapper, Transaction};
use portero_kernel::TenantId;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::AbortHandle, time::timeout};
use tokio_postgres::{
    Client, Config, Error, Row, Statement, config::TargetSessionAttrs, tls::MakeTlsConnect, types::ToSql,
};

/// What every mark begins with.
pub const MARK_PREFIX: &str = "portero tenant ";

/// How long the server may take to hear that a statement is no longer wanted.
const CANCEL: Duration = Duration::from_secs(2);

/// The comment that a tenant's database bears.
#[must_use]
pub fn database_mark(tenant: TenantId) -> String {
    format!("{MARK_PREFIX}{tenant}")
}

/// The connection leads somewhere else than it should.
#[derive(Debug, thiserror::Error)]
pub enum NotTheTenant {
    /// The mark could not be read.
    #[error("the database's mark could not be read")]
    Unreadable(#[from] Error),
    /// The database belongs to somebody else, or to nobody.
    #[error("the database does not bear the mark of {0:?}")]
    WrongMark(TenantId),
}

/// Checks that the session is in this tenant's database.
///
/// # Errors
/// [`NotTheTenant::WrongMark`] unless the database's comment is exactly this tenant's mark.
pub async fn prove(client: &Client, tenant: TenantId) -> Result<(), NotTheTenant> {
    seen(client, tenant).await.map(|_| ())
}

/// Checks the mark, and says whether the server takes no writes.
async fn seen(client: &Client, tenant: TenantId) -> Result<bool, NotTheTenant> {
    const SEEN: &str = "SELECT shobj_description(oid, 'pg_database'), pg_is_in_recovery() FROM pg_catalog.pg_database WHERE datname = current_database()";
    let rows = client.query_typed(SEEN, &[]).await?;
    let row = rows.first().ok_or(NotTheTenant::WrongMark(tenant))?;
    let mark: Option<&str> = row.get(0);
    if mark == Some(database_mark(tenant).as_str()) {
        Ok(row.get(1))
    } else {
        Err(NotTheTenant::WrongMark(tenant))
    }
}

/// Why a tenant's database could not be logged in to.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No socket.
    #[error("the server can't be reached")]
    Unreachable(#[source] std::io::Error),
    /// The socket, and no session; see [`crate::classify`].
    #[error("the login failed")]
    Login(#[source] Error),
    /// A session, and in the wrong place.
    #[error("the login led somewhere else")]
    NotTheTenant(#[from] NotTheTenant),
    /// None of the server's hosts takes writes at the moment.
    #[error("the server takes no writes")]
    ReadOnly,
}

impl OpenError {
    /// Whether it is the refusal of a server that works, for this role or this database alone.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Login(error) | Self::NotTheTenant(NotTheTenant::Unreadable(error)) => {
                error.code().is_some() && classify(error) != Class::Unavailable
            }
            Self::NotTheTenant(NotTheTenant::WrongMark(_)) => true,
            Self::Unreachable(_) | Self::ReadOnly => false,
        }
    }
}

/// A session in one tenant's database, proven to be there.
pub struct TenantConnection {
    client: ClientWrapper,
    tenant: TenantId,
    from: Endpoint,
    driver: AbortHandle,
    /// The thread that it was opened on, where its driver is unless a runtime moves it.
    thread: u64,
    /// A statement may still be running.
    unfinished: bool,
}

impl TenantConnection {
    /// Logs in to `login`, a configuration made by [`crate::Address::login`], and reads the mark. The hosts are tried, `first` first
    /// and then in their order, until one takes the login, and takes writes where `target_session_attrs=read-write` asks for it. `guard` is
    /// kept as long as any socket of this lasts, and dropped when the server's side of it is gone too.
    ///
    /// All of it takes no longer than `within`, of which each host has its part.
    ///
    /// # Errors
    /// That of the last host.
    pub async fn open<G: Send + Sync + 'static>(
        login: &Config,
        tenant: TenantId,
        guard: G,
        first: Option<&Endpoint>,
        within: Duration,
    ) -> Result<Self, OpenError> {
        let guard = Arc::new(guard);
        let mut last = OpenError::ReadOnly;
        let mut endpoints = Endpoint::all(login).await.map_err(OpenError::Unreachable)?;
        endpoints.sort_by_key(|endpoint| Some(endpoint) != first);
        // One that hangs must leave time for the next.
        let per_host = within / u32::try_from(endpoints.len()).unwrap_or(1).max(1);
        for endpoint in endpoints {
            match timeout(per_host, Self::open_at(&endpoint, login, tenant, Arc::clone(&guard))).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => last = error,
                Err(_) => last = OpenError::Unreachable(std::io::ErrorKind::TimedOut.into()),
            }
        }
        Err(last)
    }

    async fn open_at<G: Send + Sync + 'static>(
        endpoint: &Endpoint,
        login: &Config,
        tenant: TenantId,
        guard: Arc<G>,
    ) -> Result<Self, OpenError> {
        let stream = Guarded::new(endpoint.dial().await.map_err(OpenError::Unreachable)?, guard);
        let tls = tls_for::<Guarded<Arc<G>>>(endpoint).map_err(OpenError::Unreachable)?;
        let (client, connection) = login.connect_raw(stream, tls).await.map_err(OpenError::Login)?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a tenant's connection ended");
            }
        });
        let driven = driver.abort_handle();
        let client = ClientWrapper::new(client, driver);
        let read_only = seen(&client, tenant).await?;
        if read_only && login.get_target_session_attrs() == TargetSessionAttrs::ReadWrite {
            return Err(OpenError::ReadOnly);
        }
        let from = endpoint.clone();
        Ok(Self { client, tenant, from, driver: driven, thread: thread_number(), unfinished: false })
    }

    /// Whether the session has ended.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// What cuts this connection, whoever holds it: their statement ends with an error.
    #[must_use]
    pub fn cutter(&self) -> AbortHandle {
        self.driver.clone()
    }

    /// The [`thread_number`] of the thread that it was opened on, which drives it where its runtime has only the one.
    #[must_use]
    pub const fn home(&self) -> u64 {
        self.thread
    }

    /// Closes the session. If it may be in the middle of a statement, the server is told to stop that first.
    pub fn close(self) {
        if !self.unfinished {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            let token = self.client.cancel_token();
            let cancel = async {
                let stream = self.from.dial().await.ok()?;
                let tls = tls_for::<Stream>(&self.from).ok()?;
                token.cancel_query_raw(stream, tls).await.ok()
            };
            // A server that doesn't hear it stops by `client_connection_check_interval` or `statement_timeout`.
            let _ = timeout(CANCEL, cancel).await;
            drop(self);
        });
    }
}

/// A number of this thread's own.
#[must_use]
pub fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    thread_local!(static NUMBER: u64 = NEXT.fetch_add(1, Ordering::Relaxed));
    NUMBER.with(|number| *number)
}

/// The handshake for a host, should the configuration ask for one.
pub(crate) fn tls_for<S>(
    endpoint: &Endpoint,
) -> std::io::Result<<tokio_postgres_rustls::MakeRustlsConnect as MakeTlsConnect<S>>::TlsConnect>
where
    tokio_postgres_rustls::MakeRustlsConnect: MakeTlsConnect<S>,
    <tokio_postgres_rustls::MakeRustlsConnect as MakeTlsConnect<S>>::Error: std::fmt::Display,
{
    // A Unix socket has no name and no TLS; the connector only wants some name.
    let name = if endpoint.name().is_empty() { "localhost" } else { endpoint.name() };
    MakeTlsConnect::<S>::make_tls_connect(&mut connector(), name)
        .map_err(|error| std::io::Error::other(error.to_string()))
}

/// In which state a connection comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// As new.
    Clean,
    /// A statement was abandoned half-way, or may still be running.
    Unfinished,
    /// A statement may have changed the session for whoever comes next.
    Changed,
    /// The server ended it, is going down, or takes no writes: there may be more to this than one connection.
    Suspect,
}

/// What became of a statement that a migration had made stale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stale {
    /// It was prepared again and retried.
    Retried,
    /// The error went to whoever asked: in a transaction, or where it was stale again.
    Told,
}

/// Whoever lends connections, and takes them back.
pub trait Lender: Send + Sync {
    /// Takes back what was lent as `ticket`.
    fn take_back(&self, ticket: u64, connection: TenantConnection, fate: Fate);

    /// Counts a statement that was stale.
    fn note_stale(&self, stale: Stale);
}

/// A connection to one tenant's database, on loan.
pub struct TenantDb {
    connection: Option<TenantConnection>,
    lender: Arc<dyn Lender>,
    ticket: u64,
    record: Record,
}

/// What happened to a connection while it was on loan.
#[derive(Default)]
struct Record {
    in_flight: AtomicU32,
    changed: AtomicBool,
    suspect: AtomicBool,
}

/// A parameter of a statement.
pub type Param<'a> = &'a (dyn ToSql + Sync);

impl TenantDb {
    /// Lends a connection; when this is dropped, `lender` has it back under the number `ticket`.
    #[must_use]
    pub fn lend(connection: TenantConnection, lender: Arc<dyn Lender>, ticket: u64) -> Self {
        Self { connection: Some(connection), lender, ticket, record: Record::default() }
    }

    /// Whose database this is.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.connection().tenant
    }

    /// Runs a prepared, cached statement and returns all rows.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let client = &self.connection().client;
        self.run(sql, |statement| async move { client.query(&statement, params).await }).await
    }

    /// Like [`TenantDb::query`], for at most one row.
    ///
    /// # Errors
    /// As PostgreSQL says, and where there is more than one row.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        let client = &self.connection().client;
        self.run(sql, |statement| async move { client.query_opt(&statement, params).await }).await
    }

    /// Like [`TenantDb::query`], for exactly one row.
    ///
    /// # Errors
    /// As PostgreSQL says, and where there isn't exactly one row.
    pub async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Error> {
        let client = &self.connection().client;
        self.run(sql, |statement| async move { client.query_one(&statement, params).await }).await
    }

    /// Runs a statement and returns how many rows it touched.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let client = &self.connection().client;
        self.run(sql, |statement| async move { client.execute(&statement, params).await }).await
    }

    /// Begins a transaction. Dropping it without [`TenantTxn::commit`] rolls back.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn transaction(&mut self) -> Result<TenantTxn<'_>, Error> {
        let Self { connection, record, lender, .. } = self;
        let client = &mut connection.as_mut().expect("taken only on drop").client;
        let inner = record.watched("", client.transaction()).await?;
        Ok(TenantTxn { inner, record, lender: &**lender, failed: AtomicBool::new(false) })
    }

    /// Does something with a prepared statement; if that is stale, once more with a new one. A statement on its own is its
    /// own transaction: one that was refused has changed nothing.
    async fn run<T, R>(&self, sql: &str, act: impl Fn(Statement) -> R) -> Result<T, Error>
    where
        R: Future<Output = Result<T, Error>>,
    {
        let client = &self.connection().client;
        let twice = async {
            match act(client.prepare_cached(sql).await?).await {
                Err(error) if is_outdated(&error) => {
                    client.statement_cache.clear();
                    self.lender.note_stale(Stale::Retried);
                    // Boxed: it is hardly ever needed, and would make every statement's future twice as large.
                    let again = Box::pin(async { act(client.prepare_cached(sql).await?).await });
                    again.await.inspect_err(|error| {
                        if classify(error) == Class::Stale {
                            client.statement_cache.clear();
                            self.lender.note_stale(Stale::Told);
                        }
                    })
                }
                outcome => outcome,
            }
        };
        self.record.watched(sql, twice).await
    }

    fn connection(&self) -> &TenantConnection {
        self.connection.as_ref().expect("taken only on drop")
    }
}

impl Drop for TenantDb {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take() {
            connection.unfinished = *self.record.in_flight.get_mut() > 0;
            self.lender.take_back(self.ticket, connection, self.record.fate());
        }
    }
}

/// A transaction in one tenant's database.
pub struct TenantTxn<'a> {
    inner: Transaction<'a>,
    record: &'a Record,
    lender: &'a dyn Lender,
    /// A statement failed: unless that was rolled back to a savepoint, there is nothing to commit.
    failed: AtomicBool,
}

impl TenantTxn<'_> {
    /// Like [`TenantDb::query`], but a stale statement isn't retried: it has ended the transaction.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let outcome = self
            .record
            .watched(sql, async {
                let statement = self.inner.prepare_cached(sql).await?;
                self.inner.query(&statement, params).await
            })
            .await;
        self.noted(outcome)
    }

    /// Like [`TenantDb::execute`].
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let outcome = self
            .record
            .watched(sql, async {
                let statement = self.inner.prepare_cached(sql).await?;
                self.inner.execute(&statement, params).await
            })
            .await;
        self.noted(outcome)
    }

    /// Commits.
    ///
    /// # Errors
    /// As PostgreSQL says. Where the connection was lost the outcome is unknown.
    /// Where a statement failed and nothing rolled it back, nothing is committed, and that is an error (25P02).
    pub async fn commit(self) -> Result<(), Error> {
        if self.failed.load(Ordering::Relaxed) {
            // PostgreSQL answers COMMIT with ROLLBACK then, which the client doesn't tell from success.
            self.record.watched("", self.inner.query_typed("SELECT 1", &[])).await?;
        }
        self.record.watched("", self.inner.commit()).await
    }

    fn noted<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        outcome.inspect_err(|error| {
            self.failed.store(true, Ordering::Relaxed);
            if is_outdated(error) {
                self.inner.statement_cache.clear();
                self.lender.note_stale(Stale::Told);
            }
        })
    }
}

impl Record {
    /// Counts a statement as under way until PostgreSQL has ended it. A dropped future never says so, and neither does an
    /// error of this side: at a second row where one was wanted, the rest of the answer is given up on and still comes.
    async fn watched<T>(&self, sql: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        if changes_the_session(sql) {
            self.changed.store(true, Ordering::Relaxed);
        }
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let outcome = work.await;
        let ended = match &outcome {
            Ok(_) => true,
            Err(error) if classify(error) == Class::Unavailable => {
                self.suspect.store(true, Ordering::Relaxed);
                true
            }
            Err(error) => error.code().is_some(),
        };
        if ended {
            self.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
        outcome
    }

    fn fate(&mut self) -> Fate {
        if *self.suspect.get_mut() {
            Fate::Suspect
        } else if *self.in_flight.get_mut() > 0 {
            Fate::Unfinished
        } else if *self.changed.get_mut() {
            Fate::Changed
        } else {
            Fate::Clean
        }
    }
}

/// Whether a statement may leave something in the session that outlives its transaction. Anything but plain reading and
/// writing is taken to, and so is what PostgreSQL lets plain statements do beside: set a parameter or hold a session's lock
/// by a function, change `pg_settings`, make a temporary table by `SELECT … INTO`. What a function of somebody's own does
/// can't be told from its name.
fn changes_the_session(sql: &str) -> bool {
    const PLAIN: [&str; 8] = ["select", "insert", "update", "delete", "with", "values", "merge", "table"];
    const TELLTALE: [&str; 8] = [
        "set_config",
        "setseed",
        "pg_settings",
        "pg_temp",
        "pg_advisory_lock",
        "pg_advisory_lock_shared",
        "pg_try_advisory_lock",
        "pg_try_advisory_lock_shared",
    ];
    const TEMPORARY: [&str; 4] = ["temp", "temporary", "local", "global"];
    let one_of = |names: &[&str], word: &str| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    let begin = sql.trim_start();
    let word = begin.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    if !begin.is_empty() && !one_of(&PLAIN, word) {
        return true;
    }
    let words = begin.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let mut after_into = false;
    words.filter(|word| !word.is_empty()).any(|word| {
        let tells = one_of(&TELLTALE, word) || after_into && one_of(&TEMPORARY, word);
        after_into = word.eq_ignore_ascii_case("into");
        tells
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_outlive_a_statement_is_told_from_plain_reading_and_writing() {
        for plain in [
            "SELECT 1",
            "\n  select id FROM users WHERE email = $1",
            "WITH x AS (SELECT 1) INSERT INTO a SELECT * FROM x",
            "UPDATE settings SET value = $1",
            "SELECT pg_advisory_xact_lock(1)",
            "INSERT INTO temperatures SELECT temp, local FROM into_temp",
            "UPDATE settings SET set_configured = temporary",
            "",
        ] {
            assert!(!changes_the_session(plain), "{plain}");
        }
        for change in [
            "SET search_path = other",
            "set local x = 1",
            "RESET ALL",
            "LISTEN x",
            "CREATE TEMP TABLE t ()",
            "BEGIN",
            "PREPARE p AS SELECT 1",
            "SELECT set_config('a.b', 'c', false)",
            "select SET_CONFIG('a.b', 'c', false)",
            "SELECT pg_try_advisory_lock(1)",
            "SELECT \"pg_advisory_lock\"(1)",
            "SELECT setseed(0.5)",
            "UPDATE pg_settings SET setting = '0' WHERE name = 'statement_timeout'",
            "update pg_catalog.PG_SETTINGS set setting = '0'",
            "SELECT 1 AS one INTO TEMPORARY t",
            "with x as (select 1) select * into\n\ttemp table t from x",
            "SELECT * INTO/**/LOCAL TEMP t FROM x",
            "SELECT * INTO pg_temp.t FROM x",
            "/* x */ SET a = b",
            "DO $$ BEGIN END $$",
        ] {
            assert!(changes_the_session(change), "{change}");
        }
    }
}
