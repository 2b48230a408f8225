//! Workers: claim a job, go on with it until it rests, claim the next.

use crate::{engine::LEASE, points, workflows};
use portero_kernel::{JobId, ServerId, with_causes};
use portero_registry::{Bell, Channel, Claim, JobStatus, Registry, RegistryError};
use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{interval, sleep, timeout},
};
use uuid::Uuid;

/// How long a job that came to rest is remembered.
const REMEMBERED: Duration = Duration::from_secs(90 * 24 * 60 * 60);
/// How often older ones are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// Jobs that go on at the same time, on all servers: most of them wait for something.
const AT_ONCE: usize = 16;
/// What takes longer than this waits for something rather than works, and no longer keeps others from its server.
const WORKS_FOR: Duration = Duration::from_secs(5);

/// After a job so many times as long as it took, nothing of its kind begins on its server, where there is no room for two: a
/// crowd that signs up is made one after the other, and those who are served meanwhile have the most of the cores.
const REST: u32 = 2;
/// Whoever was served no more than so often while a job went on needs no rest: a new company's first requests are among them.
const FEW: u64 = 2;
/// However long it took: then it has waited rather than worked.
const LONGEST_REST: Duration = Duration::from_millis(300);

/// How a worker works.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Jobs of one kind that work on one server at the same time.
    pub per_server: usize,
    /// How often to look for jobs that nobody rang the bell for: written by others, or left by somebody who died.
    pub look_every: Duration,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        // More would make none of them sooner where the server is on this machine, and those who are served would wait
        // longer for a core.
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { per_server: (cores / 2).max(1), look_every: Duration::from_secs(2) }
    }
}

/// Works the registry's jobs.
#[derive(Clone)]
pub struct Worker {
    registry: Registry,
    id: Uuid,
    options: WorkerOptions,
    at_work: AtWork,
    served: Option<Served>,
}

/// How many requests were served so far.
type Served = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The jobs that a worker is at.
#[derive(Clone, Default)]
struct AtWork(Arc<Mutex<HashMap<JobId, Begun>>>);

/// Where a job is being worked on, and since when.
struct Begun {
    server: ServerId,
    kind: String,
    at: Instant,
}

impl AtWork {
    fn begin(&self, claim: &Claim) {
        if let Some(server) = claim.server {
            let begun = Begun { server, kind: claim.job.kind.clone(), at: Instant::now() };
            self.lock().insert(claim.lease.job(), begun);
        }
    }

    fn end(&self, claim: &Claim) {
        self.lock().remove(&claim.lease.job());
    }

    /// Where there is enough work of a kind.
    fn enough(&self, per_server: usize) -> Vec<(ServerId, String)> {
        let mut found: HashMap<_, usize> = HashMap::new();
        for begun in self.lock().values().filter(|begun| begun.at.elapsed() < WORKS_FOR) {
            *found.entry((begun.server, begun.kind.clone())).or_default() += 1;
        }
        found.into_iter().filter(|(_, count)| *count >= per_server).map(|(place, _)| place).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Begun>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker {
    /// A worker with a name of its own.
    #[must_use]
    pub fn new(registry: Registry, options: WorkerOptions) -> Self {
        Self { registry, id: Uuid::new_v4(), options, at_work: AtWork::default(), served: None }
    }

    /// With somebody who knows how many requests were served so far: where hardly any are, there is no need to rest between jobs.
    #[must_use]
    pub fn beside(mut self, served: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        self.served = Some(Arc::new(served));
        self
    }

    /// Works until told to stop. Then no job is claimed any more, and those under way are given up between two awaits
    /// after `grace`: whoever claims them next goes on.
    pub async fn run(self, mut stop: watch::Receiver<bool>, grace: Duration) {
        let slots = Arc::new(Semaphore::new(points::at_once(AT_ONCE)));
        let mut under_way = JoinSet::new();
        let mut bell = Bell::new(&self.registry, Channel::Jobs);
        let mut forget = interval(FORGET_EVERY);
        while !*stop.borrow() {
            bell.listen().await;
            self.claim_all(&slots, &mut under_way).await;
            tokio::select! {
                _ = stop.changed() => {}
                () = bell.rung() => {}
                Some(_) = under_way.join_next() => {}
                _ = forget.tick() => self.forget_old().await,
                () = sleep(self.options.look_every) => {}
            }
        }
        let finished = async { while under_way.join_next().await.is_some() {} };
        if timeout(grace, finished).await.is_err() {
            tracing::warn!("jobs are still under way: whoever claims them next goes on with them");
            under_way.shutdown().await;
        }
        // Nothing is left here that could write; nobody needs to wait for a lease to run out.
        if let Err(error) = self.registry.jobs_give_back(self.id).await {
            tracing::warn!(%error, "leases could not be given back: they run out by themselves");
        }
    }

    fn served(&self) -> Option<u64> {
        self.served.as_ref().map(|served| served())
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
            let enough = self.at_work.enough(points::at_once(self.options.per_server));
            match self.registry.job_claim(self.id, LEASE, None, &enough).await {
                Ok(None) => return,
                Err(error) => {
                    tracing::warn!(%error, "no job could be claimed");
                    return;
                }
                Ok(Some(claim)) => {
                    let worker = self.clone();
                    worker.at_work.begin(&claim);
                    under_way.spawn(async move {
                        let (began, before) = (Instant::now(), worker.served());
                        worker.go_on(&claim).await;
                        if worker.served().is_none_or(|now| now > before.unwrap_or(0) + FEW) {
                            sleep((began.elapsed() * REST).min(LONGEST_REST)).await;
                        }
                        worker.at_work.end(&claim);
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
        if let Some(claim) = self.registry.job_claim(self.id, LEASE, Some(id), &[]).await? {
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
