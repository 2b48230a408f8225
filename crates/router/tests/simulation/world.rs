//! A world for the scheduler to decide about, in virtual time: tenants that ask, logins that take a while and may fail,
//! closes that are slow, sessions that die, requests that leave.
//!
//! The world keeps books of its own by what the scheduler was told and what it wished for, and after everything that
//! happens it holds the scheduler's books, its promises and its limits against them. A wish is done some time after
//! the decision, as in the driver, where threads overtake each other.

use portero_kernel::TenantId;
use portero_router::scheduler::{
    Connection, Counts, Failure, Limits, Path, Reason, Refusal, Scheduler, SlotId, Wish,
};
use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap},
    rc::Rc,
    time::Duration,
};

pub(crate) const MS: Duration = Duration::from_millis(1);

/// A sequence that a seed determines (SplitMix64).
#[derive(Debug, Clone)]
pub(crate) struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound.max(1) as u64).expect("below a usize")
    }

    /// Between nothing and `most`, in steps of 100 µs.
    pub(crate) fn up_to(&mut self, most: Duration) -> Duration {
        let steps = usize::try_from(most.as_micros() / 100).expect("short");
        Duration::from_micros(100) * u32::try_from(self.below(steps + 1)).expect("few")
    }

    pub(crate) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// One session, as the scheduler passes it around.
#[derive(Debug)]
pub(crate) struct Session {
    tenant: usize,
    generation: i64,
    epoch: u64,
    home: u64,
    ended: Rc<Cell<bool>>,
}

/// Threads that requests come from.
const HOMES: usize = 3;

fn home_of(request: u64) -> u64 {
    request % HOMES as u64
}

impl Connection for Session {
    fn is_closed(&self) -> bool {
        self.ended.get()
    }

    fn home(&self) -> u64 {
        self.home
    }
}

/// How long things take at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nature {
    pub(crate) login: Duration,
    pub(crate) close: Duration,
    /// Between a decision and its being done.
    pub(crate) lag: Duration,
    /// Logins whose task ends without a word, in percent.
    pub(crate) vanishing: usize,
    /// Connections that come back in no state to be lent again, in percent.
    pub(crate) spoiled: usize,
}

/// A request, or a client that makes one after the other.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) tenant: usize,
    pub(crate) hold: Duration,
    pub(crate) patience: Option<Duration>,
    /// After how long the client asks again, if it does.
    pub(crate) again: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    Connecting,
    InUse,
    Idle,
    Closing,
}

#[derive(Debug)]
struct Slot {
    tenant: usize,
    doing: Doing,
    epoch: u64,
    /// Whether the server has a session for it.
    there: bool,
    ended: Rc<Cell<bool>>,
    in_use_since: Duration,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    /// The decision is made, and under way.
    Promised,
    Holding(SlotId, Session),
}

#[derive(Debug)]
struct Request {
    order: Order,
    /// Its number with the scheduler.
    number: u64,
    stage: Stage,
    left: bool,
}

#[derive(Debug)]
enum Event {
    Arrive(Order),
    LogIn(SlotId),
    LoggedIn(SlotId, i64),
    NoLogin(SlotId, Failure),
    Close(SlotId),
    Gone(SlotId),
    Cut(SlotId),
    Give(u64, SlotId, Session),
    Return(u64),
    Leave(u64),
    Tick,
    Wake,
}

#[derive(Debug, Clone, Copy)]
struct Route {
    generation: i64,
    open: bool,
    weight: u32,
}

/// What became of the requests, and what it cost.
#[derive(Debug, Default, Clone)]
pub(crate) struct Story {
    pub(crate) served: HashMap<usize, u64>,
    pub(crate) refused: u64,
    pub(crate) left: u64,
    pub(crate) logins: u64,
    pub(crate) failures: u64,
    /// For how long each tenant had slots in use, one beside the other.
    pub(crate) slot_time: HashMap<usize, Duration>,
    /// The longest that a tenant with a waiter had no connection.
    pub(crate) driest: Duration,
    pub(crate) events: u64,
}

