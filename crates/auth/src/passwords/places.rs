//! Who may have a password computed, and when: so many at once, so many waiting, and a share of both per claimant.
//!
//! Whoever sends logins faster than they are computed finds its own share taken and not that of others. And those
//! who wait don't run in the order in which they came: each claimant has its own line, of which as many stand in the
//! common one as can run at once. So a claimant's flood delays somebody else's login by a round, not by its length.
//!
//! It doesn't know what is computed. Next: `memory.rs`, in what.

use super::AuthError;
use portero_kernel::TenantId;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One claimant's share of all places is this part. Four who flood at once make everybody wait and none alone; and a
/// quarter, a second's worth of computing as Portero sets it up, is still a company whose people all log in at nine.
const SHARE: usize = 4;
/// A share is never smaller than this, so that a small service doesn't refuse two people who log in at once.
const SHARE_MIN: usize = 4;

/// For whom a password is computed: whose share of the places it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Claimant {
    /// Portero itself: sign-ups, which come from strangers and have a share like anybody's, and its commands.
    Platform,
    /// A tenant: its logins and its new users.
    Tenant(TenantId),
}

/// The places of all. Clones share them.
#[derive(Debug, Clone)]
pub(super) struct Places {
    at_once: usize,
    /// Running and waiting together.
    all: usize,
    /// What one claimant may take of them.
    share: usize,
    pub(super) running: Arc<Semaphore>,
    taken: Arc<Mutex<Taken>>,
}

/// What is taken. A claimant without a place has no line here, so there are never more lines than places.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    lines: HashMap<Claimant, Line>,
}

#[derive(Debug)]
struct Line {
    /// Running and waiting, of one claimant.
    taken: usize,
    /// Its first few: as many as can run at once if nobody else is there.
    front: Arc<Semaphore>,
}

/// A place, taken: it is free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    claimant: Claimant,
    front: Arc<Semaphore>,
}

/// The right to compute now: over when dropped, and then the place is free as well.
#[derive(Debug)]
pub(super) struct Turn {
    _running: OwnedSemaphorePermit,
    _front: OwnedSemaphorePermit,
    _place: Place,
}

impl Places {
    pub(super) fn new(at_once: usize, waiting: usize) -> Self {
        let at_once = at_once.clamp(1, Semaphore::MAX_PERMITS);
        let all = at_once.saturating_add(waiting);
        Self {
            at_once,
            all,
            share: (all / SHARE).max(SHARE_MIN),
            running: Arc::new(Semaphore::new(at_once)),
            taken: Arc::default(),
        }
    }

    /// Takes a place at once or not at all.
    ///
    /// # Errors
    /// [`AuthError::Busy`]: all are taken, or this claimant's share is.
    pub(super) fn claim(&self, claimant: Claimant) -> Result<Place, AuthError> {
        let mut taken = self.taken();
        if taken.all >= self.all || taken.lines.get(&claimant).is_some_and(|line| line.taken >= self.share) {
            return Err(AuthError::Busy);
        }
        taken.all += 1;
        let line = taken
            .lines
            .entry(claimant)
            .or_insert_with(|| Line { taken: 0, front: Arc::new(Semaphore::new(self.at_once)) });
        line.taken += 1;
        Ok(Place { places: self.clone(), claimant, front: Arc::clone(&line.front) })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("nothing panics while it counts")
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all - self.taken().all
    }

    #[cfg(test)]
    pub(super) fn lines(&self) -> usize {
        self.taken().lines.len()
    }
}

impl Place {
    /// Waits until it is this place's turn.
    pub(super) async fn turn(self) -> Turn {
        const OPEN: &str = "these semaphores are never closed";
        let front = Arc::clone(&self.front).acquire_owned().await.expect(OPEN);
        let running = Arc::clone(&self.places.running).acquire_owned().await.expect(OPEN);
        Turn { _running: running, _front: front, _place: self }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(line) = taken.lines.get_mut(&self.claimant) {
            line.taken -= 1;
            if line.taken == 0 {
                taken.lines.remove(&self.claimant);
            }
        }
    }
}
