//! The router's figures as the picture that operators look at.

use portero_registry::LeaseRow;
use portero_router::{Histogram, ServerFigures, scheduler::Breaker};
use portero_web::{
    pages::{Checkouts, Lease, ServerBudget, Took, TopTenant},
    text,
};

/// One server's picture. `router` is what this router is called; without leases, other routers' part isn't known.
pub(crate) fn picture(figures: &ServerFigures, leases: Option<Vec<LeaseRow>>, router: &str) -> ServerBudget {
    ServerBudget {
        name: figures.name.clone(),
        capacity: figures.capacity,
        granted: figures.granted,
        in_use: figures.in_use,
        idle: figures.idle,
        connecting: figures.connecting,
        closing: figures.closing,
        waiting: figures.waiting,
        waiting_tenants: figures.waiting_tenants,
        breaker: match figures.breaker {
            Breaker::Closed => text::Breaker::Closed,
            Breaker::Open => text::Breaker::Open,
            Breaker::SlowStart => text::Breaker::SlowStart,
        },
        checkouts: figures.checkout.iter().filter_map(|(path, times)| checkouts(path, times)).collect(),
        leases: leases.map(|leases| leases.into_iter().map(|row| lease(row, router)).collect()),
        top: figures
            .top
            .iter()
            .map(|tenant| TopTenant {
                subdomain: tenant.subdomain.clone(),
                in_use: tenant.in_use,
                idle: tenant.idle,
                waiting: tenant.waiting,
            })
            .collect(),
    }
}

fn lease(row: LeaseRow, router: &str) -> Lease {
    Lease {
        this_router: row.name == router,
        router: row.name,
        live: row.live,
        granted: row.granted,
        used: row.used,
    }
}

fn checkouts(path: &str, times: &Histogram) -> Option<Checkouts> {
    Some(Checkouts {
        path: text::CheckoutPath::from_code(path)?,
        count: times.count,
        median: within(times, 50),
        p99: within(times, 99),
    })
}

/// The least bound that so many of a hundred are within; nothing if there were none.
fn within(times: &Histogram, percent: u64) -> Option<Took> {
    let wanted = (times.count * percent).div_ceil(100);
    if wanted == 0 {
        return None;
    }
    let mut so_far = 0;
    let found = times.bounds.iter().zip(&times.counts).find(|(_, count)| {
        so_far += **count;
        so_far >= wanted
    });
    found.map(|(bound, _)| Took::AtMost(*bound)).or_else(|| times.bounds.last().map(|last| Took::Over(*last)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_router::{HistogramRecorder, scheduler::Path};
    use std::time::Duration;

    #[test]
    fn a_bound_is_told_that_so_many_are_within() {
        let recorder = HistogramRecorder::default();
        assert_eq!(within(&recorder.snapshot(), 50), None);
        recorder.observe(Duration::from_millis(3));
        assert_eq!(within(&recorder.snapshot(), 50), Some(Took::AtMost(0.005)));
        assert_eq!(within(&recorder.snapshot(), 99), Some(Took::AtMost(0.005)));
        (0..98).for_each(|_| recorder.observe(Duration::from_micros(20)));
        recorder.observe(Duration::from_secs(60));
        assert_eq!(within(&recorder.snapshot(), 50), Some(Took::AtMost(0.000_05)));
        assert_eq!(within(&recorder.snapshot(), 99), Some(Took::AtMost(0.005)));
        assert_eq!(within(&recorder.snapshot(), 100), Some(Took::Over(10.0)));
    }

    #[test]
    fn every_way_to_a_connection_has_its_words() {
        let known: Vec<_> = Path::ALL
            .into_iter()
            .filter_map(|path| checkouts(path.as_str(), &Histogram::default()))
            .collect();
        assert_eq!(known.len(), Path::ALL.len());
    }
}
