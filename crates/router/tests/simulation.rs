//! The scheduler in a simulated world: whatever happens, its books are right and its promises are kept.
//!
//! `PORTERO_SIMULATIONS` is the number of worlds per property, for a long run: `PORTERO_SIMULATIONS=100000 cargo test -p
//! portero-router --release --test simulation`.

#[path = "simulation/promises.rs"]
mod promises;
#[path = "simulation/world.rs"]
mod world;

use portero_router::scheduler::{Failure, Limits};
use proptest::prelude::*;
use std::time::Duration;
use world::{MS, Nature, Order, World};

/// As many cases as asked for, or few enough for every day.
fn worlds(few: u32) -> ProptestConfig {
    let asked = std::env::var("PORTERO_SIMULATIONS").ok().and_then(|asked| asked.parse().ok());
    ProptestConfig { cases: asked.unwrap_or(few), failure_persistence: None, ..ProptestConfig::default() }
}

/// What happens to the world from without.
#[derive(Debug, Clone)]
enum Happening {
    Ask(Order),
    /// Many tenants at once, each for the first time.
    Burst {
        first: usize,
        many: usize,
        hold: Duration,
    },
    /// A tenant's route changes.
    Change(usize),
    Pause(usize),
    Resume(usize),
    Kill(usize),
    Trip,
    Heal {
        elsewhere: bool,
    },
    StartOver,
    Grant(usize),
    Bears(usize),
    Weather(Option<(Option<usize>, Failure)>),
}

const TENANTS: usize = 12;

fn millis(most: u64) -> impl Strategy<Value = Duration> {
    (0..=most).prop_map(Duration::from_millis)
}

fn orders() -> impl Strategy<Value = Order> {
    let hold = prop_oneof![5 => millis(30), 1 => millis(400)];
    let patience = prop_oneof![1 => Just(None), 2 => millis(60).prop_map(Some)];
    let again = prop_oneof![3 => Just(None), 1 => millis(20).prop_map(Some)];
    // Half of all asks for one tenant.
    let tenant = prop_oneof![Just(0), 0..TENANTS];
    (tenant, hold, patience, again).prop_map(|(tenant, hold, patience, again)| Order {
        tenant,
        hold,
        patience,
        again,
    })
}

fn failures() -> impl Strategy<Value = Failure> {
    prop_oneof![Just(Failure::Tenant), Just(Failure::TenantFull), Just(Failure::Server), Just(Failure::Full)]
}

fn happenings() -> impl Strategy<Value = Happening> {
    prop_oneof![
        60 => orders().prop_map(Happening::Ask),
        3 => (0..TENANTS, 1..TENANTS, millis(20)).prop_map(|(first, many, hold)| Happening::Burst { first, many, hold }),
        2 => (0..TENANTS).prop_map(Happening::Change),
        1 => (0..TENANTS).prop_map(Happening::Pause),
        2 => (0..TENANTS).prop_map(Happening::Resume),
        2 => (0_usize..64).prop_map(Happening::Kill),
        1 => Just(Happening::Trip),
        3 => any::<bool>().prop_map(|elsewhere| Happening::Heal { elsewhere }),
        1 => Just(Happening::StartOver),
        2 => (0_usize..12).prop_map(Happening::Grant),
        1 => (0_usize..12).prop_map(Happening::Bears),
        2 => prop::option::of((prop::option::of(0..TENANTS), failures())).prop_map(Happening::Weather),
    ]
}

fn limits() -> impl Strategy<Value = Limits> {
    (1_usize..5, 1_usize..3, 1_usize..5, 2_usize..20, 10_usize..60).prop_map(
        |(per_tenant, logins_per_tenant, logins, queue_per_tenant, queue)| Limits {
            per_tenant,
            logins_per_tenant,
            logins,
            queue_per_tenant,
            queue,
            turn: 25 * MS,
            idle: 2000 * MS,
            lifetime: 3000 * MS,
        },
    )
}

fn natures() -> impl Strategy<Value = Nature> {
    (1_u64..40, 0_u64..60, 0_u64..3, prop_oneof![3 => Just(0_usize), 1 => 0_usize..20]).prop_map(
        |(login, close, lag, vanishing)| Nature {
            login: Duration::from_millis(login),
            close: Duration::from_millis(close),
            lag: Duration::from_millis(lag),
            vanishing,
            spoiled: 2,
        },
    )
}

fn befall(world: &mut World, happening: &Happening) {
    match happening {
        Happening::Ask(order) => world.ask(*order),
        Happening::Burst { first, many, hold } => {
            for one in *first..first + many {
                world.ask(Order { tenant: one % TENANTS, hold: *hold, patience: None, again: None });
            }
        }
        Happening::Change(tenant) => world.change(*tenant, true),
        Happening::Pause(tenant) => world.change(*tenant, false),
        Happening::Resume(tenant) => world.change(*tenant, true),
        Happening::Kill(which) => world.kill(*which),
        Happening::Trip => world.trip(),
        Happening::Heal { elsewhere: false } => world.heal(),
        Happening::Heal { elsewhere: true } => world.heal_elsewhere(),
        Happening::StartOver => world.start_over(),
        Happening::Grant(granted) => world.grant(*granted),
        Happening::Bears(bears) => world.bears = *bears,
        Happening::Weather(weather) => world.weather = *weather,
    }
}

/// All is well again, and no client comes back: everybody who waits is served, and then everything is forgotten.
fn come_to_rest(world: &mut World) {
    world.calm();
    (world.weather, world.bears, world.nature.vanishing) = (None, usize::MAX, 0);
    for tenant in 0..world.tenants() {
        world.change(tenant, true);
    }
    world.heal();
    world.grant(world.granted().max(1));
    world.run(Duration::from_secs(30));
    world.assert_quiet();
    world.run(Duration::from_secs(10));
    world.assert_empty();
}

proptest! {
    #![proptest_config(worlds(300))]

    #[test]
    fn whatever_happens_the_books_are_right_and_everybody_is_answered(
        limits in limits(),
        nature in natures(),
        weights in prop::collection::vec(1_u32..5, TENANTS),
        granted in 1_usize..12,
        seed in any::<u64>(),
        happenings in prop::collection::vec((prop_oneof![Just(Duration::ZERO), millis(20)], happenings()), 1..120),
    ) {
        let mut world = World::new(limits, nature, &weights, seed);
        world.grant(granted);
        for (pause, happening) in &happenings {
            world.run(*pause);
            befall(&mut world, happening);
        }
        come_to_rest(&mut world);
    }
}
