//! What the scheduler promises to those who use it for a while: a bound on waiting, shares by weight, few logins, and a
//! capacity that routers keep to together.

use super::{
    millis,
    world::{MS, Nature, Order, World},
    worlds,
};
use portero_router::scheduler::{Limits, Reason};
use proptest::prelude::*;
use std::time::Duration;

fn plenty() -> Limits {
    Limits { queue_per_tenant: 10_000, queue: 100_000, ..Limits::default() }
}

const SWIFT: Nature =
    Nature { login: Duration::from_millis(5), close: MS, lag: Duration::ZERO, vanishing: 0 };

fn client(tenant: usize, hold: Duration, pause: Duration) -> Order {
    Order { tenant, hold, patience: None, again: Some(pause) }
}

proptest! {
    #![proptest_config(worlds(40))]

    #[test]
    fn nobody_waits_beyond_the_published_bound(
        tenants in 1_usize..30,
        granted in 1_usize..12,
        weight in 1_u32..4,
        clients in prop::collection::vec(1_usize..5, 30),
        holds in prop::collection::vec(millis(40), 30),
        pauses in prop::collection::vec(millis(100), 30),
        (turn, login, close, lag) in (millis(40), millis(20), millis(20), millis(2)),
        seed in any::<u64>(),
    ) {
        let limits = Limits { turn, logins: granted, ..plenty() };
        let mut world = World::new(limits, Nature { login, close, lag, vanishing: 0 }, &vec![weight; tenants], seed);
        world.grant(granted);
        for tenant in 0..tenants {
            for _ in 0..clients[tenant] {
                world.ask(client(tenant, holds[tenant], pauses[tenant]));
            }
        }
        world.run(Duration::from_secs(3));
        let longest = holds[..tenants].iter().max().copied().unwrap_or_default() + lag;
        let moving = login + close + 2 * lag;
        let rounds = u32::try_from(tenants.div_ceil(granted)).expect("few");
        let bound = rounds * (turn * weight + longest + moving);
        prop_assert!(world.story.driest <= bound, "{:?} of {bound:?}", world.story.driest);
    }
}

/// The time that each tenant had connections in use, in slots: all of them want more than there is, all the time.
fn slots_had(granted: usize, weights: &[u32]) -> (Vec<f64>, World) {
    let limits = Limits { per_tenant: granted, ..plenty() };
    let mut world = World::new(limits, SWIFT, weights, 7);
    world.grant(granted);
    for tenant in 0..weights.len() {
        for _ in 0..granted + 5 {
            world.ask(client(tenant, 3 * MS, Duration::ZERO));
        }
    }
    world.run(Duration::from_secs(1));
    world.story = Default::default();
    let span = Duration::from_secs(5);
    world.run(span);
    let had = |tenant| world.story.slot_time.get(&tenant).copied().unwrap_or_default().as_secs_f64();
    ((0..weights.len()).map(|tenant| had(tenant) / span.as_secs_f64()).collect(), world)
}

#[test]
fn slots_are_shared_by_weight() {
    // Each with what it should have: its part by weight, no more than it can use, and one at least where there are enough.
    for (granted, weights, fair) in [
        (10, vec![1, 4], vec![2.0, 8.0]),
        (10, vec![1, 1, 1], vec![3.3, 3.3, 3.3]),
        (7, vec![1, 4, 2], vec![1.0, 4.0, 2.0]),
        (20, vec![1, 4, 1, 4], vec![1.8, 7.2, 1.8, 7.2]),
        (10, vec![1; 11], vec![0.9; 11]),
        (10, [1, 4].repeat(8), [0.25, 1.0].repeat(8)),
        (4, [1, 4].repeat(10), [0.07, 0.28].repeat(10)),
    ] {
        let (had, world) = slots_had(granted, &weights);
        for (had, fair) in had.iter().zip(&fair) {
            // A slot that is left over stays where it is.
            let tolerance = if *fair > 1.0 { 0.75 } else { 0.25 * fair };
            assert!(
                (had - fair).abs() < tolerance,
                "{granted} slots, {weights:?}: {had:.2} instead of {fair}"
            );
        }
        // Connections change hands, and seldom: a request here holds one for 3 ms, a turn is 25.
        let served: u64 = world.story.served.values().sum();
        assert!(world.story.logins * 7 < served, "{} logins for {served} requests", world.story.logins);
    }
}

#[test]
fn a_load_that_fits_costs_no_logins() {
    for granted in [4_usize, 15, 16, 40, 100] {
        let kept = if granted < 16 { 0 } else { (granted / 25).max(2) };
        let tenants = granted - kept;
        let mut world = World::new(plenty(), SWIFT, &vec![1; tenants], 3);
        world.grant(granted);
        for tenant in 0..tenants {
            world.ask(client(tenant, 2 * MS, 30 * MS));
        }
        world.run(Duration::from_secs(20));
        // Clients leave connections behind in a state that nobody may meet; apart from those, none is closed.
        for reason in Reason::ALL.into_iter().filter(|reason| *reason != Reason::Stale) {
            assert_eq!(world.evicted(reason), 0, "of {granted}: {}", reason.as_str());
        }
    }
}

#[test]
fn sparse_tenants_hardly_wait_beside_hogs_and_hogs_do_not_quarrel() {
    for (granted, hogs, sparse) in [(40, 1, 200), (40, 6, 10), (40, 10, 200), (20, 3, 40)] {
        let mut world = World::new(plenty(), SWIFT, &vec![1; hogs + sparse], 3);
        world.grant(granted);
        for tenant in 0..hogs {
            for _ in 0..100 {
                world.ask(client(tenant, 2 * MS, Duration::ZERO));
            }
        }
        for tenant in hogs..hogs + sparse {
            let pause = Duration::from_millis(500 + world.dice.below(500) as u64);
            world.ask_after(pause, client(tenant, 2 * MS, pause));
        }
        world.run(Duration::from_secs(1));
        world.story = Default::default();
        world.run(Duration::from_secs(2));
        // A close, and a login of up to twice the usual 5 ms.
        assert!(world.story.driest < 15 * MS, "{granted}, {hogs}, {sparse}: {:?}", world.story.driest);
        let served: u64 = world.story.served.values().sum();
        assert!(world.story.logins * 8 < served, "{} logins for {served} requests", world.story.logins);
    }
}
