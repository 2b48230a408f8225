//! How often one address may do what is expensive: sign up, or have a password checked.
//!
//! A handler asks for its turn by an extractor. Addresses of the IPv6 internet count by their /64, which is what one
//! customer has.

use crate::{ClientAddress, Edge, Kind, Problem};
use actix_web::{FromRequest, HttpRequest, dev::Payload, web};
use futures_util::future::{Ready, ready};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, DefaultClock},
};
use std::{
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// How often those that have been quiet for long are forgotten: after so many questions. At most so many more are
/// remembered than have something left to wait for, and forgetting costs each question a few nanoseconds.
const FORGET_EVERY: u32 = 8192;

/// The limits; nothing is no limit.
#[derive(Default)]
pub struct Limits {
    sign_ups: Option<Limiter<IpAddr>>,
    logins: Option<Limiter<IpAddr>>,
    operators: Option<Limiter<IpAddr>>,
}

impl Limits {
    /// Sign-ups an hour and logins a minute, from one address; `0` is no limit. Operators' tokens that are not known yet
    /// are logins too, with an allowance of their own.
    #[must_use]
    pub fn new(sign_ups_per_hour: u32, logins_per_minute: u32) -> Self {
        let limiter = |count, period| NonZeroU32::new(count).and_then(|count| Limiter::new(count, period));
        Self {
            sign_ups: limiter(sign_ups_per_hour, Duration::from_secs(3600)),
            logins: limiter(logins_per_minute, Duration::from_secs(60)),
            operators: limiter(logins_per_minute, Duration::from_secs(60)),
        }
    }

    /// Takes one refusal of an operator's token of this address's allowance.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`].
    pub fn operator_turn(&self, address: ClientAddress) -> Result<(), Problem> {
        self.operators.as_ref().map_or(Ok(()), |limit| turn(limit, address.0))
    }
}

/// So many in so long, each for themselves.
pub(crate) struct Limiter<K: Hash + Eq + Clone> {
    keys: DefaultKeyedRateLimiter<K>,
    clock: DefaultClock,
    asked: AtomicU32,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// `count` at once, and as many again in each `period`.
    pub(crate) fn new(count: NonZeroU32, period: Duration) -> Option<Self> {
        let quota = Quota::with_period(period / count.get())?.allow_burst(count);
        Some(Self {
            keys: RateLimiter::dashmap(quota),
            clock: DefaultClock::default(),
            asked: AtomicU32::new(0),
        })
    }

    /// Takes one of this one's allowance; or says in how many seconds there is one again.
    pub(crate) fn take(&self, key: &K) -> Result<(), u64> {
        if self.asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            self.keys.retain_recent();
            self.keys.shrink_to_fit();
        }
        self.keys.check_key(key).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now());
            (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
        })
    }
}

impl ClientAddress {
    /// The network that this address counts by: itself, or the /64 of an IPv6 one, which is what one customer has.
    #[must_use]
    pub fn network(self) -> IpAddr {
        network_of(self.0)
    }
}

fn turn(limiter: &Limiter<IpAddr>, address: IpAddr) -> Result<(), Problem> {
    limiter
        .take(&network_of(address))
        .map_err(|wait| Problem { wait_secs: Some(wait), ..Problem::new(Kind::TooManyRequests) })
}

fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

macro_rules! turn {
    ($(#[$doc:meta])* $name:ident $limit:ident) => {
        $(#[$doc])*
        pub struct $name(());

        impl FromRequest for $name {
            type Error = Problem;
            type Future = Ready<Result<Self, Problem>>;

            fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
                let limit = request.app_data::<web::Data<Edge>>().and_then(|edge| edge.limits.$limit.as_ref());
                ready(limit.map_or(Ok(()), |limit| turn(limit, ClientAddress::of(request).0)).map(Self))
            }
        }
    };
}

turn!(
    /// One sign-up of this address's allowance.
    SignUpTurn sign_ups
);
turn!(
    /// One login of this address's allowance.
    LoginTurn logins
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_allowance_and_others_have_theirs() {
        let limiter = Limiter::new(NonZeroU32::new(2).unwrap(), Duration::from_secs(3600)).unwrap();
        let at = |text: &str| turn(&limiter, text.parse().unwrap());
        assert!(at("192.0.2.1").is_ok() && at("192.0.2.1").is_ok());
        let refused = at("192.0.2.1").unwrap_err();
        assert_eq!(refused.kind, Kind::TooManyRequests);
        assert!(refused.retry_after_secs().is_some_and(|secs| (1..=1801).contains(&secs)), "{refused:?}");
        assert!(at("192.0.2.2").is_ok());
        assert!(at("2001:db8::1").is_ok() && at("2001:db8::2").is_ok() && at("2001:db8::3").is_err());
        assert!(at("2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn who_has_been_quiet_is_forgotten() {
        let limiter = Limiter::new(NonZeroU32::new(1).unwrap(), Duration::from_nanos(1)).unwrap();
        for number in 0..=FORGET_EVERY * 3 {
            let _ = limiter.take(&number);
        }
        assert!(limiter.keys.len() <= FORGET_EVERY as usize, "{}", limiter.keys.len());
    }
}
