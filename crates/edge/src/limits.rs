//! How often one address may do what is expensive, or tells something: sign up, have a password checked, ask for a name.
//!
//! A handler asks for its turn by an extractor. Addresses of the IPv6 internet count by their /64, which is the least that
//! one customer has, and by the larger blocks that one may have.

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

/// The blocks of IPv6 that providers give to one customer beside the /64, by the bits that they have in common, and how many
/// times the allowance of a /64 all of a block has: a home's, and a site's (RFC 6177, RIPE-690). Whoever has a /48 has 65,536
/// of a /64, and by these the allowances of 16.
const BLOCKS: [(u32, NonZeroU32); 2] =
    [(56, NonZeroU32::new(4).expect("it isn't zero")), (48, NonZeroU32::new(16).expect("it isn't zero"))];

/// The limits; nothing is no limit.
#[derive(Default)]
pub struct Limits {
    sign_ups: Option<PerAddress>,
    logins: Option<PerAddress>,
    operators: Option<PerAddress>,
    names: Option<PerAddress>,
}

impl Limits {
    /// Sign-ups an hour, logins a minute, and questions a minute whether a name is free, from one address; `0` is no limit.
    /// Operators' tokens that are refused are logins too, with an allowance of their own.
    #[must_use]
    pub fn new(sign_ups_per_hour: u32, logins_per_minute: u32, names_per_minute: u32) -> Self {
        let limit = |count, secs| {
            NonZeroU32::new(count).and_then(|count| PerAddress::new(count, Duration::from_secs(secs)))
        };
        Self {
            sign_ups: limit(sign_ups_per_hour, 3600),
            logins: limit(logins_per_minute, 60),
            operators: limit(logins_per_minute, 60),
            names: limit(names_per_minute, 60),
        }
    }

    /// Takes one refusal of an operator's token of this address's allowance.
    ///
    /// # Errors
    /// [`Kind::TooManyRequests`].
    pub fn operator_turn(&self, address: ClientAddress) -> Result<(), Problem> {
        self.operators.as_ref().map_or(Ok(()), |limit| limit.turn(address.0))
    }
}

/// So many in so long from each network, and from each larger block.
struct PerAddress {
    networks: Limiter<IpAddr>,
    blocks: Vec<(u32, Limiter<Ipv6Addr>)>,
}

impl PerAddress {
    fn new(count: NonZeroU32, period: Duration) -> Option<Self> {
        let blocks = BLOCKS
            .into_iter()
            .map(|(bits, times)| Some((bits, Limiter::new(count.saturating_mul(times), period)?)));
        Some(Self { networks: Limiter::new(count, period)?, blocks: blocks.collect::<Option<_>>()? })
    }

    /// The smallest first: what a network asks over its own allowance takes nothing of its neighbours'.
    fn turn(&self, address: IpAddr) -> Result<(), Problem> {
        let taken = self.networks.take(&network_of(address)).and_then(|()| match address {
            IpAddr::V4(_) => Ok(()),
            IpAddr::V6(v6) => {
                self.blocks.iter().try_for_each(|(bits, limiter)| limiter.take(&block(v6, *bits)))
            }
        });
        taken.map_err(|wait| Problem::new(Kind::TooManyRequests).wait(wait))
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

fn network_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6(block(v6, 64)),
    }
}

/// The addresses that have so many bits in common with this one, at least one, by the first of them.
fn block(address: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << (128 - bits)))
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
                ready(limit.map_or(Ok(()), |limit| limit.turn(ClientAddress::of(request).0)).map(Self))
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
turn!(
    /// One question of this address's allowance whether a name is free.
    NameTurn names
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_allowance_and_others_have_theirs() {
        let limit = PerAddress::new(NonZeroU32::new(2).unwrap(), Duration::from_secs(3600)).unwrap();
        let at = |text: &str| limit.turn(text.parse().unwrap());
        assert!(at("192.0.2.1").is_ok() && at("192.0.2.1").is_ok());
        let refused = at("192.0.2.1").unwrap_err();
        assert_eq!(refused.kind, Kind::TooManyRequests);
        assert!(refused.retry_after_secs().is_some_and(|secs| (1..=1801).contains(&secs)), "{refused:?}");
        assert!(at("192.0.2.2").is_ok());
        assert!(at("2001:db8::1").is_ok() && at("2001:db8::2").is_ok() && at("2001:db8::3").is_err());
        assert!(at("2001:db8:0:1::1").is_ok());
    }

    #[test]
    fn a_block_has_some_allowances_and_not_one_for_each_network_in_it() {
        let limit = PerAddress::new(NonZeroU32::new(2).unwrap(), Duration::from_secs(3600)).unwrap();
        let passed = |blocks: u32, networks: u32| {
            let all = (0..blocks).flat_map(|block| (0..networks).map(move |network| (block << 8) + network));
            let tries = all.flat_map(|network| [network; 3]);
            let taken = tries.filter(|network| {
                limit.turn(format!("2001:db8:{}:{network:x}::1", blocks).parse().unwrap()).is_ok()
            });
            taken.count()
        };
        // One /56 of eight networks; a /48 of a hundred homes with one network each, and one of a hundred with four.
        assert_eq!((passed(1, 8), passed(100, 1)), (2 * 4, 2 * 16));
        assert_eq!(passed(101, 4), 2 * 16);
        // The neighbour of a home that asks too much has all of its own.
        let at = |text: &str| limit.turn(text.parse().unwrap()).is_ok();
        assert!((0..100).filter(|_| at("2001:db8:9:1::1")).count() == 2);
        assert!(at("2001:db8:9:2::1") && at("2001:db8:9:2::2") && !at("2001:db8:9:2::3"));
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
