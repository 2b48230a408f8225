//! How many requests were refused, and why; of all companies together, since a name per company would never end.

use crate::{Kind, fair_use::Unfair};
use std::sync::atomic::{AtomicU64, Ordering};

/// Counts what the door answered with a problem.
#[derive(Default)]
pub struct Refusals {
    problems: [AtomicU64; Kind::ALL.len()],
    /// Requests of a company that had too many under way. They read `tenant-busy`, and are counted here instead, so that
    /// they are told from those that no connection became free for.
    at_once: AtomicU64,
}

impl Refusals {
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
