//! What a workflow is: a kind of job, its steps, and how what they work with is read from a claimed job.
//!
//! To add one: a file in `workflows/` with a [`Plan`], and a line in [`workflows::ALL`](crate::workflows::ALL).

use crate::engine::{self, Step};
use futures_util::future::BoxFuture;
use portero_registry::{Claim, JobStatus, Registry, RegistryError};

/// What becomes of a job of which a step fails for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What was done is undone.
    Undoable,
    /// What was done can't be undone. A step that fails for good makes the job stuck, and a retry goes on from there;
    /// one that fails and may pass is tried again by whoever claims the job next, as often as it takes.
    ForwardOnly,
}

/// A workflow, whatever its steps work with.
pub trait Workflow: Sync {
    /// The kind of its jobs in the log: chosen once, never changed.
    fn kind(&self) -> &'static str;
    /// The names of its steps, in order.
    fn step_names(&self) -> Vec<&'static str>;
    /// What becomes of a job of which a step fails for good.
    fn direction(&self) -> Direction;
    /// Goes on with a claimed job, as [`engine::run`].
    ///
    /// # Errors
    /// As [`engine::run`].
    fn run<'a>(
        &'a self,
        registry: &'a Registry,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<JobStatus, RegistryError>>;
}

/// Reads what the steps of a claimed job work with.
pub type Load<C> = for<'a> fn(&'a Registry, &'a Claim) -> BoxFuture<'a, Result<C, RegistryError>>;

/// A workflow whose steps work with a `C`.
pub struct Plan<C: 'static> {
    /// The kind of its jobs in the log: chosen once, never changed.
    pub kind: &'static str,
    /// What becomes of a job of which a step fails for good.
    pub direction: Direction,
    /// Its steps, in order.
    pub steps: &'static [Step<C>],
    /// Reads what the steps of a claimed job work with.
    pub load: Load<C>,
}

impl<C: Send + Sync> Workflow for Plan<C> {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn step_names(&self) -> Vec<&'static str> {
        self.steps.iter().map(Step::name).collect()
    }

    fn direction(&self) -> Direction {
        self.direction
    }

    fn run<'a>(
        &'a self,
        registry: &'a Registry,
        claim: &'a Claim,
    ) -> BoxFuture<'a, Result<JobStatus, RegistryError>> {
        Box::pin(async move {
            let context = (self.load)(registry, claim).await?;
            engine::run(registry, claim, self, &context).await
        })
    }
}
