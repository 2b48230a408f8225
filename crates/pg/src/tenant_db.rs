//! A connection that has proven whose database it is.
//!
//! Every tenant database bears a mark, a comment on the database with the tenant's id. [`prove`] reads it after each
//! login; only what bears the right mark becomes a [`TenantDb`], and domain code runs SQL on nothing else.
//!
//! A `TenantDb` that is dropped while a statement is under way (the client went away, a timeout fired) is not given
//! back to its pool: its connection is closed, so the next request never meets what this one left.

use deadpool_postgres::{Object, Transaction};
use portero_kernel::TenantId;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Client, Error, Row, types::ToSql};

/// What every mark begins with.
pub const MARK_PREFIX: &str = "portero tenant ";

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
    const MARK: &str = "SELECT shobj_description(oid, 'pg_database') FROM pg_catalog.pg_database WHERE datname = current_database()";
    let mark: Option<String> = client.query_typed(MARK, &[]).await?.first().and_then(|row| row.get(0));
    if mark.as_deref() == Some(database_mark(tenant).as_str()) {
        Ok(())
    } else {
        Err(NotTheTenant::WrongMark(tenant))
    }
}

/// A connection to one tenant's database, on loan from its pool.
pub struct TenantDb {
    object: Option<Object>,
    tenant: TenantId,
    in_flight: AtomicU32,
}

/// A parameter of a statement.
pub type Param<'a> = &'a (dyn ToSql + Sync);

impl TenantDb {
    /// Takes a pooled connection. The pool's owner answers for having called [`prove`] on it after its login.
    #[must_use]
    pub fn proven(object: Object, tenant: TenantId) -> Self {
        Self { object: Some(object), tenant, in_flight: AtomicU32::new(0) }
    }

    /// Whose database this is.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Runs a prepared, cached statement and returns all rows.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let object = self.object();
        self.watched(async {
            let statement = object.prepare_cached(sql).await?;
            object.query(&statement, params).await
        })
        .await
    }

    /// Like [`TenantDb::query`], for at most one row.
    ///
    /// # Errors
    /// As PostgreSQL says, and where there is more than one row.
    pub async fn query_opt(&self, sql: &str, params: &[Param<'_>]) -> Result<Option<Row>, Error> {
        let object = self.object();
        self.watched(async {
            let statement = object.prepare_cached(sql).await?;
            object.query_opt(&statement, params).await
        })
        .await
    }

    /// Like [`TenantDb::query`], for exactly one row.
    ///
    /// # Errors
    /// As PostgreSQL says, and where there isn't exactly one row.
    pub async fn query_one(&self, sql: &str, params: &[Param<'_>]) -> Result<Row, Error> {
        let object = self.object();
        self.watched(async {
            let statement = object.prepare_cached(sql).await?;
            object.query_one(&statement, params).await
        })
        .await
    }

    /// Runs a statement and returns how many rows it touched.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let object = self.object();
        self.watched(async {
            let statement = object.prepare_cached(sql).await?;
            object.execute(&statement, params).await
        })
        .await
    }

    /// Begins a transaction. Dropping it without [`TenantTxn::commit`] rolls back.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn transaction(&mut self) -> Result<TenantTxn<'_>, Error> {
        let Self { object, in_flight, .. } = self;
        let object = object.as_mut().expect("taken only on drop");
        let watch = Watch::begin(in_flight);
        let inner = object.transaction().await?;
        watch.end();
        Ok(TenantTxn { inner, in_flight })
    }

    fn object(&self) -> &Object {
        self.object.as_ref().expect("taken only on drop")
    }

    async fn watched<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let watch = Watch::begin(&self.in_flight);
        let outcome = work.await;
        watch.end();
        outcome
    }
}

impl Drop for TenantDb {
    fn drop(&mut self) {
        if *self.in_flight.get_mut() > 0
            && let Some(object) = self.object.take()
        {
            drop(Object::take(object));
        }
    }
}

/// A transaction in one tenant's database.
pub struct TenantTxn<'a> {
    inner: Transaction<'a>,
    in_flight: &'a AtomicU32,
}

impl TenantTxn<'_> {
    /// Like [`TenantDb::query`].
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn query(&self, sql: &str, params: &[Param<'_>]) -> Result<Vec<Row>, Error> {
        let watch = Watch::begin(self.in_flight);
        let outcome = async {
            let statement = self.inner.prepare_cached(sql).await?;
            self.inner.query(&statement, params).await
        }
        .await;
        watch.end();
        outcome
    }

    /// Like [`TenantDb::execute`].
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub async fn execute(&self, sql: &str, params: &[Param<'_>]) -> Result<u64, Error> {
        let watch = Watch::begin(self.in_flight);
        let outcome = async {
            let statement = self.inner.prepare_cached(sql).await?;
            self.inner.execute(&statement, params).await
        }
        .await;
        watch.end();
        outcome
    }

    /// Commits.
    ///
    /// # Errors
    /// As PostgreSQL says. Where the connection was lost the outcome is unknown.
    pub async fn commit(self) -> Result<(), Error> {
        let Self { inner, in_flight } = self;
        let watch = Watch::begin(in_flight);
        let outcome = inner.commit().await;
        watch.end();
        outcome
    }
}

/// Counts a statement as under way until it is said to have ended; a dropped future never says so.
struct Watch<'a>(&'a AtomicU32);

impl<'a> Watch<'a> {
    fn begin(in_flight: &'a AtomicU32) -> Self {
        in_flight.fetch_add(1, Ordering::Relaxed);
        Self(in_flight)
    }

    fn end(self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