pub(crate) struct World {
    pub(crate) scheduler: Scheduler<Session, u64>,
    pub(crate) now: Duration,
    pub(crate) dice: Dice,
    pub(crate) nature: Nature,
    pub(crate) limits: Limits,
    /// Sessions that the server bears.
    pub(crate) bears: usize,
    /// What logins come to just now, of one tenant or of all.
    pub(crate) weather: Option<(Option<usize>, Failure)>,
    pub(crate) story: Story,
    granted: usize,
    routes: Vec<Route>,
    events: BTreeMap<(Duration, u64), Event>,
    sequence: u64,
    slots: BTreeMap<SlotId, Slot>,
    requests: BTreeMap<u64, Request>,
    dry_since: HashMap<usize, Duration>,
    /// Nothing went wrong so far, so nothing but slots and the gate holds logins back.
    untroubled: bool,
    /// Logins that succeeded since the server answers again.
    healed: Option<usize>,
    open: bool,
    /// Sessions of an earlier epoch are at another place.
    here_since: u64,
}

pub(crate) fn tenant_id(tenant: usize) -> TenantId {
    format!("{:032x}", tenant + 1).parse().expect("32 digits")
}

impl World {
    pub(crate) fn new(limits: Limits, nature: Nature, weights: &[u32], seed: u64) -> Self {
        let mut world = Self {
            scheduler: Scheduler::new(limits),
            now: Duration::ZERO,
            dice: Dice(seed),
            nature,
            limits,
            bears: usize::MAX,
            weather: None,
            story: Story::default(),
            granted: 0,
            routes: weights.iter().map(|&weight| Route { generation: 1, open: true, weight }).collect(),
            events: BTreeMap::new(),
            sequence: 0,
            slots: BTreeMap::new(),
            requests: BTreeMap::new(),
            dry_since: HashMap::new(),
            untroubled: true,
            healed: None,
            open: true,
            here_since: 0,
        };
        world.after(Duration::ZERO, Event::Tick);
        world
    }

    fn after(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.events.insert((self.now + delay, self.sequence), event);
    }

