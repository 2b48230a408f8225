//! The operators' picture of each server's connections. It is given counts and knows neither the router nor the
//! registry.

use super::Frame;
use crate::text::{Breaker, CheckoutPath, Lang, SlotState};
use askama::Template;

/// Units that a bar is wide.
const WIDE: usize = 1000;
/// What is there at all shows: the least of them that anything takes.
const LEAST: usize = 14;

/// `GET /budget`, on the operators' listener. The script asks for it again every two seconds; without it the page
/// refreshes.
#[derive(Debug, Clone, Template)]
#[template(path = "budget.html")]
pub struct BudgetPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// Every server.
    pub servers: Vec<ServerBudget>,
    /// Whether the page looks again by itself.
    pub live: bool,
}

/// What one server's connections are doing.
#[derive(Debug, Clone)]
pub struct ServerBudget {
    /// Its name.
    pub name: String,
    /// Connections that companies together may hold there, from all routers; 0 before it was asked.
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
    /// Requests that wait.
    pub waiting: usize,
    /// Companies with a request that waits.
    pub waiting_tenants: usize,
    /// Whether the server is used.
    pub breaker: Breaker,
    /// How long checkouts took.
    pub checkouts: Vec<Checkouts>,
    /// Every router's part; nothing while the registry doesn't say.
    pub leases: Option<Vec<Lease>>,
    /// The companies that hold and wait for most.
    pub top: Vec<TopTenant>,
}

/// How long requests took to come by a connection, one way.
#[derive(Debug, Clone, Copy)]
pub struct Checkouts {
    /// Which way.
    pub path: CheckoutPath,
    /// How many.
    pub count: u64,
    /// What half of them took, at most.
    pub median: Option<Took>,
    /// What 99 of 100 took, at most.
    pub p99: Option<Took>,
}

/// Seconds, as well as they are known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Took {
    /// So many, or fewer.
    AtMost(f64),
    /// More than are told apart.
    Over(f64),
}

/// A router's part of a server's connections.
#[derive(Debug, Clone)]
pub struct Lease {
    /// The router's name.
    pub router: String,
    /// Whether it is the one that shows the page.
    pub this_router: bool,
    /// Whether it lasts.
    pub live: bool,
    /// Connections it may hold.
    pub granted: usize,
    /// Connections it had open when it last spoke.
    pub used: usize,
}

/// A company that holds or waits for much.
#[derive(Debug, Clone)]
pub struct TopTenant {
    /// Its subdomain.
    pub subdomain: String,
    /// Connections lent to it.
    pub in_use: usize,
    /// Its idle ones.
    pub idle: usize,
    /// Its requests that wait.
    pub waiting: usize,
}

/// A piece of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) what: SlotState,
    pub(super) count: usize,
    pub(super) at: usize,
    pub(super) wide: usize,
}

impl ServerBudget {
    /// All of the server's connections, in the order of the bar.
    pub(super) fn slots(&self) -> [(SlotState, usize); 7] {
        let open = self.in_use + self.connecting + self.closing + self.idle;
        let others = self.leases.as_deref().map_or(0, |leases| {
            leases.iter().filter(|lease| !lease.this_router).map(|lease| lease.granted.max(lease.used)).sum()
        });
        let ours = self.granted.max(open);
        [
            (SlotState::InUse, self.in_use),
            (SlotState::Connecting, self.connecting),
            (SlotState::Closing, self.closing),
            (SlotState::Idle, self.idle),
            (SlotState::Free, ours - open),
            (SlotState::Others, others),
            (SlotState::Rest, self.capacity.saturating_sub(ours + others)),
        ]
    }

    pub(super) fn pieces(&self) -> Vec<Piece> {
        pieces(&self.slots())
    }

    fn lease_pieces(&self, lease: &Lease) -> Vec<Piece> {
        let granted = lease.granted.saturating_sub(lease.used);
        let other = self.capacity.saturating_sub(lease.used + granted);
        pieces(&[(SlotState::InUse, lease.used), (SlotState::Free, granted), (SlotState::Rest, other)])
    }
}

impl BudgetPage<'_> {
    /// As it is called here: without the registry nobody knows whose the rest is.
    fn slot(&self, server: &ServerBudget, state: SlotState) -> &'static str {
        let w = self.frame.w;
        if state == SlotState::Rest && server.leases.is_none() {
            w.budget.rest_unknown
        } else {
            w.slot(state)
        }
    }

    /// The bar, for whoever doesn't see it.
    fn described(&self, server: &ServerBudget) -> String {
        let there = server.slots().into_iter().filter(|(_, count)| *count > 0);
        let said: Vec<_> =
            there.map(|(state, count)| format!("{} {count}", self.slot(server, state))).collect();
        said.join(", ")
    }

    fn took(&self, took: &Option<Took>) -> String {
        match took {
            None => "–".to_owned(),
            Some(Took::AtMost(seconds)) => format!("≤ {}", duration(self.frame.lang, *seconds)),
            Some(Took::Over(seconds)) => format!("> {}", duration(self.frame.lang, *seconds)),
        }
    }
}

