//! What the benches are held against, all in one place. It knows no bench: each asks for its own line.

/// A thing that is measured, and what is wanted of it.
#[derive(Debug)]
pub(super) struct Target {
    /// By which the measuring program calls it.
    pub(super) key: &'static str,
    /// What the table calls it.
    pub(super) what: &'static str,
    pub(super) bound: Bound,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The figure, of its ceiling: the median of all pairs.
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// The figure, in its own unit: the median of all pairs.
    AtMost(f64),
    /// The same, and no pair may pass it.
    NeverAbove(f64),
    /// Told for its own sake.
    Told,
}

/// `cargo xtask bench route` has a report of its own.
pub(super) const ROUTE: Target = of("route", "throughput of a routed request", Bound::RatioAtLeast(0.95));

const TARGETS: &[Target] = &[
    of("checkout", "lookup, warm checkout, check-in", Bound::AtMost(5.0)),
    of("cold.room.median", "first request, median", Bound::RatioAtMost(1.3)),
    of("cold.room.p99", "first request, p99", Bound::RatioAtMost(1.3)),
    of("cold.full.median", "the same, server full, median", Bound::RatioAtMost(1.3)),
    of("cold.full.p99", "the same, server full, p99", Bound::RatioAtMost(1.3)),
    of("budget.most", "sessions at most", Bound::NeverAbove(40.0)),
    of("budget.failed", "failed requests", Bound::NeverAbove(0.0)),
    of("budget.rate", "requests", Bound::Told),
    of("budget.median", "a request, median", Bound::Told),
    of("budget.p99", "a request, p99", Bound::Told),
    of("fairness.busy.median", "beside a busy hog, median", Bound::Told),
    of("fairness.busy.p99", "beside a busy hog, p99", Bound::RatioAtMost(2.0)),
    of("fairness.sleepy.median", "beside a sleepy hog, median", Bound::Told),
    of("fairness.sleepy.p99", "beside a sleepy hog, p99", Bound::RatioAtMost(2.0)),
    of("fairness.unlimited.median", "busy, without limits, median", Bound::Told),
    of("fairness.unlimited.p99", "busy, without limits, p99", Bound::Told),
    of("fairness.failed", "failed requests of the sparse", Bound::NeverAbove(0.0)),
    of("cutoff.median", "every router knows, median", Bound::AtMost(50.0)),
    of("cutoff.p99", "every router knows, p99", Bound::AtMost(500.0)),
    // The routers look every second; the rest is what the way takes when they are told.
    of("cutoff.deaf", "with NOTIFY dead, at most", Bound::NeverAbove(1050.0)),
    of("provision.warm.median", "sign-up, warm, median", Bound::AtMost(150.0)),
    of("provision.warm.p99", "sign-up, warm, p99", Bound::AtMost(300.0)),
    of("provision.cold.median", "sign-up, cold, median", Bound::RatioAtMost(1.5)),
    of("provision.cold.p99", "sign-up, cold, p99", Bound::Told),
    of("provision.crowd.failed", "of many at once, not served", Bound::NeverAbove(0.0)),
    of("provision.crowd.last", "of many at once, the last", Bound::Told),
    of("provision.crowd.others.median", "others meanwhile, median", Bound::Told),
    of("provision.crowd.others.p99", "others meanwhile, p99", Bound::RatioAtMost(2.0)),
    of("provision.crowd.others.failed", "others' failed requests", Bound::NeverAbove(0.0)),
    of("migrate.run", "every company, in waves", Bound::RatioAtMost(1.5)),
    // A twelfth of what django-tenants' executor takes with as many processes.
    of("migrate.each", "the same, for a company", Bound::AtMost(5.0)),
    of("migrate.wave", "the same, in one wave", Bound::Told),
    of("directory.start", "ready", Bound::AtMost(5.0)),
    of("directory.away", "ready, registry away", Bound::AtMost(5.0)),
    of("directory.memory", "memory of each", Bound::AtMost(1024.0)),
    // No I/O takes so little.
    of("directory.lookup", "a lookup", Bound::AtMost(1000.0)),
];

const fn of(key: &'static str, what: &'static str, bound: Bound) -> Target {
    Target { key, what, bound }
}

/// The target of what the measuring program calls `key`.
pub(super) fn target(key: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.key == key)
}

impl Bound {
    /// The verdict, from the middle of the figures and the middle of the ratios, and from the worst figure.
    pub(super) fn holds(self, figure: f64, worst: f64, ratio: f64) -> Option<bool> {
        match self {
            Self::RatioAtLeast(least) => Some(ratio >= least),
            Self::RatioAtMost(most) => Some(ratio <= most),
            Self::AtMost(most) => Some(figure <= most),
            Self::NeverAbove(most) => Some(worst <= most),
            Self::Told => None,
        }
    }

    pub(super) fn words(self, unit: &str) -> String {
        match self {
            Self::RatioAtLeast(least) => format!("≥ {least} ×"),
            Self::RatioAtMost(most) => format!("≤ {most} ×"),
            Self::AtMost(most) => format!("≤ {most} {unit}").trim_end().to_owned(),
            Self::NeverAbove(most) => format!("never > {most} {unit}").trim_end().to_owned(),
            Self::Told => "–".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_held_or_not() {
        for (bound, figure, worst, ratio, expected, words) in [
            (Bound::RatioAtLeast(0.95), 1.0, 1.0, 0.95, Some(true), "≥ 0.95 ×"),
            (Bound::RatioAtMost(1.3), 1.0, 1.0, 1.31, Some(false), "≤ 1.3 ×"),
            (Bound::AtMost(5.0), 5.0, 9.0, f64::NAN, Some(true), "≤ 5 ms"),
            (Bound::NeverAbove(40.0), 39.0, 41.0, f64::NAN, Some(false), "never > 40 ms"),
            (Bound::Told, 1.0, 1.0, 1.0, None, "–"),
        ] {
            assert_eq!(bound.holds(figure, worst, ratio), expected, "{bound:?}");
            assert_eq!(bound.words("ms"), words);
        }
        // Nothing was measured: that is no success.
        assert_eq!(Bound::RatioAtMost(1.3).holds(f64::NAN, f64::NAN, f64::NAN), Some(false));
    }

    #[test]
    fn no_key_has_two_targets() {
        for target in TARGETS {
            assert_eq!(TARGETS.iter().filter(|other| other.key == target.key).count(), 1, "{target:?}");
        }
    }
}
