//! A connection of the registry's pool. Each statement is prepared once on it and kept: all of them are texts of this
//! program, so there is an end to their number, and most of what a short statement costs is its preparation.
//!
//! A newer program's migration of the registry may make one stale. Then all are forgotten, and it is tried again; in a
//! transaction, which the refusal ends, whoever began it tries again or says so.

use deadpool_postgres::Object;
use portero_pg::{Class, classify};
use tokio_postgres::{
    Error, Row, RowStream,
    types::{BorrowToSql, ToSql},
};

type Param<'a> = &'a (dyn ToSql + Sync);

/// A connection, lent.
pub(crate) struct Connection(Object);

/// A transaction; one that is not committed is rolled back.
pub(crate) struct Transaction<'a>(deadpool_postgres::Transaction<'a>);

macro_rules! prepared_once {
    ($($name:ident -> $answer:ty;)*) => {
        impl Connection {
            $(pub(crate) async fn $name(&self, sql: &str, params: &[Param<'_>]) -> Result<$answer, Error> {
                let statement = self.0.prepare_cached(sql).await?;
                match self.0.$name(&statement, params).await {
                    Err(error) if classify(&error) == Class::Stale => {
                        self.0.statement_cache.clear();
                        self.0.$name(&self.0.prepare_cached(sql).await?, params).await
                    }
                    answer => answer,
                }
            })*
        }

        impl Transaction<'_> {
            $(pub(crate) async fn $name(&self, sql: &str, params: &[Param<'_>]) -> Result<$answer, Error> {
                let statement = self.0.prepare_cached(sql).await?;
                self.0.$name(&statement, params).await.inspect_err(|error| {
                    if classify(error) == Class::Stale {
                        self.0.statement_cache.clear();
                    }
                })
            })*
        }
    };
}

prepared_once! {
    query -> Vec<Row>;
    query_one -> Row;
    query_opt -> Option<Row>;
    execute -> u64;
}

impl From<Object> for Connection {
    fn from(object: Object) -> Self {
        Self(object)
    }
}

impl Connection {
    /// Begins a transaction.
    pub(crate) async fn transaction(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(Transaction(self.0.transaction().await?))
    }

    /// Begins one that only reads, all of it as of one moment.
    pub(crate) async fn snapshot(&mut self) -> Result<Transaction<'_>, Error> {
        let one_moment = tokio_postgres::IsolationLevel::RepeatableRead;
        let txn = self.0.build_transaction().isolation_level(one_moment).read_only(true).start().await?;
        Ok(Transaction(txn))
    }
}

impl Transaction<'_> {
    pub(crate) async fn commit(self) -> Result<(), Error> {
        self.0.commit().await
    }

    pub(crate) async fn batch_execute(&self, sql: &str) -> Result<(), Error> {
        self.0.batch_execute(sql).await
    }

    /// Row by row.
    pub(crate) async fn query_raw<P, I>(&self, sql: &str, params: I) -> Result<RowStream, Error>
    where
        P: BorrowToSql,
        I: IntoIterator<Item = P>,
        I::IntoIter: ExactSizeIterator,
    {
        self.0.query_raw(sql, params).await
    }
}
