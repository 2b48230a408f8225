//! What happens to jobs, heard at once by whoever watches one: a single connection of this process listens for all.

use crate::Control;
use portero_kernel::JobId;
use portero_registry::{Bell, Channel};
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// Events that a watcher may be behind; one that is more behind is told to look.
const BEHIND: usize = 256;
/// How often a line that was lost is opened again.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(crate) struct JobEvents(broadcast::Sender<JobId>);

impl Default for JobEvents {
    fn default() -> Self {
        Self(broadcast::channel(BEHIND).0)
    }
}

/// Rings when something was written down about one job. A hint and no promise, as a [`Bell`]: look now and then, too.
pub struct JobWatch {
    job: JobId,
    events: broadcast::Receiver<JobId>,
}

impl JobWatch {
    /// Waits until something was written down about the job.
    pub async fn changed(&mut self) {
        loop {
            match self.events.recv().await {
                Ok(job) if job != self.job => {}
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => return,
                Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
            }
        }
    }
}

impl Control {
    /// Watches a job. Without [`Control::hear_jobs`] going on in this process it stays silent.
    #[must_use]
    pub fn watch_job(&self, job: JobId) -> JobWatch {
        JobWatch { job, events: self.job_events.0.subscribe() }
    }

    /// Passes on to watchers what happens to jobs, wherever they are worked on, until told to stop.
    pub async fn hear_jobs(self, mut stop: watch::Receiver<bool>) {
        let events = self.job_events.clone();
        let mut bell = Bell::new(&self.registry, Channel::JobEvents).telling(move |job| {
            if let Ok(job) = job.parse() {
                // Nobody may be watching.
                let _ = events.0.send(job);
            }
        });
        while !*stop.borrow() {
            bell.listen().await;
            tokio::select! {
                _ = stop.changed() => {}
                () = tokio::time::sleep(LISTEN_AGAIN) => {}
            }
        }
    }
}
