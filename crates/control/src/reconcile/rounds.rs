//! The reconciler's rounds: it looks every few minutes, and what it last found is there to be shown at once.

use crate::{Control, Differences};
use portero_kernel::with_causes;
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

    /// Notes what somebody has just found.
    pub fn note(&self, differences: Differences) {
        let round = LastRound { at: OffsetDateTime::now_utc(), differences: Arc::new(differences) };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(round);
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
                found = control.reconcile() => match found {
                    Ok(differences) => self.tell(differences),
                    Err(error) => tracing::warn!(error = with_causes(&error), "the servers could not be compared with the registry"),
                }
            }
            pause = EVERY;
        }
    }

    /// A finding is logged when it is new, and not in every round.
    fn tell(&self, differences: Differences) {
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
        self.note(differences);
    }
}