    fn soon(&mut self, event: Event) {
        let lag = self.dice.up_to(self.nature.lag);
        self.after(lag, event);
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let until = self.now + span;
        while let Some(next) = self.events.first_entry() {
            if next.key().0 > until {
                break;
            }
            let ((at, _), event) = next.remove_entry();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
    }

    pub(crate) fn tenants(&self) -> usize {
        self.routes.len()
    }

    pub(crate) fn sessions(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn granted(&self) -> usize {
        self.granted
    }

    pub(crate) fn counts(&self) -> Counts {
        self.scheduler.counts()
    }

    pub(crate) fn ask(&mut self, order: Order) {
        self.happen(Event::Arrive(order));
    }

    pub(crate) fn ask_after(&mut self, delay: Duration, order: Order) {
        self.after(delay, Event::Arrive(order));
    }

    /// No client asks again.
    pub(crate) fn calm(&mut self) {
        for request in self.requests.values_mut() {
            request.order.again = None;
        }
        self.events.retain(|_, event| !matches!(event, Event::Arrive(_)));
    }

    pub(crate) fn grant(&mut self, granted: usize) {
        self.granted = granted;
        self.scheduler.set_granted(self.now, granted);
        self.note(None);
    }

    pub(crate) fn change(&mut self, tenant: usize, open: bool) {
        self.routes[tenant].generation += 1;
        self.routes[tenant].open = open;
        self.scheduler.invalidate(self.now, tenant_id(tenant), self.routes[tenant].generation);
        if !open {
            self.scheduler.shut(tenant_id(tenant));
        }
        self.note(None);
    }

    pub(crate) fn trip(&mut self) {
        (self.open, self.untroubled, self.healed) = (false, false, None);
        // Logins under way are of the past: nothing waits for them, and what comes of them is closed.
        for slot in self.slots.values_mut().filter(|slot| slot.doing == Doing::Connecting) {
            slot.doing = Doing::Closing;
        }
        self.scheduler.trip();
        self.note(None);
    }

    pub(crate) fn heal(&mut self) {
        if !self.open {
            (self.open, self.healed) = (true, Some(0));
            self.scheduler.heal(self.now);
            self.note(None);
        }
    }

    /// The server answers again, at another place: what is left at the old one counts no more.
    pub(crate) fn heal_elsewhere(&mut self) {
        if !self.open {
            self.here_since = self.scheduler.epoch();
            self.slots.retain(|_, slot| slot.doing != Doing::Closing);
            self.scheduler.moved(self.now);
            self.heal();
        }
    }

    /// Routes are counted anew, from the first generation.
    pub(crate) fn start_over(&mut self) {
        for slot in self.slots.values_mut().filter(|slot| slot.doing == Doing::Connecting) {
            slot.doing = Doing::Closing;
        }
        for route in &mut self.routes {
            route.generation = 1;
        }
        self.scheduler.start_over(self.now);
        self.note(None);
    }

    /// A session ends by itself; word of it comes a little later.
    pub(crate) fn kill(&mut self, which: usize) {
        let alive: Vec<SlotId> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.there && !slot.ended.get())
            .map(|(&id, _)| id)
            .collect();
        if !alive.is_empty() {
            self.end(alive[which % alive.len()]);
        }
    }

    fn end(&mut self, slot: SlotId) {
        if let Some(found) = self.slots.get(&slot) {
            found.ended.set(true);
            self.soon(Event::Gone(slot));
        }
    }

    fn happen(&mut self, event: Event) {
        self.story.events += 1;
        match event {
            Event::Arrive(order) => self.arrive(order),
            Event::LogIn(slot) => self.log_in(slot),
            Event::LoggedIn(slot, generation) => self.logged_in(slot, generation),
            Event::NoLogin(slot, failure) => self.no_login(slot, failure),
            Event::Close(slot) => {
                let takes = self.dice.up_to(self.nature.close);
                self.after(takes, Event::Gone(slot));
            }
            Event::Gone(slot) => {
                // An end may be told of twice: by the session, and by whoever closed it.
                self.stop_using(slot);
                self.slots.remove(&slot);
                self.scheduler.gone(self.now, slot);
                self.note(None);
            }
            Event::Cut(slot) => self.end(slot),
            Event::Give(number, slot, session) => self.receive(number, slot, session),
            Event::Return(number) => self.give_back(number),
            Event::Leave(number) => self.leave(number),
            Event::Tick => {
                self.scheduler.tick(self.now);
                self.note(None);
                self.after(250 * MS, Event::Tick);
            }
            Event::Wake => {
                self.scheduler.tick(self.now);
                self.note(None);
            }
        }
    }

    fn arrive(&mut self, order: Order) {
        let route = self.routes[order.tenant];
        if !route.open {
            self.story.refused += 1;
            return;
        }
        self.sequence += 1;
        let id = self.sequence;
        if let Some((slot, session)) = self.scheduler.take(self.now, tenant_id(order.tenant), home_of(id)) {
            self.enter(None);
            assert_eq!(self.slots[&slot].doing, Doing::Idle, "taken from the idle");
            assert!(!session.ended.get(), "an ended session was lent");
            self.lend(slot, &session, order.tenant);
            self.requests.insert(id, Request { order, number: 0, stage: Stage::Promised, left: false });
            self.check();
            self.receive(id, slot, session);
            return;
        }
        let before = self.counts();
        match self.scheduler.wait(self.now, tenant_id(order.tenant), route.weight, home_of(id), id) {
            Ok((number, path)) => {
                assert!(path != Path::Create || before.open() < self.granted);
                self.requests.insert(id, Request { order, number, stage: Stage::Waiting, left: false });
                if let Some(patience) = order.patience {
                    self.after(patience, Event::Leave(id));
                }
            }
            Err((waiter, why)) => {
                assert_eq!(waiter, id);
                assert_eq!(why == Refusal::ServerDown, !self.open);
                assert!(why != Refusal::TenantShut || !self.untroubled);
                self.story.refused += 1;
                self.come_again(order);
            }
        }
        self.note(None);
    }

    fn come_again(&mut self, order: Order) {
        if let Some(pause) = order.again {
            self.after(pause.max(MS / 10), Event::Arrive(order));
        }
    }

    fn log_in(&mut self, id: SlotId) {
        let there = self.slots.values().filter(|slot| slot.there).count();
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let route = self.routes[slot.tenant];
        let bad = self.weather.filter(|(whom, _)| whom.is_none_or(|whom| whom == slot.tenant));
        if !route.open {
            self.soon(Event::NoLogin(id, Failure::Tenant));
        } else if there >= self.bears {
            self.soon(Event::NoLogin(id, Failure::Full));
        } else {
            slot.there = true;
            let takes = self.dice.up_to(self.nature.login);
            if let Some((_, failure)) = bad {
                self.after(takes, Event::NoLogin(id, failure));
            } else if self.dice.percent(self.nature.vanishing) {
                self.after(takes, Event::Gone(id));
            } else {
                self.after(takes, Event::LoggedIn(id, route.generation));
            }
        }
    }

    fn logged_in(&mut self, id: SlotId, generation: i64) {
        let Some(slot) = self.slots.get(&id) else { return };
        let session = Session {
            tenant: slot.tenant,
            generation,
            epoch: slot.epoch,
            home: self.dice.below(HOMES) as u64,
            ended: Rc::clone(&slot.ended),
        };
        if slot.doing == Doing::Connecting
            && let Some(healed) = &mut self.healed
        {
            *healed += 1;
        }
        self.scheduler.opened(self.now, id, generation, session);
        self.note(Some(id));
    }

    fn no_login(&mut self, id: SlotId, failure: Failure) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        slot.doing = Doing::Closing;
        self.untroubled = false;
        self.story.failures += 1;
        self.scheduler.failed(self.now, id, failure);
        self.note(None);
        self.soon(Event::Gone(id));
    }

