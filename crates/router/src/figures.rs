//! What goes on, in numbers: a moment's picture of the router, for metrics and pages.

use crate::{
    SchemaFigures,
    scheduler::{Breaker, Path, Reason},
};
use portero_kernel::{ServerId, TenantId};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// What a router knows, holds and has done.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// Routes in memory.
    pub routes: usize,
    /// The value of the route clock up to which changes are applied.
    pub clock: i64,
    /// How far the registry's clock was ahead when it was last heard of.
    pub clock_lag: i64,
    /// The clock value of the snapshot on disk; 0 without one.
    pub saved_clock: i64,
    /// Whether the registry answered the last time it was asked.
    pub registry_reachable: bool,
    /// Lookups that found a route.
    pub lookups_hit: u64,
    /// Lookups that found none.
    pub lookups_missed: u64,
    /// Seconds from a change in the registry until it was applied here.
    pub invalidation: Histogram,
    /// How the tenants' schemas stand to the program.
    pub schema: SchemaFigures,
    /// Every server, by name.
    pub servers: Vec<ServerFigures>,
}

/// What one server's connections are doing.
#[derive(Debug, Clone)]
pub struct ServerFigures {
    /// Its id.
    pub id: ServerId,
    /// Its name.
    pub name: String,
    /// Connections that tenants together may hold there, from all routers; 0 before the server was asked.
    pub capacity: usize,
    /// Connections that this router may hold.
    pub granted: usize,
    /// Lent.
    pub in_use: usize,
    /// Waiting to be lent.
    pub idle: usize,
    /// Being opened.
    pub connecting: usize,
    /// Being closed.
    pub closing: usize,
    /// Requests that wait for a connection.
    pub waiting: usize,
    /// Tenants with a request that waits.
    pub waiting_tenants: usize,
    /// Tenants with a connection in use or a request that waits.
    pub active_tenants: usize,
    /// Whether the server is used.
    pub breaker: Breaker,
    /// Counts the times that it stopped answering.
    pub epoch: u64,
    /// Sessions that the server counts as this router's, less those that the router counts.
    pub drift: i64,
    /// Connections closed, by reason.
    pub evictions: [(&'static str, u64); Reason::ALL.len()],
    /// Statements that a migration had made stale, by what became of them: `retried`, or `told` to whoever asked.
    pub stale_statements: [(&'static str, u64); 2],
    /// Logins that failed, by SQLSTATE, or `io`, `timeout`, `wrong-mark`.
    pub connect_failures: BTreeMap<String, u64>,
    /// Seconds until a request had its connection, by how it came by it.
    pub checkout: [(&'static str, Histogram); Path::ALL.len()],
    /// Seconds that a login took.
    pub connect: Histogram,
    /// The tenants that hold and wait for most.
    pub top: Vec<TenantFigures>,
}

/// What one tenant has of its server.
#[derive(Debug, Clone)]
pub struct TenantFigures {
    /// Whose.
    pub tenant: TenantId,
    /// Its subdomain.
    pub subdomain: String,
    /// Connections lent or being opened.
    pub in_use: usize,
    /// Connections waiting to be lent.
    pub idle: usize,
    /// Requests that wait.
    pub waiting: usize,
}

/// What a tenant has of its servers' connections, by this router.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// Connections lent or being opened.
    pub in_use: usize,
    /// Connections waiting to be lent.
    pub idle: usize,
    /// Requests that wait.
    pub waiting: usize,
}

/// How often something took how long.
#[derive(Debug, Clone)]
pub struct Histogram {
    /// Upper bounds, in seconds.
    pub bounds: &'static [f64],
    /// How many were within each bound and above the one before; the last are those above all bounds.
    pub counts: Vec<u64>,
    /// The sum of all, in seconds.
    pub sum: f64,
    /// How many there were.
    pub count: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        HistogramRecorder::default().snapshot()
    }
}

/// From 50 µs, a checkout that waited for a lock, to 10 s, more than any request waits.
const BOUNDS: [f64; 14] =
    [0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0];

/// Counts durations. To be shared; recording takes no lock.
#[derive(Debug, Default)]
pub struct HistogramRecorder {
    counts: [AtomicU64; BOUNDS.len() + 1],
    nanos: AtomicU64,
}

impl HistogramRecorder {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        self.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    #[must_use]
    pub fn snapshot(&self) -> Histogram {
        let counts: Vec<u64> = self.counts.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        Histogram {
            bounds: &BOUNDS,
            count: counts.iter().sum(),
            counts,
            sum: Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_counted_within_its_bound() {
        let recorder = HistogramRecorder::default();
        for micros in [0, 50, 51, 700, 20_000_000] {
            recorder.observe(Duration::from_micros(micros));
        }
        let seen = recorder.snapshot();
        assert_eq!(seen.count, 5);
        assert_eq!((seen.counts[0], seen.counts[1], seen.counts[4], seen.counts[BOUNDS.len()]), (2, 1, 1, 1));
        assert!((seen.sum - 20.000_801).abs() < 1e-9, "{}", seen.sum);
    }
}
