//! How many requests were refused, and why; of all companies together, since a name per company would never end.

use crate::{Kind, fair_use::Unfair};
use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Counts what the door answered with a problem.
pub struct Refusals {
    problems: [AtomicU64; Kind::ALL.len()],
    /// Requests of a company that had too many under way. They read `tenant-busy`, and are counted here instead, so that
    /// they are told from those that no connection became free for.
    at_once: AtomicU64,
    told: Mutex<[Told; Kind::ALL.len()]>,
}

/// What the log has of one kind.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    last: Option<Instant>,
    since: u64,
}

/// A kind is told of once in so long: on a bad day there are thousands of it a second.
const TELL_EVERY: Duration = Duration::from_secs(1);

impl Default for Refusals {
    fn default() -> Self {
        Self {
            problems: [const { AtomicU64::new(0) }; Kind::ALL.len()],
            at_once: AtomicU64::new(0),
            told: Mutex::new([Told::default(); Kind::ALL.len()]),
        }
    }
}

impl Refusals {
    /// Whether the log should have this one: with the number of those of its kind that it hasn't.
    pub(crate) fn to_tell(&self, kind: Kind) -> Option<u64> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let told = &mut told[kind as usize];
        if told.last.is_some_and(|last| last.elapsed() < TELL_EVERY) {
            told.since += 1;
            return None;
        }
        told.last = Some(Instant::now());
        Some(std::mem::take(&mut told.since))
    }

    /// The reasons, and how many requests were refused for each since the start.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let problems = Kind::ALL.iter().zip(&self.problems).map(|(kind, count)| (kind.code(), count));
        problems
            .chain([("tenant-concurrency", &self.at_once)])
            .map(|(reason, count)| (reason, count.load(Ordering::Relaxed)))
    }

    pub(crate) fn problem(&self, kind: Kind) {
        self.problems[kind as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unfair(&self, unfair: Unfair) {
        match unfair {
            Unfair::TooFast { .. } => self.problem(Kind::TenantRateLimited),
            Unfair::TooManyAtOnce => {
                self.at_once.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_has_one_of_a_kind_and_the_number_of_the_others() {
        let refusals = Refusals::default();
        assert_eq!(refusals.to_tell(Kind::TenantBusy), Some(0));
        assert_eq!((refusals.to_tell(Kind::TenantBusy), refusals.to_tell(Kind::TenantBusy)), (None, None));
        assert_eq!(refusals.to_tell(Kind::Internal), Some(0), "another kind");
        refusals.told.lock().unwrap()[Kind::TenantBusy as usize].last = Some(Instant::now() - TELL_EVERY);
        assert_eq!(refusals.to_tell(Kind::TenantBusy), Some(2));
    }

    #[test]
    fn each_refusal_is_counted_once_under_its_reason() {
        let refusals = Refusals::default();
        refusals.problem(Kind::HostInvalid);
        refusals.problem(Kind::Internal);
        refusals.problem(Kind::Internal);
        refusals.unfair(Unfair::TooFast { wait_secs: 1 });
        refusals.unfair(Unfair::TooManyAtOnce);
        let seen: Vec<_> = refusals.counts().filter(|(_, count)| *count > 0).collect();
        assert_eq!(
            seen,
            [("host-invalid", 1), ("tenant-rate-limited", 1), ("internal", 2), ("tenant-concurrency", 1)]
        );
    }
}
