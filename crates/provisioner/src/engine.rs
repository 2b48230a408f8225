//! The saga engine: steps done in order, written down before and after, undone in reverse when one fails for good.
//!
//! What a step promises: its action and its undo, run twice, leave the world as if run once. In return the engine
//! promises that every step is either undone or followed by the next, whatever dies when:
//!
//! | found in the log | what happens next |
//! |---|---|
//! | `pending` | the action runs |
//! | `running` | it began and nobody knows whether it had its effect: the action runs again |
//! | `done` | the next step |
//! | a step fails for good | it is `failed`, the job is `undoing`, and the steps before it are undone, last first |
//! | `undoing` | the undo runs again |
//! | an undo fails, and may pass | the job is left for whoever claims it next, when its lease runs out |
//! | an undo fails for good | the job is `stuck`: a person is needed, the name stays reserved |
//!
//! The undo of the step that failed is *not* run: a step that can half-succeed has its undo on a step before it.
//!
//! A job that goes [forward only](Direction::ForwardOnly) has no undo: a step that fails and may pass is left for whoever
//! claims the job next, one that fails for good makes it `stuck`, and a retry goes on with that step.
//!
//! Nothing lasts for ever: a try that takes longer than its step allows is cut, and counts as one that may pass.

use crate::{
    points,
    workflow::{Direction, Plan},
};
use futures_util::future::BoxFuture;
use portero_kernel::with_causes;
use portero_registry::{Claim, JobStatus, Lease, Registry, RegistryError, StepRow, StepStatus};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// How long a claim lasts without being renewed.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a failing action or undo is tried before it counts as failed for good.
const ATTEMPTS: u32 = 4;
/// The pause after the first failure, give or take a half; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// How long one try may take, unless its step says otherwise: longer than any one statement may (60 s).
const LIMIT: Duration = Duration::from_secs(90);

/// An action or an undo.
pub type Effect<C> = for<'a> fn(&'a C) -> BoxFuture<'a, Result<(), StepError>>;

/// Why an action or an undo failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Another try may succeed: a server that restarts, a lock that is held.
    #[error("{0}")]
    Again(String),
    /// No other try will.
    #[error("{0}")]
    Never(String),
    /// The job belongs to another worker now: stop at once and write nothing more.
    #[error("another worker has taken over the job")]
    LeaseLost,
}

impl From<RegistryError> for StepError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::LeaseLost => Self::LeaseLost,
            RegistryError::Unavailable(_) | RegistryError::Statement(_) => Self::Again(with_causes(&error)),
            _ => Self::Never(with_causes(&error)),
        }
    }
}

/// A step: its name is the key in the log and is never changed.
pub struct Step<C> {
    name: &'static str,
    action: Effect<C>,
    undo: Option<Effect<C>>,
    limit: Duration,
}

impl<C> Step<C> {
    /// A step without an effect to undo.
    #[must_use]
    pub const fn new(name: &'static str, action: Effect<C>) -> Self {
        Self { name, action, undo: None, limit: LIMIT }
    }

    /// With this undo.
    #[must_use]
    pub const fn undo(mut self, undo: Effect<C>) -> Self {
        self.undo = Some(undo);
        self
    }