/// As people write it: `0,25 ms` in Spanish.
fn duration(lang: Lang, seconds: f64) -> String {
    let text = if seconds < 1.0 {
        // The bounds have two digits that count; the third hides what binary fractions add.
        format!("{} ms", (seconds * 1e6).round() / 1e3)
    } else {
        format!("{seconds} s")
    };
    match lang {
        Lang::Es => text.replace('.', ","),
        Lang::En => text,
    }
}

/// Lays counts side by side. Each that isn't 0 has its least, and the widest gives what that takes.
fn pieces(counts: &[(SlotState, usize)]) -> Vec<Piece> {
    let sum = counts.iter().map(|(_, count)| count).sum::<usize>().max(1);
    let there = counts.iter().filter(|(_, count)| *count > 0);
    let mut wide: Vec<_> = there.clone().map(|(_, count)| (count * WIDE / sum).max(LEAST)).collect();
    let taken: usize = wide.iter().sum();
    if let Some(widest) = wide.iter_mut().max() {
        *widest = (*widest + WIDE).saturating_sub(taken);
    }
    let starts = wide.iter().scan(0, |end, wide| {
        *end += wide;
        Some(*end - wide)
    });
    let placed = there.zip(starts).zip(&wide);
    placed.map(|(((what, count), at), wide)| Piece { what: *what, count: *count, at, wide: *wide }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(leases: Option<Vec<Lease>>) -> ServerBudget {
        ServerBudget {
            name: "main".to_owned(),
            capacity: 100,
            granted: 60,
            in_use: 1,
            idle: 9,
            connecting: 2,
            closing: 0,
            waiting: 0,
            waiting_tenants: 0,
            breaker: Breaker::Closed,
            checkouts: Vec::new(),
            leases,
            top: Vec::new(),
        }
    }

    fn lease(this_router: bool, granted: usize, used: usize) -> Lease {
        Lease { router: "r".to_owned(), this_router, live: true, granted, used }
    }

    #[test]
    fn every_connection_is_somewhere() {
        let counts = |server: &ServerBudget| server.slots().map(|(_, count)| count);
        assert_eq!(counts(&server(None)), [1, 2, 0, 9, 48, 0, 40]);
        let shared = server(Some(vec![lease(true, 60, 12), lease(false, 30, 4)]));
        assert_eq!(counts(&shared), [1, 2, 0, 9, 48, 30, 10]);
        let shrinking = server(Some(vec![lease(true, 60, 12), lease(false, 30, 45)]));
        assert_eq!(counts(&shrinking), [1, 2, 0, 9, 48, 45, 0], "what is open counts, whatever is granted");
        let over = ServerBudget { granted: 5, ..server(None) };
        assert_eq!(counts(&over), [1, 2, 0, 9, 0, 0, 88]);
    }

    #[test]
    fn a_single_connection_of_thousands_shows_and_the_bar_is_as_long_as_ever() {
        for counts in [[1, 0, 4999], [1, 1, 1], [0, 0, 0], [7, 3000, 2], [0, 0, 1]] {
            let of = [SlotState::InUse, SlotState::Idle, SlotState::Rest];
            let counts: Vec<_> = of.into_iter().zip(counts).collect();
            let pieces = pieces(&counts);
            assert!(pieces.iter().all(|piece| piece.wide >= LEAST && piece.count > 0), "{pieces:?}");
            assert!(pieces.windows(2).all(|two| two[0].at + two[0].wide == two[1].at), "{pieces:?}");
            assert!(pieces.last().is_none_or(|last| last.at + last.wide == WIDE), "{pieces:?}");
        }
    }

    #[test]
    fn durations_are_written_as_people_write_them() {
        for (seconds, en, es) in [
            (0.000_05, "0.05 ms", "0,05 ms"),
            (0.002_5, "2.5 ms", "2,5 ms"),
            (0.1, "100 ms", "100 ms"),
            (2.5, "2.5 s", "2,5 s"),
            (10.0, "10 s", "10 s"),
        ] {
            assert_eq!(
                (duration(Lang::En, seconds).as_str(), duration(Lang::Es, seconds).as_str()),
                (en, es)
            );
        }
    }
}