    /// A connection is lent: never to a stranger, never one of the past.
    fn lend(&mut self, id: SlotId, session: &Session, tenant: usize) {
        assert_eq!(session.tenant, tenant, "a connection of another tenant");
        assert!(session.generation >= self.routes[tenant].generation, "a connection of an older route");
        assert_eq!(session.epoch, self.scheduler.epoch(), "a connection of an earlier life of the server");
        let slot = self.slots.get_mut(&id).expect("lent from a slot");
        slot.doing = Doing::InUse;
        slot.in_use_since = self.now;
        *self.story.served.entry(tenant).or_default() += 1;
    }

    fn stop_using(&mut self, id: SlotId) {
        if let Some(slot) = self.slots.get(&id)
            && slot.doing == Doing::InUse
        {
            *self.story.slot_time.entry(slot.tenant).or_default() += self.now - slot.in_use_since;
        }
    }

    fn receive(&mut self, number: u64, slot: SlotId, session: Session) {
        let request = self.requests.get_mut(&number).expect("given to a request");
        request.stage = Stage::Holding(slot, session);
        // Whoever left meanwhile gives it back at once, unused.
        let hold = if request.left { Duration::ZERO } else { request.order.hold };
        self.after(hold, Event::Return(number));
    }

    fn give_back(&mut self, number: u64) {
        let request = self.requests.remove(&number).expect("who gives back has asked");
        let Stage::Holding(id, session) = request.stage else { panic!("gave back what it had not") };
        if !request.left {
            // As the driver does on its way out, though it was served.
            self.scheduler.cancel(self.now, tenant_id(request.order.tenant), request.number);
            self.note(None);
        }
        self.stop_using(id);
        let usable = !session.ended.get() && !self.dice.percent(self.nature.spoiled);
        self.scheduler.release(self.now, id, session, usable);
        self.note(Some(id));
        self.come_again(request.order);
    }

