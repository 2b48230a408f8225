//! Migrations that can't run in a transaction, `CREATE INDEX CONCURRENTLY` above all: statement by statement, and their
//! history row at the end.
//!
//! What a crash leaves of one is run again, so each of its statements must bear that. An index is seen to: one that was
//! left INVALID is dropped first, one that is whole is not made again if it is the file's. PostgreSQL itself
//! says whether it is: it makes the file's on an empty copy of the table, and both definitions are as it writes them.

use super::{
    Applied, MigrateError, Migration, Terms, failed, history_row, lock_key, results,
    statements::{ConcurrentIndex, concurrent_index, is_concurrent, split},
};
use crate::{Session, literal};
use tokio_postgres::Error;

/// An index by its name: whether it is whole, and its definition; and the schema of the table that the second name is.
const INDEX_THERE: &str = "
    SELECT i.indisvalid, pg_catalog.pg_get_indexdef(i.indexrelid),
           (SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_class c
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = pg_catalog.to_regclass($2))
    FROM pg_catalog.pg_index i WHERE i.indexrelid = pg_catalog.to_regclass($1)";

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
        if !is_made(session, migration, statement).await? {
            let done = session.batch_execute(statement).await;
            done.map_err(|source| failed(migration, statement, source))?;
        }
    }
    let (and_then, row) = ((terms.and_then)(migration), history_row(migration));
    let answer = session
        .simple_query(&format!(
            "{usual};BEGIN;{and_then};{row};COMMIT;
             SELECT pg_catalog.pg_advisory_unlock({key}); RESET idle_session_timeout; RESET statement_timeout"
        ))
        .await
        .map_err(|source| failed(migration, "", source))?;
    let rows = results(&answer).into_iter().next().unwrap_or_default();
    rows.first().map(|row| Applied::from_row(row)).transpose()
}

/// Whether the statement makes an index that is there, and whole. One that is not whole is not there any more after this.
async fn is_made(session: &Session, migration: &Migration, statement: &str) -> Result<bool, MigrateError> {
    let failed = |source| failed(migration, "", source);
    let Some(index) = concurrent_index(statement) else { return Ok(false) };
    let Some(name) = index.name.map(|name| format!("{}{name}", index.schema)) else { return Ok(false) };
    let table = format!("{}{}", index.schema, index.table);
    let Some(row) = session.query_opt(INDEX_THERE, &[&name, &table]).await.map_err(failed)? else {
        return Ok(false);
    };
    let (is_whole, there, schema): (bool, String, Option<String>) = (row.get(0), row.get(1), row.get(2));
    if !is_whole {
        session.batch_execute(&format!("DROP INDEX CONCURRENTLY {name}")).await.map_err(failed)?;
        return Ok(false);
    }
    let wanted = definition(session, &index, &schema.unwrap_or_default()).await.map_err(failed)?;
    if there == wanted {
        return Ok(true);
    }
    Err(MigrateError::OtherIndex { migration: migration.to_string(), there, wanted })
}

/// The definition that an index would have on its table in this schema, as PostgreSQL writes it. Nothing of it stays.
async fn definition(session: &Session, index: &ConcurrentIndex<'_>, schema: &str) -> Result<String, Error> {
    let ConcurrentIndex { is_unique, name, schema: place, table, rest } = index;
    let (unique, name) = (if *is_unique { "UNIQUE" } else { "" }, name.unwrap_or_default());
    // The copy has the table's own name, since an expression may mention it.
    let made = literal(&format!("pg_temp.{name}"));
    let answer = session
        .simple_query(&format!(
            "BEGIN; CREATE TEMPORARY TABLE {table} (LIKE {place}{table});
             CREATE {unique} INDEX {name} ON pg_temp.{table} {rest}\n;
             SELECT pg_catalog.regexp_replace(pg_catalog.pg_get_indexdef({made}::pg_catalog.regclass),
                 ' ON pg_temp(_[0-9]+)?[.]', {on});
             ROLLBACK",
            on = literal(&format!(" ON {schema}."))
        ))
        .await?;
    let row = results(&answer).pop().and_then(|rows| rows.first()?.get(0).map(str::to_owned));
    Ok(row.unwrap_or_default())
}
