//! What was refused that an operator should hear of by name: counted, and handed on to whoever writes it down.
//!
//! Strangers make as many of these as they like, so nothing here grows with their number: a kind at a company's door is
//! told of once at once, and then once a minute with a count. Beyond so many companies at a time they are counted
//! together, without a name. No request waits for any of it.

use crate::{ClientAddress, Kind, context::Here};
use actix_web::{HttpMessage, HttpRequest};
use portero_kernel::TenantId;
use portero_registry::Verb;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How often a kind at a company's door is told of again.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// Of how many companies, each kind counting anew, one is told by name at a time.
const NAMED: usize = 32;

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sight {
    /// A page of another origin asked for a change.
    CrossOrigin,
    /// A host that isn't one, or contradicts the request line.
    HostInvalid,
    /// A name that the operators' listener doesn't answer to.
    Misdirected,
    /// More of something expensive than one address may have.
    RateLimited,
    /// More requests of a company than it may make.
    TenantRateLimited,
    /// A good token of one company at another's door.
    CrossTenantToken,
    /// An operator's token that is nobody's.
    OperatorRefused,
}

impl Sight {
    /// What the audit log calls it.
    #[must_use]
    pub const fn verb(self) -> Verb {
        match self {
            Self::CrossOrigin => Verb::CrossOrigin,
            Self::HostInvalid => Verb::HostInvalid,
            Self::Misdirected => Verb::Misdirected,
            Self::RateLimited => Verb::RateLimited,
            Self::TenantRateLimited => Verb::TenantRateLimited,
            Self::CrossTenantToken => Verb::CrossTenantToken,
            Self::OperatorRefused => Verb::OperatorRefused,
        }
    }

    const fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::CrossOrigin => Some(Self::CrossOrigin),
            Kind::HostInvalid => Some(Self::HostInvalid),
            Kind::Misdirected => Some(Self::Misdirected),
            Kind::TooManyRequests => Some(Self::RateLimited),
            Kind::TenantRateLimited => Some(Self::TenantRateLimited),
            _ => None,
        }
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighted {
    /// What.
    pub sight: Sight,
    /// At whose door; nothing for the apex, for operators' and for more companies than are told by name.
    pub tenant: Option<TenantId>,
    /// How often since it was last told.
    pub count: u64,
    /// From where, the first time since then.
    pub address: Option<IpAddr>,
    /// Whose token it was, the first time since then.
    pub token_of: Option<TenantId>,
}

/// What was seen and not told yet.
#[derive(Default)]
pub struct Sightings {
    seen: Mutex<HashMap<(Sight, Option<TenantId>), Seen>>,
}

#[derive(Default)]
struct Seen {
    told: Option<Instant>,
    count: u64,
    address: Option<IpAddr>,
    token_of: Option<TenantId>,
}

impl Sightings {
    /// Counts a problem that a request was answered with, if it is one of these.
    pub(crate) fn problem(&self, kind: Kind, request: &HttpRequest) {
        if let Some(sight) = Sight::of(kind) {
            let tenant = match request.extensions().get::<Here>() {
                Some(Here::Tenant(route)) => Some(route.tenant),
                _ => None,
            };
            self.note(sight, tenant, ClientAddress::of(request), None);
        }
    }

    /// Counts one.
    pub fn note(
        &self,
        sight: Sight,
        tenant: Option<TenantId>,
        address: ClientAddress,
        token_of: Option<TenantId>,
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let key = if seen.len() < NAMED || seen.contains_key(&(sight, tenant)) { tenant } else { None };
        let seen = seen.entry((sight, key)).or_default();
        seen.count += 1;
        seen.address.get_or_insert(address.0);
        seen.token_of = seen.token_of.or(token_of);
    }

    /// Takes what is to be told now; `all` if this is the last time.
    pub fn take(&self, all: bool) -> Vec<Sighted> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Vec::new();
        seen.retain(|(sight, tenant), seen| {
            if !all && seen.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
                return true;
            }
            if seen.count == 0 {
                return false;
            }
            due.push(Sighted {
                sight: *sight,
                tenant: *tenant,
                count: seen.count,
                address: seen.address,
                token_of: seen.token_of,
            });
            *seen = Seen { told: Some(Instant::now()), ..Seen::default() };
            true
        });
        due
    }

    /// Takes back what could not be written down, for another time.
    pub fn give_back(&self, sighted: &Sighted) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry((sighted.sight, sighted.tenant)).or_default();
        seen.told = None;
        seen.count += sighted.count;
        seen.address = sighted.address.or(seen.address);
        seen.token_of = sighted.token_of.or(seen.token_of);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> ClientAddress {
        ClientAddress(IpAddr::from([192, 0, 2, last]))
    }

    #[test]
    fn the_first_is_told_at_once_and_the_others_as_a_number() {
        let sightings = Sightings::default();
        let acme = Some(TenantId::generate());
        sightings.note(Sight::CrossOrigin, acme, address(1), None);
        let told = sightings.take(false);
        assert_eq!((told.len(), told[0].count, told[0].tenant), (1, 1, acme));
        for last in 2..=255 {
            sightings.note(Sight::CrossOrigin, acme, address(last), None);
        }
        assert_eq!(sightings.take(false), [], "not before a minute has passed");
        let told = sightings.take(true);
        assert_eq!((told[0].count, told[0].address), (254, Some(address(2).0)));
        sightings.give_back(&told[0]);
        assert_eq!(sightings.take(false)[0].count, 254);
    }

    #[test]
    fn a_thousand_companies_are_no_thousand_entries() {
        let sightings = Sightings::default();
        for _ in 0..1000 {
            sightings.note(Sight::TenantRateLimited, Some(TenantId::generate()), address(1), None);
        }
        let told = sightings.take(false);
        assert_eq!(told.len(), NAMED + 1);
        assert_eq!(told.iter().map(|one| one.count).sum::<u64>(), 1000, "and none is lost");
    }
}