    fn leave(&mut self, number: u64) {
        let Some(request) = self.requests.get_mut(&number) else { return };
        if matches!(request.stage, Stage::Holding(..)) {
            return;
        }
        request.left = true;
        let (order, at) = (request.order, request.number);
        let waited = matches!(request.stage, Stage::Waiting);
        self.story.left += 1;
        if waited {
            self.requests.remove(&number);
            self.come_again(order);
        }
        self.scheduler.cancel(self.now, tenant_id(order.tenant), at);
        self.note(None);
    }

    fn note(&mut self, handed: Option<SlotId>) {
        self.enter(handed);
        self.check();
    }

    /// Enters what the scheduler decided. `handed` is the slot whose connection it was handed just now.
    fn enter(&mut self, handed: Option<SlotId>) {
        if let Some(slot) = handed.and_then(|handed| self.slots.get_mut(&handed)) {
            slot.doing = Doing::Idle;
        }
        for wish in self.scheduler.wishes() {
            match wish {
                Wish::Connect { slot, tenant, .. } => {
                    let tenant = (0..self.tenants()).find(|&one| tenant_id(one) == tenant).expect("known");
                    self.connects(slot, tenant);
                    self.soon(Event::LogIn(slot));
                }
                Wish::Close { slot, connection } => {
                    let found = self.slots.get_mut(&slot).expect("closed while it has a slot");
                    assert_ne!(found.doing, Doing::Closing, "closed twice");
                    found.doing = Doing::Closing;
                    drop(connection);
                    if found.epoch < self.here_since {
                        self.slots.remove(&slot);
                    } else {
                        self.soon(Event::Close(slot));
                    }
                }
                Wish::Cut { slot } => {
                    assert_eq!(self.slots[&slot].doing, Doing::InUse, "cut what nobody has");
                    self.soon(Event::Cut(slot));
                }
                Wish::Give { waiter, slot, connection } => {
                    let request = self.requests.get_mut(&waiter).expect("given to somebody who waits");
                    assert!(matches!(request.stage, Stage::Waiting), "answered twice");
                    request.stage = Stage::Promised;
                    let tenant = request.order.tenant;
                    self.lend(slot, &connection, tenant);
                    self.soon(Event::Give(waiter, slot, connection));
                }
                Wish::Refuse { waiter, .. } => {
                    let request = self.requests.remove(&waiter).expect("refused while it waits");
                    assert!(matches!(request.stage, Stage::Waiting), "answered twice");
                    self.story.refused += 1;
                    self.come_again(request.order);
                }
                Wish::Wake { after } => self.after(after, Event::Wake),
            }
        }
    }

    fn connects(&mut self, id: SlotId, tenant: usize) {
        let slot = Slot {
            tenant,
            doing: Doing::Connecting,
            epoch: self.scheduler.epoch(),
            there: false,
            ended: Rc::default(),
            in_use_since: self.now,
        };
        assert!(self.slots.insert(id, slot).is_none(), "a slot's number is used once");
        assert!(self.open, "a login to a server that doesn't answer");
        assert!(self.slots.len() <= self.granted, "{} open of {}", self.slots.len(), self.granted);
        let of = |doing: &[Doing]| self.held(tenant, doing);
        assert!(of(&[Doing::Connecting]) <= self.limits.logins_per_tenant, "logins of one tenant");
        let held = of(&[Doing::Connecting, Doing::InUse, Doing::Idle]);
        assert!(held <= self.limits.per_tenant, "connections of one tenant");
        let under_way = self.slots.values().filter(|slot| slot.doing == Doing::Connecting).count();
        let gate = self.healed.map_or(usize::MAX, |healed| healed + 1).min(self.limits.logins);
        assert!(under_way <= gate, "{under_way} logins under way through a gate for {gate}");
        self.story.logins += 1;
    }

    fn held(&self, tenant: usize, doing: &[Doing]) -> usize {
        self.slots.values().filter(|slot| slot.tenant == tenant && doing.contains(&slot.doing)).count()
    }

