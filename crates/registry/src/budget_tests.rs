//! The shares, and a world of routers that die, come back and lose answers.

use super::*;
use proptest::prelude::*;
use uuid::Uuid;

fn router(number: usize) -> RouterId {
    RouterId::from(Uuid::from_u128(number as u128 + 1))
}

#[test]
fn shares_of_known_cases() {
    for (capacity, wanted, expected) in [
        (10, &[][..], &[][..]),
        (0, &[3, 3], &[0, 0]),
        (10, &[0], &[10]),
        (10, &[100], &[10]),
        (10, &[0, 0], &[5, 5]),
        (11, &[0, 0], &[6, 5]),
        (10, &[2, 2], &[5, 5]),
        (10, &[8, 2], &[8, 2]),
        (10, &[100, 100], &[5, 5]),
        (10, &[100, 2], &[8, 2]),
        (10, &[0, 100], &[1, 9]),
        (12, &[1, 4, 5], &[2, 5, 5]),
        (11, &[100, 100, 100], &[3, 4, 4]),
        (2, &[5, 5, 5], &[0, 1, 1]),
    ] {
        assert_eq!(shares(capacity, wanted), expected, "{capacity} among {wanted:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn shares_are_max_min_fair(capacity in 0_usize..200, wanted in prop::collection::vec(0_usize..100, 1..12)) {
        let shares = shares(capacity, &wanted);
        prop_assert_eq!(shares.iter().sum::<usize>(), capacity, "all is given out, and no more");
        let wants: Vec<usize> = wanted.iter().map(|wanted| (*wanted).max(1)).collect();
        if capacity >= wants.len() {
            prop_assert!(shares.iter().all(|share| *share >= 1), "{:?}", shares);
        }
        let spare = capacity.saturating_sub(wants.iter().sum()).div_ceil(wants.len());
        for (share, want) in shares.iter().zip(&wants) {
            prop_assert!(*share <= want + spare, "{share} for who wants {want}, of {shares:?}");
            // Whoever has less than they want has no less than anybody, but for the odd unit.
            prop_assert!(share >= want || shares.iter().all(|other| *other <= share + 1), "{shares:?}");
        }
    }
}

#[test]
fn what_a_fenced_router_still_holds_by_its_own_account_takes_nothing_from_others() {
    let other = Holding { router: router(0), live: true, granted: 8, held: 8, wanted: 8, used: 8 };
    let own = decide(10, Report { router: router(1), held: 9, wanted: 9, used: 0 }, &[other]);
    assert_eq!((own.granted, own.held, own.counted()), (2, 0, 2));
}

/// A router as it is, beside what the registry has of it.
#[derive(Debug, Clone, Copy, Default)]
struct Real {
    alive: bool,
    /// Its last grant that it has heard of.
    limit: usize,
    /// Its sockets on the server, which outlive a process that is stopped rather than dead.
    open: usize,
    wanted: usize,
    /// How often it has spoken.
    beats: u32,
}

/// The registry's rows of one server, and the routers that they are about.
#[derive(Debug)]
struct World {
    capacity: usize,
    rows: Vec<Holding>,
    real: Vec<Real>,
    /// Leases that somebody was told of as lapsed: who, whose, and how often that one had spoken.
    told: Vec<(usize, usize, u32)>,
}

#[derive(Debug, Clone)]
enum Event {
    /// A beat; `heard` is whether the answer arrives.
    Beat { who: usize, heard: bool },
    /// What clients want changes.
    Want { who: usize, wanted: usize },
    /// Opens what it may and wants.
    Open { who: usize },
    /// Closes down to its limit and what it wants.
    Close { who: usize },
    /// Dies, or hangs, and its lease runs out. Its sockets stay until somebody ends them.
    Lapse { who: usize },
    /// Ends the sockets of those it was told of.
    Fence { who: usize },
    /// An orderly end.
    Leave { who: usize },
}

const ROUTERS: usize = 4;

fn event() -> impl Strategy<Value = Event> {
    let who = 0..ROUTERS;
    prop_oneof![
        6 => (who.clone(), any::<bool>()).prop_map(|(who, heard)| Event::Beat { who, heard }),
        3 => (who.clone(), 0_usize..40).prop_map(|(who, wanted)| Event::Want { who, wanted }),
        4 => who.clone().prop_map(|who| Event::Open { who }),
        4 => who.clone().prop_map(|who| Event::Close { who }),
        1 => who.clone().prop_map(|who| Event::Lapse { who }),
        2 => who.clone().prop_map(|who| Event::Fence { who }),
        1 => who.prop_map(|who| Event::Leave { who }),
    ]
}

impl World {
    fn new(capacity: usize) -> Self {
        Self { capacity, rows: Vec::new(), real: vec![Real::default(); ROUTERS], told: Vec::new() }
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Beat { who, heard } => self.beat(who, heard),
            Event::Want { who, wanted } => self.real[who].wanted = wanted,
            Event::Open { who } => {
                let real = &mut self.real[who];
                real.open = real.open.max(real.limit.min(real.wanted));
            }
            Event::Close { who } => {
                let real = &mut self.real[who];
                real.open = real.open.min(real.limit.min(real.wanted));
            }
            Event::Lapse { who } => {
                // By its own clock, too: it opens nothing until it is answered again.
                (self.real[who].alive, self.real[who].limit) = (false, 0);
                self.rows.iter_mut().filter(|row| row.router == router(who)).for_each(|row| row.live = false);
            }
            Event::Fence { who } => self.fence(who),
            Event::Leave { who } => {
                self.real[who] = Real { beats: self.real[who].beats, ..Real::default() };
                self.rows.retain(|row| row.router != router(who));
                self.told.retain(|(caller, _, _)| *caller != who);
            }
        }
    }

    /// As `Registry::router_beat` does it.
    fn beat(&mut self, who: usize, heard: bool) {
        let real = self.real[who];
        let report = Report { router: router(who), held: real.limit, wanted: real.wanted, used: real.open };
        let own = decide(self.capacity, report, &self.rows);
        self.rows.retain(|row| row.router != router(who));
        self.rows.push(own);
        self.real[who].beats += 1;
        self.real[who].alive = true;
        if heard {
            self.real[who].limit = own.granted;
            self.told.retain(|(caller, _, _)| *caller != who);
            let lapsed = (0..ROUTERS)
                .filter(|other| self.rows.iter().any(|row| row.router == router(*other) && !row.live));
            self.told.extend(lapsed.map(|other| (who, other, self.real[other].beats)));
        }
    }

    /// Ends sockets, and says so: the fence and the beat that tells of it may be far apart, so the row goes only if its
    /// router hasn't spoken since.
    fn fence(&mut self, who: usize) {
        let mine: Vec<_> = self.told.iter().filter(|(caller, _, _)| *caller == who).copied().collect();
        self.told.retain(|(caller, _, _)| *caller != who);
        for (_, other, beats) in mine {
            self.real[other].open = 0;
            let silent = self.real[other].beats == beats;
            self.rows.retain(|row| row.router != router(other) || row.live || !silent);
        }
    }

    fn check(&self) {
        let counted: usize = self.rows.iter().map(|row| row.counted()).sum();
        assert!(counted <= self.capacity, "the books say {counted} of {}: {self:#?}", self.capacity);
        let open: usize = self.real.iter().map(|real| real.open).sum();
        assert!(open <= self.capacity, "{open} sockets of {}: {self:#?}", self.capacity);
        let may_open: usize = self.real.iter().map(|real| real.open.max(real.limit)).sum();
        assert!(may_open <= self.capacity, "{may_open} may be open of {}: {self:#?}", self.capacity);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_server_is_never_overrun(capacity in 1_usize..30, events in prop::collection::vec(event(), 1..120)) {
        let mut world = World::new(capacity);
        for event in &events {
            world.happen(event);
            world.check();
        }
    }

    /// Whatever happened before: once all live and speak in turn, each has its share. In the first round all become known,
    /// in the second they hear, in the third they say so, in the fourth they grow.
    #[test]
    fn shares_are_reached_in_four_rounds(
        capacity in 1_usize..30,
        events in prop::collection::vec(event(), 0..60),
        wanted in prop::collection::vec(0_usize..40, ROUTERS),
    ) {
        let mut world = World::new(capacity);
        for event in &events {
            world.happen(event);
        }
        for (who, wanted) in wanted.iter().enumerate() {
            world.real[who].wanted = *wanted;
        }
        for _ in 0..4 {
            for who in 0..ROUTERS {
                world.happen(&Event::Close { who });
                world.beat(who, true);
                world.check();
            }
        }
        let limits: Vec<usize> = world.real.iter().map(|real| real.limit).collect();
        prop_assert_eq!(limits, shares(capacity, &wanted));
    }
}
