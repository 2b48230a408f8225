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

use futures_util::future::BoxFuture;
use portero_kernel::with_causes;
use portero_registry::{Claim, JobStatus, Lease, Registry, RegistryError, StepStatus};
use std::time::Duration;

/// How long a claim lasts without being renewed.
pub const LEASE: Duration = Duration::from_secs(10);
/// How often a failing action or undo is tried before it counts as failed for good.
const ATTEMPTS: u32 = 4;
/// The pause after the first failure; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

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
}

impl<C> Step<C> {
    /// A step without an effect to undo.
    #[must_use]
    pub const fn new(name: &'static str, action: Effect<C>) -> Self {
        Self { name, action, undo: None }
    }

    /// With this undo.
    #[must_use]
    pub const fn undo(mut self, undo: Effect<C>) -> Self {
        self.undo = Some(undo);
        self
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }
}

/// Goes on with a claimed job until it rests, or an undo has to wait. The lease is renewed meanwhile.
///
/// # Errors
/// [`RegistryError::LeaseLost`], or the registry: the job stays as it is, for whoever claims it next.
pub async fn run<C: Sync>(
    registry: &Registry,
    claim: &Claim,
    steps: &[Step<C>],
    context: &C,
) -> Result<JobStatus, RegistryError> {
    let saga = Saga { registry, lease: &claim.lease, steps, context };
    let keep = async {
        loop {
            tokio::time::sleep(LEASE / 3).await;
            match registry.job_renew(&claim.lease, LEASE).await {
                Err(RegistryError::LeaseLost) => return,
                Err(error) => tracing::warn!(%error, "a lease could not be renewed"),
                Ok(()) => {}
            }
        }
    };
    tokio::select! {
        outcome = saga.run(claim) => outcome,
        () = keep => Err(RegistryError::LeaseLost),
    }
}

struct Saga<'a, C> {
    registry: &'a Registry,
    lease: &'a Lease,
    steps: &'a [Step<C>],
    context: &'a C,
}