    /// Compares the books, and holds the scheduler to what it promises at every moment.
    fn check(&mut self) {
        let counts = self.counts();
        let of = |doing| self.slots.values().filter(|slot| slot.doing == doing).count();
        let mut waiting = vec![0; self.tenants()];
        for request in self.requests.values().filter(|request| matches!(request.stage, Stage::Waiting)) {
            waiting[request.order.tenant] += 1;
        }
        let mut in_use = vec![0; self.tenants()];
        let mut connecting = vec![0; self.tenants()];
        let mut idle = vec![0; self.tenants()];
        for slot in self.slots.values() {
            match slot.doing {
                Doing::InUse => in_use[slot.tenant] += 1,
                Doing::Connecting => connecting[slot.tenant] += 1,
                Doing::Idle => idle[slot.tenant] += 1,
                Doing::Closing => {}
            }
        }
        let active = (0..self.tenants()).filter(|&one| waiting[one] + in_use[one] + connecting[one] > 0);
        let recounted = Counts {
            granted: self.granted,
            in_use: of(Doing::InUse),
            idle: of(Doing::Idle),
            connecting: of(Doing::Connecting),
            closing: of(Doing::Closing),
            waiting: waiting.iter().sum(),
            waiting_tenants: waiting.iter().filter(|&&waiting| waiting > 0).count(),
            active_tenants: active.count(),
        };
        assert_eq!(counts, recounted, "the scheduler's books, and the world's");
        for one in 0..self.tenants() {
            assert!(
                waiting[one] == 0 || idle[one] == 0,
                "somebody waits beside an idle connection of theirs"
            );
            if waiting[one] > 0 && in_use[one] == 0 {
                self.dry_since.entry(one).or_insert(self.now);
            } else if let Some(since) = self.dry_since.remove(&one) {
                self.story.driest = self.story.driest.max(self.now - since);
            }
        }
        // For who has none, slots that are free and logins that the gate would let through are used, and what lies idle
        // gives way. Who has one gets all but the slack.
        let held = |one: usize| in_use[one] + connecting[one] + idle[one];
        let wants = |one: &usize| {
            waiting[*one] > connecting[*one]
                && connecting[*one] < self.limits.logins_per_tenant
                && held(*one) < self.limits.per_tenant
        };
        let gate = self.limits.logins - counts.connecting;
        let needy = (0..self.tenants()).filter(wants).filter(|&one| held(one) == 0).count().min(gate);
        let wanting = (0..self.tenants()).filter(wants).count().min(gate);
        if self.untroubled && needy > 0 {
            assert!(counts.open() >= self.granted, "{needy} logins are wanted and a slot is free");
            let coming = counts.closing.saturating_sub(counts.open() - self.granted);
            assert!(counts.idle == 0 || coming >= needy, "{needy} wait while connections lie idle");
        }
        if self.untroubled && wanting > 0 {
            let slack = if self.granted < 16 { 0 } else { (self.granted / 25).max(2) };
            assert!(counts.open() + slack >= self.granted, "{wanting} logins are wanted and slots are free");
        }
    }

    /// Nothing is left undone, once the world has been calm for long.
    pub(crate) fn assert_quiet(&self) {
        let counts = self.counts();
        assert_eq!(
            (counts.waiting, counts.in_use, counts.connecting, counts.closing),
            (0, 0, 0, 0),
            "{counts:?}"
        );
        assert!(self.requests.is_empty(), "{} requests were never answered", self.requests.len());
    }

    /// Nothing is remembered of anybody.
    pub(crate) fn assert_empty(&self) {
        self.assert_quiet();
        assert_eq!(self.counts().idle, 0);
        assert_eq!(self.scheduler.tenants().count(), 0, "tenants of which nothing is left are remembered");
    }

    pub(crate) fn evicted(&self, reason: Reason) -> u64 {
        self.scheduler.evictions()[reason as usize]
    }
}
