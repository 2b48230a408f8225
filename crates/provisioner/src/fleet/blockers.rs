//! Who holds the lock that a migration waits for: asked over a session of its own, and only of a tenant that met a lock
//! before.

use crate::templates::maintenance;
use portero_pg::Session;
use portero_pg::tokio_postgres::{Config, Row};
use std::time::Duration;
use tokio::{sync::Mutex, time::sleep};

const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// One server's session to look with, opened when it is first needed.
pub(super) struct Blockers {
    admin: Config,
    session: Mutex<Option<Session>>,
}

/// The process of a session on the server.
pub(super) async fn process_of(session: &Session) -> Option<i32> {
    session.query_one("SELECT pg_backend_pid()", &[]).await.ok().map(|row| row.get(0))
}

impl Blockers {
    pub(super) fn new(admin: Config) -> Self {
        Self { admin, session: Mutex::new(None) }
    }

    /// Does this, and says who was last seen to hold up the process meanwhile.
    pub(super) async fn while_migrating<T>(
        &self,
        process: Option<i32>,
        migrating: impl Future<Output = T>,
    ) -> (T, Option<String>) {
        let Some(process) = process else { return (migrating.await, None) };
        let mut seen = None;
        let looking = async {
            loop {
                if let Some(found) = self.look(process).await {
                    seen = Some(found);
                }
                sleep(LOOK_AGAIN).await;
            }
        };
        let done = tokio::select! {
            done = migrating => done,
            never = looking => never,
        };
        (done, seen)
    }

    /// Who holds the process up now. That this can't be seen is no error: it is only for people to read.
    async fn look(&self, process: i32) -> Option<String> {
        let mut session = self.session.lock().await;
        if session.as_ref().is_none_or(|session| session.is_closed()) {
            *session = maintenance(&self.admin).await.ok();
        }
        let rows = session
            .as_ref()?
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
