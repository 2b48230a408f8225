//! Migrations that can't run in a transaction, `CREATE INDEX CONCURRENTLY` above all: statement by statement, and their
//! history row at the end.
//!
//! What a crash leaves of one is run again, so each of its statements must bear that. An index is seen to: one that was
//! left INVALID is dropped first, one that is whole is not made again.

use super::{
    Applied, MigrateError, Migration, Terms, failed, history_row, lock_key, results,
    statements::{concurrent_index, is_concurrent, split},
};
use crate::Session;
use tokio_postgres::Error;

/// How long something that is done CONCURRENTLY waits for others' transactions to end. Nobody waits for it meanwhile.
const CONCURRENTLY_WAITS: &str = "SET lock_timeout = '60s'";

/// Runs it in the session that has begun a transaction with the lock. The lock is the session's from here on, which ends
/// when nothing is heard from this process for half a minute.
pub(super) async fn apply(
    session: &Session,
    migration: &Migration,
    terms: Terms<'_>,
) -> Result<Option<Applied>, MigrateError> {
    let key = lock_key("portero.migrate");
    session
        .batch_execute(&format!(
            "SELECT pg_catalog.pg_advisory_lock({key}); COMMIT;
             SET statement_timeout = 0; SET idle_session_timeout = '30s'"
        ))
        .await?;
    let usual = format!("SET lock_timeout = '{}ms'", terms.lock_timeout.as_millis());
    for statement in split(&migration.sql) {
        let waits = if is_concurrent(statement) { CONCURRENTLY_WAITS } else { &usual };
        session.batch_execute(waits).await?;
        let done = run(session, statement).await;
        done.map_err(|source| failed(migration, statement, source))?;
    }
    let (and_then, row) = ((terms.and_then)(migration), history_row(migration));
    let answer = session
        .simple_query(&format!(
            "{usual};BEGIN;{and_then};{row};COMMIT;
             SELECT pg_catalog.pg_advisory_unlock({key}); RESET idle_session_timeout; RESET statement_timeout"
        ))
        .await
        .map_err(|source| failed(migration, "", source))?;
    Ok(results(&answer).into_iter().next().and_then(|rows| Applied::from_row(rows.first()?)))
}

async fn run(session: &Session, statement: &str) -> Result<(), Error> {
    if let Some(Some(index)) = concurrent_index(statement) {
        let sql = "SELECT indisvalid FROM pg_catalog.pg_index WHERE indexrelid = pg_catalog.to_regclass($1)";
        match session.query_opt(sql, &[&index]).await?.map(|row| row.get(0)) {
            Some(true) => return Ok(()),
            Some(false) => session.batch_execute(&format!("DROP INDEX CONCURRENTLY {index}")).await?,
            None => {}
        }
    }
    session.batch_execute(statement).await
}