    /// With so much time for a try of its action, or of its undo, instead of 90 seconds.
    #[must_use]
    pub const fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// Goes on with a claimed job until it rests, or has to wait. The lease is renewed meanwhile.
///
/// # Errors
/// [`RegistryError::LeaseLost`], or the registry: the job stays as it is, for whoever claims it next.
pub async fn run<C: Send + Sync>(
    registry: &Registry,
    claim: &Claim,
    plan: &Plan<C>,
    context: &C,
) -> Result<JobStatus, RegistryError> {
    let saga = Saga { registry, claim, lease: &claim.lease, plan, context };
    let keep = async {
        loop {
            sleep(LEASE / 3).await;
            points::within(&claim.job.subdomain, "job", false, points::hold("renew")).await;
            match registry.job_renew(&claim.lease, LEASE).await {
                Err(RegistryError::LeaseLost) => return,
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
                Ok(()) => {}
            }
        }
    };
    tokio::select! {
        outcome = saga.run() => outcome,
        () = keep => Err(RegistryError::LeaseLost),
    }
}

struct Saga<'a, C: 'static> {
    registry: &'a Registry,
    claim: &'a Claim,
    lease: &'a Lease,
    plan: &'a Plan<C>,
    context: &'a C,
}

impl<C: Send + Sync> Saga<'_, C> {
    async fn run(&self) -> Result<JobStatus, RegistryError> {
        // A version that knows more steps may go on with a job of one that knew fewer.
        if self.claim.job.steps.len() < self.plan.steps.len() {
            let names: Vec<_> = self.plan.steps.iter().map(Step::name).collect();
            self.registry.steps_ensure(self.lease, &names).await?;
        }
        if self.claim.job.status == JobStatus::Undoing {
            return self.unwind(self.left_to_undo()).await;
        }
        for (index, step) in self.plan.steps.iter().enumerate() {
            let outcome = match self.found(step) {
                StepStatus::Done => continue,
                // Whoever wrote that down had no time to draw the conclusion.
                StepStatus::Failed => {
                    let error = self.row(step).and_then(|row| row.error.clone());
                    Err(StepError::Never(error.unwrap_or_default()))
                }
                _ => self.act(step).await?,
            };
            match outcome {
                Ok(()) => {}
                Err(StepError::LeaseLost) => return Err(RegistryError::LeaseLost),
                Err(StepError::Again(error)) if self.plan.direction == Direction::ForwardOnly => {
                    tracing::warn!(job = %self.lease.job(), step = step.name, error, "a step fails: it will be tried again");
                    return Ok(JobStatus::Running);
                }
                Err(StepError::Again(error) | StepError::Never(error)) => {
                    return self.turn(index, &format!("{}: {error}", step.name)).await;
                }
            }
        }
        self.rest(JobStatus::Done, None).await
    }

    fn row(&self, step: &Step<C>) -> Option<&StepRow> {
        self.claim.job.steps.iter().find(|row| row.name == step.name)
    }

    fn found(&self, step: &Step<C>) -> StepStatus {
        self.row(step).map_or(StepStatus::Pending, |row| row.status)
    }

