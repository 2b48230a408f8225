//! What the scheduler promises to those who use it for a while: a bound on waiting, shares by weight, few logins, and a
//! capacity that routers keep to together.

use super::{
    millis,
    world::{Dice, MS, Nature, Order, Story, World},
    worlds,
};
use portero_router::scheduler::{Breaker, Failure, Limits, Reason};
use proptest::prelude::*;
use std::time::Duration;

fn plenty() -> Limits {
    Limits { queue_per_tenant: 10_000, queue: 100_000, ..Limits::default() }
}

const SWIFT: Nature =
    Nature { login: Duration::from_millis(5), close: MS, lag: Duration::ZERO, vanishing: 0, spoiled: 0 };

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
        let mut world = World::new(limits, Nature { login, close, lag, vanishing: 0, spoiled: 0 }, &vec![weight; tenants], seed);
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
        let bound = rounds * (turn + longest + moving);
        prop_assert!(world.story.driest <= bound, "{:?} of {bound:?}", world.story.driest);
    }
}

/// The time that each tenant had connections in use, in slots: all of them want more than there is, all the time.
fn slots_had(granted: usize, weights: &[u32]) -> (Vec<f64>, World) {
    let limits = Limits { per_tenant: granted, ..plenty() };
    let mut world = World::new(limits, SWIFT, weights, 7);
    world.grant(granted);
    for tenant in 0..weights.len() {
        for _ in 0..granted + 2 {
            world.ask(client(tenant, 3 * MS, Duration::ZERO));
        }
    }
    world.run(500 * MS);
    world.story = Story::default();
    let span = Duration::from_secs(2);
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
        world.run(Duration::from_secs(2));
        for reason in Reason::ALL {
            assert_eq!(world.evicted(reason), 0, "of {granted}: {}", reason.as_str());
        }
    }
}

#[test]
fn sparse_tenants_hardly_wait_beside_hogs_and_hogs_do_not_quarrel() {
    for (granted, hogs, sparse) in [(40, 1, 100), (40, 6, 10), (40, 10, 100), (20, 3, 40)] {
        let mut world = World::new(plenty(), SWIFT, &vec![1; hogs + sparse], 3);
        world.grant(granted);
        for tenant in 0..hogs {
            for _ in 0..12 {
                world.ask(client(tenant, 2 * MS, Duration::ZERO));
            }
        }
        for tenant in hogs..hogs + sparse {
            let pause = 250 * MS + world.dice.up_to(250 * MS);
            world.ask_after(pause, client(tenant, 2 * MS, pause));
        }
        world.run(500 * MS);
        world.story = Story::default();
        world.run(Duration::from_secs(1));
        // A close, and a login of up to twice the usual 5 ms.
        assert!(world.story.driest < 15 * MS, "{granted}, {hogs}, {sparse}: {:?}", world.story.driest);
        let served: u64 = world.story.served.values().sum();
        assert!(world.story.logins * 8 < served, "{} logins for {served} requests", world.story.logins);
    }
}

#[test]
fn a_server_that_bears_less_than_granted_serves_everybody() {
    for (bears, hogs, sparse) in [(10, 2, 10), (4, 1, 10), (10, 0, 16)] {
        let mut world = World::new(plenty(), SWIFT, &vec![1; hogs + sparse], 3);
        world.bears = bears;
        world.grant(20);
        for tenant in 0..hogs {
            for _ in 0..20 {
                world.ask(client(tenant, 2 * MS, Duration::ZERO));
            }
        }
        for tenant in hogs..hogs + sparse {
            world.ask(client(tenant, 2 * MS, 100 * MS));
        }
        world.run(Duration::from_secs(3));
        for tenant in 0..hogs + sparse {
            let served = world.story.served.get(&tenant).copied().unwrap_or(0);
            assert!(served >= 10, "{served} for one of {hogs} + {sparse} on a server that bears {bears}");
        }
        assert!(world.story.failures < 60, "{} logins that could not succeed", world.story.failures);
        // As soon as it bears more, more is used.
        world.bears = usize::MAX;
        for tenant in 0..hogs + sparse {
            for _ in 0..20 {
                world.ask(client(tenant, 20 * MS, Duration::ZERO));
            }
        }
        world.run(Duration::from_secs(2));
        assert!(world.counts().in_use >= 15, "{:?}", world.counts());
    }
}

