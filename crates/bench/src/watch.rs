//! Looks at PostgreSQL from outside, all the time: how many sessions the tenants' roles have.
//!
//! By role and not by name of the application: nothing that holds a connection can look like something else.

use anyhow::Result;
use portero_pg::Session;
use std::time::{Duration, Instant};
use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

const EVERY: Duration = Duration::from_millis(4);

/// How many sessions there were, and when, in seconds since the watch began.
pub(crate) type Seen = Vec<(f64, i64)>;

/// A watch that goes on until it is asked what it saw.
pub(crate) struct Watch {
    enough: oneshot::Sender<()>,
    task: JoinHandle<Result<Seen>>,
}

impl Watch {
    /// Begins to look, by a session of the superuser's.
    pub(crate) fn begin(session: Session) -> Self {
        let (enough, stop) = oneshot::channel();
        Self { enough, task: tokio::spawn(look(session, stop)) }
    }

    /// What it saw.
    ///
    /// # Errors
    /// As PostgreSQL says.
    pub(crate) async fn end(self) -> Result<Seen> {
        // One that has failed listens no more; its error follows.
        let _ = self.enough.send(());
        self.task.await?
    }
}

async fn look(session: Session, mut stop: oneshot::Receiver<()>) -> Result<Seen> {
    let statement =
        session.prepare("SELECT count(*) FROM pg_stat_activity WHERE usename LIKE 't\\_%'").await?;
    let began = Instant::now();
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Seen::new();
    loop {
        tokio::select! {
            _ = &mut stop => break,
            _ = tick.tick() => {}
        }
        let count: i64 = session.query_one(&statement, &[]).await?.get(0);
        seen.push((began.elapsed().as_secs_f64(), count));
    }
    session.close().await;
    Ok(seen)
}