    /// The steps before the one that failed, without those that are undone already.
    fn left_to_undo(&self) -> &'static [Step<C>] {
        let steps = self.plan.steps;
        let first = |status| steps.iter().position(|step| self.found(step) == status);
        let failed = first(StepStatus::Failed).unwrap_or(steps.len());
        &steps[..first(StepStatus::Undone).unwrap_or(failed).min(failed)]
    }

    /// Runs an action. The outer error ends the work, the inner one the step.
    async fn act(&self, step: &Step<C>) -> Result<Result<(), StepError>, RegistryError> {
        let work = async {
            let outcome = self.with_retries(step, Some(step.action), StepStatus::Running).await?;
            match &outcome {
                Ok(()) => {
                    self.registry.step_set(self.lease, step.name, StepStatus::Done, None).await?;
                    points::hold("end").await;
                }
                Err(StepError::Again(error)) if self.plan.direction == Direction::ForwardOnly => {
                    self.registry.step_note(self.lease, step.name, error).await?;
                }
                Err(StepError::Again(error) | StepError::Never(error)) => {
                    tracing::error!(job = %self.lease.job(), step = step.name, error, "a step failed for good");
                    points::hold("failing").await;
                    self.registry.step_set(self.lease, step.name, StepStatus::Failed, Some(error)).await?;
                    points::hold("failed").await;
                }
                Err(StepError::LeaseLost) => {}
            }
            Ok(outcome)
        };
        points::within(&self.claim.job.subdomain, step.name, false, work).await
    }

    /// What follows when the step with this index has failed for good.
    async fn turn(&self, index: usize, error: &str) -> Result<JobStatus, RegistryError> {
        match self.plan.direction {
            Direction::ForwardOnly => self.rest(JobStatus::Stuck, Some(error)).await,
            Direction::Undoable => {
                self.set_job(JobStatus::Undoing, Some(error), ["turning", "turned"]).await?;
                self.unwind(&self.plan.steps[..index]).await
            }
        }
    }

    async fn unwind(&self, done: &[Step<C>]) -> Result<JobStatus, RegistryError> {
        for step in done.iter().rev() {
            let undone = points::within(&self.claim.job.subdomain, step.name, true, self.undo(step)).await?;
            match undone {
                Ok(()) => {}
                Err(StepError::LeaseLost) => return Err(RegistryError::LeaseLost),
                // A server that is away comes back, and what is on it must not be forgotten until then.
                Err(StepError::Again(error)) => {
                    tracing::warn!(job = %self.lease.job(), step = step.name, error, "an undo fails: it will be tried again");
                    return Ok(JobStatus::Undoing);
                }
                Err(StepError::Never(error)) => {
                    tracing::error!(job = %self.lease.job(), step = step.name, error, "an undo failed for good: the job is stuck");
                    let error = format!("undoing {}: {error}", step.name);
                    return self.rest(JobStatus::Stuck, Some(&error)).await;
                }
            }
        }
        self.rest(JobStatus::Undone, None).await
    }

    /// Runs an undo. One that fails stays `undoing` in the log, also where the job is stuck: a retry goes on with it.
    async fn undo(&self, step: &Step<C>) -> Result<Result<(), StepError>, RegistryError> {
        let outcome = self.with_retries(step, step.undo, StepStatus::Undoing).await?;
        match &outcome {
            Ok(()) => {
                self.registry.step_set(self.lease, step.name, StepStatus::Undone, None).await?;
                points::hold("end").await;
            }
            Err(StepError::Again(error) | StepError::Never(error)) => {
                self.registry.step_note(self.lease, step.name, error).await?;
            }
            Err(StepError::LeaseLost) => {}
        }
        Ok(outcome)
    }

    async fn rest(&self, status: JobStatus, error: Option<&str>) -> Result<JobStatus, RegistryError> {
        self.set_job(status, error, ["resting", "rested"]).await?;
        Ok(status)
    }

    async fn set_job(
        &self,
        status: JobStatus,
        error: Option<&str>,
        [before, after]: [&'static str; 2],
    ) -> Result<(), RegistryError> {
        let work = async {
            points::hold(before).await;
            self.registry.job_set(self.lease, status, error).await?;
            points::hold(after).await;
            Ok(())
        };
        points::within(&self.claim.job.subdomain, "job", false, work).await
    }

    /// Each try is in the log before it begins, and an error that may pass before it is tried again.
    async fn with_retries(
        &self,
        step: &Step<C>,
        effect: Option<Effect<C>>,
        status: StepStatus,
    ) -> Result<Result<(), StepError>, RegistryError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            points::hold("begin").await;
            self.registry.step_set(self.lease, step.name, status, None).await?;
            match self.attempt(step, effect).await {
                Err(StepError::Again(error)) if attempt < ATTEMPTS => {
                    tracing::warn!(job = %self.lease.job(), step = step.name, attempt, error, "a step failed and will be tried again");
                    self.registry.step_note(self.lease, step.name, &error).await?;
                    sleep(jittered(pause)).await;
                    pause *= 2;
                }
                outcome => return Ok(outcome),
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn attempt(&self, step: &Step<C>, effect: Option<Effect<C>>) -> Result<(), StepError> {
        let limit = points::limit(step.limit);
        let work = async {
            points::pass("before").await?;
            if let Some(effect) = effect {
                effect(self.context).await?;
            }
            points::pass("after").await
        };
        timeout(limit, work).await.unwrap_or_else(|_| {
            Err(StepError::Again(format!("it took longer than {} seconds and was cut", limit.as_secs())))
        })
    }
}

/// Half to one and a half of it: those who failed together don't come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let random = u16::from_le_bytes([Uuid::new_v4().as_bytes()[0], Uuid::new_v4().as_bytes()[0]]);
    pause.mul_f64(0.5 + f64::from(random) / f64::from(u16::MAX))
}
