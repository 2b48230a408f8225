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
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    time::Duration,
};

/// Addresses that are remembered before those that have long been quiet are forgotten.
const REMEMBERED: usize = 10_000;

/// The limits; nothing is no limit.
#[derive(Default)]
pub struct Limits {
    sign_ups: Option<Limiter>,
    logins: Option<Limiter>,
}

impl Limits {
    /// Sign-ups an hour and logins a minute, from one address; `0` is no limit.
    #[must_use]
    pub fn new(sign_ups_per_hour: u32, logins_per_minute: u32) -> Self {
        let limiter = |count, period| NonZeroU32::new(count).and_then(|count| Limiter::new(count, period));
        Self {
            sign_ups: limiter(sign_ups_per_hour, Duration::from_secs(3600)),
            logins: limiter(logins_per_minute, Duration::from_secs(60)),
        }
    }
}

struct Limiter {
    addresses: DefaultKeyedRateLimiter<IpAddr>,
    clock: DefaultClock,
}

impl Limiter {
    fn new(count: NonZeroU32, period: Duration) -> Option<Self> {
        let quota = Quota::with_period(period / count.get())?.allow_burst(count);
        Some(Self { addresses: RateLimiter::dashmap(quota), clock: DefaultClock::default() })
    }

    fn take(&self, address: IpAddr) -> Result<(), Problem> {
        if self.addresses.len() > REMEMBERED {
            self.addresses.retain_recent();
        }
        self.addresses.check_key(&network_of(address)).map_err(|not_until| {
            let wait = not_until.wait_time_from(self.clock.now()).as_secs() + 1;
            Problem { wait_secs: Some(wait), ..Problem::new(Kind::TooManyRequests) }
        })
    }
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
                ready(limit.map_or(Ok(()), |limit| limit.take(ClientAddress::of(request).0)).map(Self))
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
        let at = |text: &str| limiter.take(text.parse().unwrap());
        assert!(at("192.0.2.1").is_ok() && at("192.0.2.1").is_ok());
        let refused = at("192.0.2.1").unwrap_err();
        assert_eq!(refused.kind, Kind::TooManyRequests);
        assert!(refused.retry_after_secs().is_some_and(|secs| (1..=1801).contains(&secs)), "{refused:?}");
        assert!(at("192.0.2.2").is_ok());
        assert!(at("2001:db8::1").is_ok() && at("2001:db8::2").is_ok() && at("2001:db8::3").is_err());
        assert!(at("2001:db8:0:1::1").is_ok());
    }
}
