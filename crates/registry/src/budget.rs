//! How routers share a server's connections: max-min fair, and shrinking before growing. Pure: rows in, a row out;
//! `routers` reads and writes them.
//!
//! A router decides about its own row and no other, so a grant is taken back only by whoever has it. And it hears of a
//! smaller grant after the registry has written it: the answer may be slow, or lost. So a row counts for the greatest of
//!
//! | | what it says |
//! |---|---|
//! | `granted` | what the router may open, as soon as it hears of it |
//! | `held` | what it kept to when it spoke: it may go up to that until it hears of less |
//! | `used` | what was open when it spoke: connections take a while to close |
//!
//! and whoever grows takes only what no other row counts for. Then the sum stays within the capacity whatever is lost,
//! slow or dead, and what a router gives up is free at the beat after the one that told it.

use portero_kernel::RouterId;

/// What a router has of one server's connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Holding {
    pub(crate) router: RouterId,
    /// Whether its lease lasts. One that ran out takes no part in the shares, and counts until it was fenced.
    pub(crate) live: bool,
    pub(crate) granted: usize,
    pub(crate) held: usize,
    pub(crate) wanted: usize,
    pub(crate) used: usize,
}

impl Holding {
    /// What nobody else may have.
    pub(crate) fn counted(self) -> usize {
        self.granted.max(self.held).max(self.used)
    }
}

/// What a router says of itself and one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Report {
    pub(crate) router: RouterId,
    pub(crate) held: usize,
    pub(crate) wanted: usize,
    pub(crate) used: usize,
}

/// The row of a router that reports, beside all `rows` as they are. Its own is among them unless this is its first, or
/// it was fenced meanwhile: then what it held is nobody's promise any more.
pub(crate) fn decide(capacity: usize, report: Report, rows: &[Holding]) -> Holding {
    let own = rows.iter().find(|row| row.router == report.router);
    let others: Vec<Holding> = rows.iter().filter(|row| row.router != report.router).copied().collect();
    let taken: usize = others.iter().map(|row| row.counted()).sum();
    let granted = share(capacity, report, &others).min(capacity.saturating_sub(taken));
    Holding {
        router: report.router,
        live: true,
        granted,
        held: report.held.min(own.map_or(0, |row| row.counted())),
        wanted: report.wanted,
        used: report.used,
    }
}

/// The share of the router that reports, beside the live ones of the others. The order is everybody's: by id.
fn share(capacity: usize, report: Report, others: &[Holding]) -> usize {
    let mut wants: Vec<(RouterId, usize)> =
        others.iter().filter(|row| row.live).map(|row| (row.router, row.wanted)).collect();
    wants.push((report.router, report.wanted));
    wants.sort_unstable_by_key(|(router, _)| router.uuid());
    let position = wants.iter().position(|(router, _)| *router == report.router);
    let wanted: Vec<usize> = wants.into_iter().map(|(_, wanted)| wanted).collect();
    position.map_or(0, |position| shares(capacity, &wanted)[position])
}

/// Divides `capacity` among those who want so much each, max-min fair: nobody could have more but at the cost of
/// somebody who has no more than they. Whoever wants nothing counts as wanting one, so that their first connection needs
/// no beat; what is left when all have what they want is spread evenly. All of it is given out.
pub(crate) fn shares(capacity: usize, wanted: &[usize]) -> Vec<usize> {
    let mut shares = vec![0; wanted.len()];
    let mut left = capacity;
    let mut hungry: Vec<usize> = (0..wanted.len()).collect();
    hungry.sort_by_key(|one| wanted[*one]);
    // The one that wants least first: what it wants, or an even part of what is left if that is less. Once one gets an
    // even part, so do all after it, down to the last unit.
    for (served, one) in hungry.iter().enumerate() {
        let even = left / (hungry.len() - served);
        shares[*one] = wanted[*one].max(1).min(even);
        left -= shares[*one];
    }
    let count = shares.len();
    for (position, share) in shares.iter_mut().enumerate() {
        *share += left / count + usize::from(position < left % count);
    }
    shares
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