#[test]
fn logins_that_the_server_fails_are_not_tried_without_pause() {
    let mut world = World::new(plenty(), Nature { login: MS, ..SWIFT }, &[1; 30], 3);
    world.grant(20);
    world.weather = Some((None, Failure::Server));
    for tenant in 0..30 {
        world.ask(Order { tenant, hold: MS, patience: None, again: None });
    }
    world.run(Duration::from_secs(2));
    assert!(world.story.failures <= 8 * 6, "{} logins failed in two seconds", world.story.failures);
    assert_eq!(world.counts().waiting, 30);
    world.weather = None;
    world.run(1500 * MS);
    world.assert_quiet();
    assert_eq!(world.story.served.len(), 30);
}

#[test]
fn logins_that_fail_together_are_held_back_once() {
    let mut world = World::new(plenty(), SWIFT, &[1; 8], 3);
    world.grant(20);
    world.weather = Some((None, Failure::Server));
    for tenant in 0..8 {
        world.ask(Order { tenant, hold: MS, patience: None, again: None });
    }
    world.run(10 * MS);
    assert_eq!(world.story.failures, 8);
    world.weather = None;
    world.run(60 * MS);
    assert_eq!(world.story.served.len(), 8);
}

#[test]
fn a_connection_of_an_earlier_life_of_the_server_is_not_passed_on() {
    // Cuts are so late that connections come back before them, to waiters who came after the server answered again.
    let limits = Limits { per_tenant: 1, ..plenty() };
    let mut world = World::new(limits, Nature { lag: 50 * MS, ..SWIFT }, &[1; 10], 3);
    world.grant(10);
    let order = |tenant| Order { tenant, hold: 100 * MS, patience: None, again: None };
    (0..10).for_each(|tenant| world.ask(order(tenant)));
    while world.counts().in_use < 8 {
        world.run(MS);
    }
    world.run(95 * MS);
    world.trip();
    world.heal();
    (0..10).for_each(|tenant| world.ask(order(tenant)));
    // The world looks at each connection that is lent.
    world.run(Duration::from_secs(2));
    world.assert_quiet();
}

#[test]
fn a_server_that_answers_again_serves_at_once_and_soon_at_full_speed() {
    let mut world = World::new(plenty(), Nature { login: Duration::from_secs(60), ..SWIFT }, &[1; 40], 3);
    world.grant(40);
    for tenant in 0..40 {
        world.ask(Order { tenant, hold: MS, patience: None, again: None });
    }
    world.run(20 * MS);
    assert_eq!(world.counts().connecting, 8);
    world.trip();
    assert_eq!(world.story.refused, 40);
    world.ask(Order { tenant: 0, hold: MS, patience: None, again: None });
    assert_eq!(world.story.refused, 41, "refused at once");
    world.nature.login = 5 * MS;
    world.heal();
    // Of the eight that still hang, too: their tenants wait for logins of their own.
    for tenant in 0..30 {
        world.ask(Order { tenant, hold: MS, patience: None, again: None });
    }
    world.run(60 * MS);
    assert_eq!(world.story.served.len(), 30);
    assert_eq!(world.scheduler.breaker(), Breaker::Closed);
}

#[test]
fn a_server_that_answers_elsewhere_does_not_wait_for_connections_to_end_where_it_was() {
    let mut world = World::new(plenty(), Nature { close: Duration::from_secs(60), ..SWIFT }, &[1; 20], 5);
    world.grant(10);
    for tenant in 0..10 {
        world.ask(Order { tenant, hold: 100 * MS, patience: None, again: None });
    }
    world.run(50 * MS);
    world.trip();
    world.run(50 * MS);
    world.heal_elsewhere();
    assert_eq!(world.counts().open(), world.counts().in_use, "those in use come back first");
    for tenant in 10..20 {
        world.ask(Order { tenant, hold: MS, patience: None, again: None });
    }
    world.run(Duration::from_secs(1));
    assert_eq!(world.story.served.len(), 20);
}

#[test]
fn what_was_opened_before_routes_are_counted_anew_is_not_lent_after() {
    let mut world = World::new(plenty(), Nature { login: 20 * MS, ..SWIFT }, &[1; 4], 5);
    world.grant(10);
    let order = |tenant, hold| Order { tenant, hold, patience: None, again: None };
    // One that lies idle, one in use, one under way; and each tenant's route has come far.
    for _ in 0..3 {
        (0..4).for_each(|tenant| world.change(tenant, true));
    }
    world.ask(order(0, MS));
    world.ask(order(1, 200 * MS));
    world.run(50 * MS);
    world.ask(order(2, MS));
    world.run(MS);
    assert_eq!((world.counts().idle, world.counts().in_use, world.counts().connecting), (1, 1, 1));
    let before = world.story.logins;
    world.start_over();
    (0..3).for_each(|tenant| world.ask(order(tenant, MS)));
    // The world looks at the epoch of each connection that is lent.
    world.run(Duration::from_secs(1));
    assert_eq!((world.story.served[&0], world.story.served[&1], world.story.served[&2]), (2, 2, 2));
    assert!(world.story.logins >= before + 3);
    world.assert_quiet();
}

