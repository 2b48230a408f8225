//! What one company may ask of this process, so that others don't wait for it: requests a second, and requests at the
//! same time.
//!
//! The door asks after it knows whose request it is and before anything is read or borrowed for it. A company within its
//! limits pays for a look into two maps; one over them costs a refusal, and no connection. The limits are each
//! process's own. What is kept: companies that asked lately, and companies with a request under way.
//!
//! A company has two allowances: one for requests that bear what it has issued, a token or a session's cookie, and one for
//! strangers. So whoever floods its login page from outside takes nothing from its people, as long as they are logged in.
//! Of requests at the same time strangers have half as many, since all of them wait for the same connections.

use crate::{Kind, Problem, limits::Limiter};
use dashmap::{DashMap, Entry};
use portero_kernel::TenantId;
use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

/// For how long a company that was quiet may go beyond its rate: two seconds' worth of it at once.
const BURST_SECS: u32 = 2;

/// The limits; nothing is no limit.
#[derive(Default)]
pub struct FairUse {
    rate: Option<Limiter<(TenantId, Who)>>,
    at_once: Option<AtOnce>,
}

struct AtOnce {
    limit: NonZeroUsize,
    /// Requests under way; a company without any has no entry.
    under_way: DashMap<(TenantId, Who), usize>,
}

/// Whose allowance a request takes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// Somebody who bears what the company has issued.
    Own,
    /// Anybody else, those who are about to log in among them.
    Stranger,
}

/// Why a request has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfair {
    /// Too many requests in a short time.
    TooFast {
        /// Until the next one is allowed.
        wait_secs: u64,
    },
    /// Too many requests at the same time.
    TooManyAtOnce,
}

impl From<Unfair> for Problem {
    fn from(unfair: Unfair) -> Self {
        match unfair {
            Unfair::TooFast { wait_secs } => {
                Self { wait_secs: Some(wait_secs), ..Self::new(Kind::TenantRateLimited) }
            }
            Unfair::TooManyAtOnce => Self::new(Kind::TenantBusy),
        }
    }
}

impl FairUse {
    /// Requests a second and requests at the same time, of one company; `0` is no limit.
    #[must_use]
    pub fn new(requests_per_second: u32, at_the_same_time: usize) -> Self {
        let rate = NonZeroU32::new(requests_per_second).and_then(|count| {
            Limiter::new(
                count.saturating_mul(BURST_SECS.try_into().ok()?),
                Duration::from_secs(BURST_SECS.into()),
            )
        });
        let at_once =
            NonZeroUsize::new(at_the_same_time).map(|limit| AtOnce { limit, under_way: DashMap::new() });
        Self { rate, at_once }
    }

    /// Whether there is any limit.
    pub(crate) const fn is_limited(&self) -> bool {
        self.rate.is_some() || self.at_once.is_some()
    }

    /// Lets a company's request in; it is under way until the place is dropped.
    pub(crate) fn enter(&self, tenant: TenantId, who: Who) -> Result<Option<Place<'_>>, Unfair> {
        if let Some(rate) = &self.rate {
            rate.take(&(tenant, who)).map_err(|wait_secs| Unfair::TooFast { wait_secs })?;
        }
        self.at_once.as_ref().map(|at_once| at_once.enter(tenant, who)).transpose()
    }
}

impl AtOnce {
    fn enter(&self, tenant: TenantId, who: Who) -> Result<Place<'_>, Unfair> {
        let limit = match who {
            Who::Own => self.limit.get(),
            Who::Stranger => self.limit.get().div_ceil(2),
        };
        let mut count = self.under_way.entry((tenant, who)).or_insert(0);
        if *count >= limit {
            return Err(Unfair::TooManyAtOnce);
        }
        *count += 1;
        Ok(Place { among: self, whose: (tenant, who) })
    }
}

/// One request under way.
pub(crate) struct Place<'a> {
    among: &'a AtOnce,
    whose: (TenantId, Who),
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.among.under_way.entry(self.whose) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_company_has_its_rate_and_others_have_theirs() {
        let fair_use = FairUse::new(3, 0);
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let allowed = (0..20).take_while(|_| fair_use.enter(acme, Who::Own).is_ok()).count();
        assert!((6..10).contains(&allowed), "two seconds' worth, and not {allowed}");
        let refused = fair_use.enter(acme, Who::Own).err().unwrap();
        assert_eq!(refused, Unfair::TooFast { wait_secs: 1 }, "a third of a second, rounded up");
        let problem = Problem::from(refused);
        assert_eq!((problem.kind, problem.retry_after_secs()), (Kind::TenantRateLimited, Some(1)));
        assert!(fair_use.enter(globex, Who::Own).is_ok());
    }

    #[test]
    fn a_company_has_so_many_requests_under_way_and_an_ended_one_makes_room() {
        let fair_use = FairUse::new(0, 2);
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let first = fair_use.enter(acme, Who::Own).unwrap();
        let second = fair_use.enter(acme, Who::Own).unwrap();
        let refused = fair_use.enter(acme, Who::Own).err().unwrap();
        assert_eq!(refused, Unfair::TooManyAtOnce);
        assert_eq!(Problem::from(refused).retry_after_secs(), Some(1));
        assert!(fair_use.enter(globex, Who::Own).is_ok());
        drop(first);
        let third = fair_use.enter(acme, Who::Own).unwrap();
        drop((second, third));
        assert!(fair_use.at_once.as_ref().unwrap().under_way.is_empty(), "who asks nothing is forgotten");
    }

    #[test]
    fn strangers_take_nothing_from_a_companys_own_people() {
        let acme = TenantId::generate();
        let by_rate = FairUse::new(3, 0);
        while by_rate.enter(acme, Who::Stranger).is_ok() {}
        assert!(by_rate.enter(acme, Who::Own).is_ok());
        let at_once = FairUse::new(0, 3);
        let strangers: Vec<_> = (0..2).map(|_| at_once.enter(acme, Who::Stranger).unwrap()).collect();
        assert_eq!(
            at_once.enter(acme, Who::Stranger).err(),
            Some(Unfair::TooManyAtOnce),
            "half of three, rounded up"
        );
        let own: Vec<_> = (0..3).map(|_| at_once.enter(acme, Who::Own).unwrap()).collect();
        drop((strangers, own));
        assert!(at_once.at_once.as_ref().unwrap().under_way.is_empty());
    }

    #[test]
    fn a_company_that_left_in_the_middle_is_forgotten() {
        let fair_use = FairUse::new(0, 1);
        let acme = TenantId::generate();
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _place = fair_use.enter(acme, Who::Own);
            panic!("the handler");
        }));
        assert!(left.is_err() && fair_use.enter(acme, Who::Own).is_ok());
    }

    #[test]
    fn zero_is_no_limit() {
        let fair_use = FairUse::new(0, 0);
        let acme = TenantId::generate();
        let places: Vec<_> = (0..10_000).map(|_| fair_use.enter(acme, Who::Own).unwrap()).collect();
        assert!(places.iter().all(Option::is_none));
    }
}
