//! Who holds the lock that a migration waits for: asked over a session of its own, and only of a tenant that met a lock
//! before.

use crate::templates::maintenance;
use portero_pg::Session;
use std::{future, time::Duration};
use tokio::time::sleep;
use tokio_postgres::{Config, Row};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The process of a session on the server.
pub(super) async fn process_of(session: &Session) -> Option<i32> {
    session.query_one("SELECT pg_backend_pid()", &[]).await.ok().map(|row| row.get(0))
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
