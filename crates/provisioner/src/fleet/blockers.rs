//! Who holds the lock that a migration waits for: asked over a session of its own, and only of a tenant that met a lock
//! before.

use crate::templates::maintenance;
use portero_kernel::RoleName;
use portero_pg::{MIGRATION_LOCK, Session, lock_key};
use std::{future, time::Duration};
use tokio::time::sleep;
use tokio_postgres::{Config, Error, Row};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The process of a session on the server.
pub(super) async fn process_of(session: &Session) -> Option<i32> {
    session.query_one("SELECT pg_backend_pid()", &[]).await.ok().map(|row| row.get(0))
}

/// Ends the other sessions in this database that migrate it, and waits until they have ended.
pub(super) async fn end_others_here(session: &Session) -> Result<(), Error> {
    let end = "SELECT pg_terminate_backend(pid, 10000) FROM pg_catalog.pg_stat_activity
               WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()
                 AND application_name = current_setting('application_name')";
    session.query(end, &[]).await.map(|_| ())
}

/// Ends sessions of the tenant's own role that hold the lock on its migrations: PostgreSQL lets every role take it, and nobody
/// but whoever migrates has a use for it. Who can't be ended is waited for like any other.
pub(super) async fn end_tenants_hold(session: &Session, role: &RoleName) {
    let ended = session
        .query(
            "SELECT pg_terminate_backend(a.pid) FROM pg_catalog.pg_locks l
             JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid
             WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
               AND ((l.classid::bigint << 32) | l.objid::bigint) = $1
               AND a.datname = current_database() AND a.usename = $2",
            &[&lock_key(MIGRATION_LOCK), &role.as_str()],
        )
        .await;
    match ended {
        Ok(rows) if rows.is_empty() => {}
        Ok(_) => tracing::warn!(
            role = role.as_str(),
            "a company's own session held the lock on its migrations, and was ended"
        ),
        Err(error) => {
            tracing::warn!(%error, "who holds the lock on a company's migrations could not be seen");
        }
    }
}

/// Does this, and says who was last seen to hold up the process meanwhile. That nobody can look is no error: what is seen is
/// only for people to read.
pub(super) async fn seen_while<T>(
    admin: &Config,
    process: i32,
    migrating: impl Future<Output = T>,
) -> (T, Option<String>) {
    let mut seen = None;
    let looking = async {
        if let Ok(session) = maintenance(admin).await {
            while !session.is_closed() {
                seen = look(&session, process).await.or(seen.take());
                sleep(LOOK_AGAIN).await;
            }
        }
        future::pending::<()>().await;
    };
    let done = tokio::select! {
        done = migrating => done,
        () = looking => unreachable!("it looks on for ever"),
    };
    (done, seen)
}

/// Who holds the process up now.
async fn look(session: &Session, process: i32) -> Option<String> {
    let rows = session
        .query(
            "SELECT a.pid, a.usename::text, a.application_name, a.state,
                    extract(epoch FROM clock_timestamp() - coalesce(a.xact_start, a.query_start))::float8 AS secs
             FROM unnest(pg_blocking_pids($1)) AS blocking (pid)
             JOIN pg_catalog.pg_stat_activity a ON a.pid = blocking.pid ORDER BY a.xact_start LIMIT 3",
            &[&process],
        )
        .await
        .ok()?;
    let seen: Vec<_> = rows.iter().map(describe).collect();
    Some(seen.join("; ")).filter(|seen| !seen.is_empty())
}

fn describe(row: &Row) -> String {
    let text = |name| row.get::<_, Option<&str>>(name).filter(|text| !text.is_empty());
    let mut said = format!("pid {}", row.get::<_, i32>("pid"));
    for (before, name) in [(" of ", "usename"), (", application ", "application_name"), (", ", "state")] {
        if let Some(text) = text(name) {
            said.extend([before, text]);
        }
    }
    if let Some(secs) = row.get::<_, Option<f64>>("secs") {
        said.push_str(&format!(", for {secs:.0} s"));
    }
    said
}