/// What the registry has of a router: it counts for the greatest of them.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    granted: usize,
    held: usize,
    used: usize,
}

impl Row {
    fn counted(self) -> usize {
        self.granted.max(self.held).max(self.used)
    }
}

struct Peer {
    /// None while it is dead; its sessions are then `left`, until they are ended by another.
    world: Option<World>,
    left: usize,
    died: Duration,
    row: Row,
}

const CAPACITY: usize = 12;

fn busy_world(seed: u64) -> World {
    let nature = Nature { login: 10 * MS, close: 30 * MS, lag: MS, vanishing: 1, spoiled: 2 };
    let mut world = World::new(plenty(), nature, &[1; 9], seed);
    for tenant in 0..9 {
        for _ in 0..3 {
            world.ask(client(tenant, 8 * MS, 2 * MS));
        }
    }
    world
}

impl Peer {
    fn sessions(&self) -> usize {
        self.world.as_ref().map_or(self.left, World::sessions)
    }
}

/// One router's beat: shrink before grow, as `portero_registry` decides. An answer that is lost changes the row alone.
fn beat(peers: &mut [Peer], own: usize, lost: bool) {
    let live = peers.iter().filter(|peer| peer.world.is_some()).count();
    let taken: usize =
        peers.iter().enumerate().filter(|(at, _)| *at != own).map(|(_, peer)| peer.row.counted()).sum();
    let peer = &mut peers[own];
    let Some(world) = &mut peer.world else { return };
    let granted = (CAPACITY / live).min(CAPACITY.saturating_sub(taken));
    peer.row = Row { granted, held: world.granted(), used: world.sessions() };
    if !lost {
        world.grant(granted);
    }
}

proptest! {
    #![proptest_config(worlds(30))]

    #[test]
    fn routers_that_share_a_server_never_open_more_than_it_has(
        seed in any::<u64>(),
        days in prop::collection::vec((0_usize..3, 0_usize..100), 20..60),
    ) {
        let mut dice = Dice(seed);
        let mut peers: Vec<Peer> = (0..3)
            .map(|at| Peer { world: Some(busy_world(seed ^ at)), left: 0, died: Duration::ZERO, row: Row::default() })
            .collect();
        let mut now = Duration::ZERO;
        let pass = |peers: &mut Vec<Peer>, now: &mut Duration, span: u32| {
            for _ in 0..span {
                *now += MS;
                peers.iter_mut().filter_map(|peer| peer.world.as_mut()).for_each(|world| world.run(MS));
                let open: Vec<usize> = peers.iter().map(Peer::sessions).collect();
                assert!(open.iter().sum::<usize>() <= CAPACITY, "{open:?}");
                // Whoever outlived its lease is fenced: its sessions end, and then its row.
                for peer in peers.iter_mut().filter(|peer| peer.world.is_none() && *now >= peer.died + 100 * MS) {
                    (peer.left, peer.row) = (0, Row::default());
                }
            }
        };
        for (own, what) in days {
            match (what, peers[own].world.is_some()) {
                (0..80, _) => beat(&mut peers, own, dice.percent(10)),
                (80..90, true) => {
                    (peers[own].left, peers[own].died) = (peers[own].sessions(), now);
                    peers[own].world = None;
                }
                (80.., false) if peers[own].left == 0 => peers[own].world = Some(busy_world(seed ^ now.as_nanos() as u64)),
                _ => {}
            }
            pass(&mut peers, &mut now, 12);
        }
        // Those that live share everything in the end.
        for _ in 0..6 {
            (0..3).for_each(|own| beat(&mut peers, own, false));
            pass(&mut peers, &mut now, 60);
        }
        let live = peers.iter().filter(|peer| peer.world.is_some()).count();
        for world in peers.iter().filter_map(|peer| peer.world.as_ref()) {
            prop_assert_eq!(world.granted(), CAPACITY / live);
            prop_assert!(world.story.served.len() == 9, "everybody is served by each that lives");
        }
    }
}
