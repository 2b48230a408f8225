//! The reconciler's rounds: it looks every few minutes, the doctor's other checks beside it, and what they last found is
//! there to be shown at once.

use crate::{Check, Control, Differences};
use portero_kernel::with_causes;
use portero_registry::RegistryError;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use time::OffsetDateTime;
use tokio::sync::watch;

/// How long after the start the first round begins: what was left behind is still being taken up.
const FIRST: Duration = Duration::from_secs(5);
/// From the end of one round to the beginning of the next.
const EVERY: Duration = Duration::from_secs(240);

/// What the last round found.
#[derive(Debug, Clone)]
pub struct LastRound {
    /// When it ended.
    pub at: OffsetDateTime,
    /// What it found.
    pub differences: Arc<Differences>,
    /// The doctor's checks that failed, beside what is told of jobs, of differences, and of servers that don't answer.
    pub failing: Arc<[Check]>,
}

/// The rounds of this process. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Rounds(Arc<Mutex<Option<LastRound>>>);

impl Rounds {
    /// What the last round found; nothing before the first.
    #[must_use]
    pub fn last(&self) -> Option<LastRound> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Goes one round now, for somebody who wants to see what it finds.
    ///
    /// # Errors
    /// The registry; what was found last is still what was found last.
    pub async fn go(&self, control: &Control) -> Result<(), RegistryError> {
        let (differences, failing) = tokio::join!(control.reconcile(), control.failing());
        self.tell(differences?, failing);
        Ok(())
    }

    /// Goes round until told to stop.
    pub async fn run(self, control: Control, mut stop: watch::Receiver<bool>) {
        let mut pause = FIRST;
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(pause) => {}
            }
            tokio::select! {
                _ = stop.changed() => return,
                gone = self.go(&control) => if let Err(error) = gone {
                    tracing::warn!(error = with_causes(&error), "the servers could not be compared with the registry");
                }
            }
            pause = EVERY;
        }
    }

    /// Keeps what was found. What is new in it is logged, and not in every round again.
    fn tell(&self, differences: Differences, failing: Vec<Check>) {
        let last = self.last();
        let old = last.as_ref().map(|last| last.differences.findings.as_slice()).unwrap_or_default();
        for finding in differences.findings.iter().filter(|finding| !old.contains(finding)) {
            tracing::warn!(
                server = finding.server,
                kind = finding.kind.code(),
                what = finding.told(),
                "the server is not as the registry says: portero doctor"
            );
        }
        let known = |check: &Check| last.as_ref().is_some_and(|last| last.failing.contains(check));
        for check in failing.iter().filter(|check| !known(check)) {
            tracing::warn!(check = check.name, found = check.found, "a check fails: portero doctor");
        }
        let (differences, failing) = (Arc::new(differences), failing.into());
        let round = LastRound { at: OffsetDateTime::now_utc(), differences, failing };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(round);
    }
}