impl<C: Sync> Saga<'_, C> {
    async fn run(&self, claim: &Claim) -> Result<JobStatus, RegistryError> {
        // A version that knows more steps may go on with a job of one that knew fewer.
        if claim.job.steps.len() < self.steps.len() {
            let names: Vec<_> = self.steps.iter().map(Step::name).collect();
            self.registry.steps_ensure(self.lease.job(), &names).await?;
        }
        let found = |step: &Step<C>| {
            claim
                .job
                .steps
                .iter()
                .find(|row| row.name == step.name)
                .map_or(StepStatus::Pending, |row| row.status)
        };
        if claim.job.status == JobStatus::Running {
            let mut failure = None;
            for (index, step) in self.steps.iter().enumerate() {
                if found(step) == StepStatus::Done {
                    continue;
                }
                if found(step) != StepStatus::Failed {
                    match self.act(step).await? {
                        Ok(()) => continue,
                        Err(error) => failure = Some((index, error)),
                    }
                } else {
                    failure = Some((index, "the step had failed".to_owned()));
                }
                break;
            }
            let Some((index, error)) = failure else {
                self.registry.job_set(self.lease, JobStatus::Done, None).await?;
                return Ok(JobStatus::Done);
            };
            let error = format!("{}: {error}", self.steps[index].name);
            self.registry.job_set(self.lease, JobStatus::Undoing, Some(&error)).await?;
            return self.unwind(&self.steps[..index]).await;
        }
        let failed =
            self.steps.iter().position(|step| found(step) == StepStatus::Failed).unwrap_or(self.steps.len());
        let first_undone =
            self.steps.iter().position(|step| found(step) == StepStatus::Undone).unwrap_or(failed);
        self.unwind(&self.steps[..first_undone.min(failed)]).await
    }

    /// Runs an action. The outer error ends the work, the inner one the step.
    async fn act(&self, step: &Step<C>) -> Result<Result<(), String>, RegistryError> {
        self.registry.step_set(self.lease, step.name, StepStatus::Running, None).await?;
        let outcome = async {
            failpoint(step.name, "before").await?;
            self.with_retries(step.action).await?;
            failpoint(step.name, "after").await
        };
        match outcome.await {
            Ok(()) => {
                self.registry.step_set(self.lease, step.name, StepStatus::Done, None).await?;
                Ok(Ok(()))
            }
            Err(StepError::LeaseLost) => Err(RegistryError::LeaseLost),
            Err(StepError::Again(error) | StepError::Never(error)) => {
                tracing::error!(job = %self.lease.job(), step = step.name, error, "a step failed for good: undoing");
                self.registry.step_set(self.lease, step.name, StepStatus::Failed, Some(&error)).await?;
                Ok(Err(error))
            }
        }
    }

    async fn unwind(&self, done: &[Step<C>]) -> Result<JobStatus, RegistryError> {
        for step in done.iter().rev() {
            self.registry.step_set(self.lease, step.name, StepStatus::Undoing, None).await?;
            let outcome = async {
                failpoint(step.name, "before-undo").await?;
                if let Some(undo) = step.undo {
                    self.with_retries(undo).await?;
                }
                failpoint(step.name, "after-undo").await
            };
            match outcome.await {
                Ok(()) => {}
                Err(StepError::LeaseLost) => return Err(RegistryError::LeaseLost),
                // A server that is away comes back, and what is on it must not be forgotten until then.
                Err(StepError::Again(error)) => {
                    tracing::warn!(job = %self.lease.job(), step = step.name, error, "an undo fails: it will be tried again");
                    return Ok(JobStatus::Undoing);
                }
                Err(StepError::Never(error)) => {
                    tracing::error!(job = %self.lease.job(), step = step.name, error, "an undo failed for good: the job is stuck");
                    self.registry.step_set(self.lease, step.name, StepStatus::Failed, Some(&error)).await?;
                    let error = format!("undoing {}: {error}", step.name);
                    self.registry.job_set(self.lease, JobStatus::Stuck, Some(&error)).await?;
                    return Ok(JobStatus::Stuck);
                }
            }
            self.registry.step_set(self.lease, step.name, StepStatus::Undone, None).await?;
        }
        self.registry.job_set(self.lease, JobStatus::Undone, None).await?;
        Ok(JobStatus::Undone)
    }

    async fn with_retries(&self, effect: Effect<C>) -> Result<(), StepError> {
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match effect(self.context).await {
                Err(StepError::Again(error)) if attempt < ATTEMPTS => {
                    tracing::warn!(job = %self.lease.job(), attempt, error, "a step failed and will be tried again");
                    tokio::time::sleep(pause).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }
}

/// A point at which a test may hold the work to kill the process (`FAILPOINTS='role::before=pause'`) or make the step or
/// its undo fail for good (`role::after=return`). Each point that is passed is in the log.
#[cfg(feature = "failpoints")]
async fn failpoint(step: &'static str, moment: &'static str) -> Result<(), StepError> {
    static READ_ENVIRONMENT: std::sync::Once = std::sync::Once::new();
    READ_ENVIRONMENT.call_once(|| std::mem::forget(fail::FailScenario::setup()));
    let name = format!("{step}::{moment}");
    tracing::info!(point = name, "a point is passed");
    // A pause blocks its thread: on one of its own the lease is renewed meanwhile.
    let told = tokio::task::spawn_blocking(move || fail::eval(&name, |_| ())).await;
    match told.expect("a failpoint doesn't panic") {
        None => Ok(()),
        Some(()) => Err(StepError::Never(format!("the point {step}::{moment} was told to fail"))),
    }
}

/// The points are in test builds only.
#[cfg(not(feature = "failpoints"))]
async fn failpoint(_: &'static str, _: &'static str) -> Result<(), StepError> {
    Ok(())
}
