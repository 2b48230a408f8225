//! Workers: claim a job, go on with it until it rests, claim the next.

use crate::{engine::LEASE, points, workflows};
use portero_kernel::{JobId, with_causes};
use portero_registry::{Bell, Channel, Claim, JobStatus, Registry, RegistryError};
use std::{num::NonZero, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
};
use uuid::Uuid;

/// How long a job that came to rest is remembered.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How often older ones are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Jobs that go on at the same time.
    pub at_once: usize,
    /// How often to look for jobs that nobody rang the bell for: written by others, or left by somebody who died.
    pub look_every: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        // More would make none of them sooner there, and those who are served wait longer for a core.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { at_once: cores.max(2), look_every: Duration::from_secs(2) }
    }
}

/// Works the registry's jobs.
#[derive(Clone)]
pub struct Worker {
    registry: Registry,
    id: Uuid,
    options: WorkerOptions,
}

impl Worker {
    /// A worker with a name of its own.
    #[must_use]
    pub fn new(registry: Registry, options: WorkerOptions) -> Self {
        Self { registry, id: Uuid::new_v4(), options }
    }

    /// Works until told to stop. Then no job is claimed any more, and those under way are given up between two awaits
    /// after `grace`: whoever claims them next goes on.
    pub async fn run(self, mut stop: watch::Receiver<bool>, grace: Duration) {
        let slots = Arc::new(Semaphore::new(points::at_once(self.options.at_once)));
        let mut under_way = JoinSet::new();
        let mut bell = Bell::new(&self.registry, Channel::Jobs);
        let mut forget = tokio::time::interval(FORGET_EVERY);
        while !*stop.borrow() {
            bell.listen().await;
            self.claim_all(&slots, &mut under_way).await;
            tokio::select! {
                _ = stop.changed() => {}
                () = bell.rung() => {}
                Some(_) = under_way.join_next() => {}
                _ = forget.tick() => self.forget_old().await,
                () = tokio::time::sleep(self.options.look_every) => {}
            }
        }
        let finished = async { while under_way.join_next().await.is_some() {} };
        if tokio::time::timeout(grace, finished).await.is_err() {
            tracing::warn!("jobs are still under way: whoever claims them next goes on with them");
            under_way.shutdown().await;
        }
        // Nothing is left here that could write; nobody needs to wait for a lease to run out.
        if let Err(error) = self.registry.jobs_give_back(self.id).await {
            tracing::warn!(%error, "leases could not be given back: they run out by themselves");
        }
    }

    async fn forget_old(&self) {
        match self.registry.jobs_prune(REMEMBERED).await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "old jobs were forgotten"),
            Err(error) => tracing::warn!(error = with_causes(&error), "old jobs could not be forgotten"),
        }
    }

    async fn claim_all(&self, slots: &Arc<Semaphore>, under_way: &mut JoinSet<()>) {
        while let Ok(slot) = Arc::clone(slots).try_acquire_owned() {
            match self.registry.job_claim(self.id, LEASE, None).await {
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "no job could be claimed");
                    return;
                }
                Ok(Some(claim)) => {
                    let worker = self.clone();
                    under_way.spawn(async move {
                        worker.go_on(&claim).await;
                        drop(slot);
                    });
                }
            }
        }
    }

    /// Claims this job if nobody is working on it, and goes on with it; says where it is now.
    ///
    /// # Errors
    /// The registry.
    pub async fn run_one(&self, id: JobId) -> Result<Option<JobStatus>, RegistryError> {
        if let Some(claim) = self.registry.job_claim(self.id, LEASE, Some(id)).await? {
            self.go_on(&claim).await;
        }
        Ok(self.registry.job_by_id(id).await?.map(|job| job.status))
    }

    async fn go_on(&self, claim: &Claim) {
        let job = claim.lease.job();
        let outcome = match workflows::of_kind(&claim.job.kind) {
            Some(workflow) => workflow.run(&self.registry, claim).await,
            None => {
                tracing::error!(%job, kind = claim.job.kind, "this version of Portero doesn't know this kind of job");
                Err(RegistryError::Unreadable("job's kind"))
            }
        };
        match outcome {
            Ok(status) if !status.is_at_rest() => {}
            Ok(status) => {
                tracing::info!(%job, kind = claim.job.kind, subdomain = claim.job.subdomain, status = status.as_str(), "a job came to rest");
            }
            Err(RegistryError::LeaseLost) => tracing::warn!(%job, "another worker has taken over the job"),
            Err(error) => {
                tracing::error!(%job, error = with_causes(&error), "a job was left for another try");
            }
        }
    }
}
