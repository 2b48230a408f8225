//! Who gets a connection to one server, and who gives one up: the decisions alone, without sockets and without a clock.
//!
//! A PostgreSQL session belongs to one database, so a slot that tenant A holds is of no use to B until A's session is
//! closed and B's is opened. What is scarce is the slots of the server; there are `granted` of them, whatever the number of tenants.
//! A slot is *connecting*, *in use*, *idle* or *closing*, and it is taken until [`Scheduler::gone`] says that the
//! server's side of its socket has ended.
//!
//! | who asks | and finds | gets |
//! |---|---|---|
//! | a tenant with an idle connection | – | the one it used last, at once |
//! | any other | a free slot | a login, if the tenant is below its cap and the gate is open |
//! | | no slot, somebody's idle connection | the slot of the connection idle for the longest, once it is gone |
//! | | no slot, nothing idle | a place in the ring of tenants that wait |
//!
//! **Fairness** is between tenants, not requests: a tenant stands in the ring once, however many of its requests wait. Its
//! fair share of the slots is `max(1, slots · weight / weights of the active)`. Who has less goes before who has that much; among equals
//! the ring is served by stride scheduling (Waldspurger and Weihl, 1995), which is deficit round robin with weights in a
//! form that needs no rounds: each turn moves a tenant back by the inverse of its weight. While somebody has less than its
//! share and nothing is idle, a connection that comes back is closed for them where its tenant holds more than its share,
//! or has nobody waiting. With more active tenants than slots every share is one, and a slot serves its tenant for a *turn*
//! before it moves on, since moving costs a login. Who has its share and wants more gets what nobody else has use for: free
//! slots beyond the slack, and connections that have been idle for four turns. So hogs don't take slots from each other all
//! the time, and who comes again soon finds its connection warm. Where those who came cold have used up the slack, a
//! connection that comes back is closed if its tenant holds more than its share and wants still more.
//!
//! **Bound.** With `n` tenants active of equal weight, requests that hold a connection for at most `r`, and `s` for a close
//! and a login, a waiter of a tenant without a connection is served within `⌈n / granted⌉ · (turn + r + s)`, as
//! long as no login fails and the gate lets as many through as there are slots changing hands. `tests/simulation.rs` holds it to that.
//!
//! Time is a [`Duration`] since a moment of the caller's choice and never goes back. Every method leaves its wishes
//! in a list; whoever calls does them after [`Scheduler::wishes`]. The driver is in `server.rs`.

mod books;
mod ring;
mod tenant;
mod words;

pub use words::{Breaker, Connection, Counts, Failure, Limits, Path, Reason, Refusal, SlotId, Wish};

use portero_kernel::TenantId;
use ring::Place;
use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};
use tenant::{Idle, Tenant, Waiting};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Connecting,
    InUse,
    Idle,
    Closing,
}

#[derive(Debug)]
struct Slot {
    tenant: TenantId,
    state: State,
    generation: i64,
    epoch: u64,
    /// When it is to be closed for its age.
    until: Duration,
    /// When its tenant's turn on it began.
    turn_began: Duration,
}

/// The connections of one server.
#[derive(Debug)]
pub struct Scheduler<C, W> {
    limits: Limits,
    granted: usize,
    slots: HashMap<SlotId, Slot>,
    tenants: HashMap<TenantId, Tenant<C, W>>,
    /// Tenants that want a login, each once, in the order of their turns.
    ring: BTreeMap<Place, TenantId>,
    /// How many of them have less than their share.
    founded: usize,
    /// The pass of who was served last.
    virtual_time: u64,
    /// Idle connections, longest idle first.
    idle_order: BTreeMap<u64, TenantId>,
    in_use: usize,
    connecting: usize,
    closing: usize,
    waiting: usize,
    waiting_tenants: usize,
    active: usize,
    active_weight: u64,
    next: u64,
    epoch: u64,
    /// Connections of an earlier epoch than this are at a place where the server is no more.
    here_since: u64,
    breaker: Breaker,
    /// Logins that may be under way now.
    gate: usize,
    /// No login before this.
    held_until: Duration,
    /// How long the next failure that is the server's holds logins back.
    hold: Duration,
    /// What the server bore when it refused one more, and until when that is believed.
    borne: usize,
    borne_until: Duration,
    evictions: [u64; Reason::ALL.len()],
    wishes: Vec<Wish<C, W>>,
}

/// For how long logins are held back after one that the server failed, at first and at last.
const HOLD: Duration = Duration::from_millis(50);
const HOLD_MAX: Duration = Duration::from_secs(1);
/// For how long a server that is full is believed to be.
const BELIEF: Duration = Duration::from_secs(1);
/// For how long a tenant whose own way in failed is refused without another try.
const SHUT: Duration = Duration::from_millis(500);
/// For how long a tenant whose role has no session left doesn't try again.
const FULL: Duration = Duration::from_millis(200);

impl<C: Connection, W> Scheduler<C, W> {
    /// A server of which nothing is granted yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self {
            gate: limits.logins,
            limits,
            granted: 0,
            slots: HashMap::new(),
            tenants: HashMap::new(),
            ring: BTreeMap::new(),
            founded: 0,
            virtual_time: 0,
            idle_order: BTreeMap::new(),
            in_use: 0,
            connecting: 0,
            closing: 0,
            waiting: 0,
            waiting_tenants: 0,
            active: 0,
            active_weight: 0,
            next: 0,
            epoch: 0,
            here_since: 0,
            breaker: Breaker::Closed,
            held_until: Duration::ZERO,
            hold: HOLD,
            borne: 0,
            borne_until: Duration::ZERO,
            evictions: [0; Reason::ALL.len()],
            wishes: Vec::new(),
        }
    }

    /// An idle connection of the tenant, the one used last of those with this home, or else of all. No wish but to close what
    /// turned out to be stale.
    pub fn take(&mut self, now: Duration, tenant: TenantId, home: u64) -> Option<(SlotId, C)> {
        loop {
            let known = self.tenants.get_mut(&tenant)?;
            let last = known.idle.len().checked_sub(1)?;
            let near = known.idle.iter().rposition(|idle| idle.connection.home() == home);
            let idle = known.idle.remove(near.unwrap_or(last));
            let wanted = known.generation;
            self.idle_order.remove(&idle.rank);
            let slot = self.slots.get_mut(&idle.slot).expect("an idle connection has a slot");
            if slot.generation < wanted || slot.epoch < self.epoch || idle.connection.is_closed() {
                self.close(idle.slot, idle.connection, State::Idle, Reason::Stale);
                continue;
            }
            slot.state = State::InUse;
            slot.turn_began = now;
            known.in_use += 1;
            self.in_use += 1;
            self.note_activity(tenant);
            return Some((idle.slot, idle.connection));
        }
    }

    /// Puts a request in its tenant's queue, after [`Scheduler::take`] gave nothing. The number cancels it.
    ///
    /// # Errors
    /// Too many wait, or the server is down; the waiter is given back.
    pub fn wait(
        &mut self,
        now: Duration,
        tenant: TenantId,
        weight: u32,
        home: u64,
        waiter: W,
    ) -> Result<(u64, Path), (W, Refusal)> {
        if self.breaker == Breaker::Open {
            return Err((waiter, Refusal::ServerDown));
        }
        let (queued, shut_until) =
            self.tenants.get(&tenant).map_or((0, None), |known| (known.waiting.len(), known.shut_until));
        if shut_until.is_some_and(|until| now < until) {
            return Err((waiter, Refusal::TenantShut));
        }
        if queued >= self.limits.queue_per_tenant || self.waiting >= self.limits.queue {
            return Err((waiter, Refusal::QueueFull));
        }
        // Behind as many of its own as may hold one, it gets what one of them gives back, however much room there is.
        let in_line = self.tenants.get(&tenant).map_or(0, |known| known.in_use) + queued;
        let limit = self.limit(now);
        let path = if in_line >= self.limits.per_tenant {
            Path::Queue
        } else if self.counts_open() < limit {
            Path::Create
        } else if self.idle_order.is_empty() {
            Path::Queue
        } else {
            Path::Evict
        };
        let id = self.next_number();
        let known = self.tenants.entry(tenant).or_insert_with(Tenant::new);
        known.shut_until = None;
        let before = std::mem::replace(&mut known.weight, weight.max(1));
        if known.counted_active {
            self.active_weight = self.active_weight - u64::from(before) + u64::from(known.weight);
        }
        known.waiting.push_back(Waiting { id, home, waiter });
        self.waiting += 1;
        self.waiting_tenants += usize::from(queued == 0);
        self.note_activity(tenant);
        self.enlist(tenant);
        self.pump(now);
        Ok((id, path))
    }

    /// Forgets a waiter that went away. A login under way for it goes on: whoever comes next has it.
    pub fn cancel(&mut self, now: Duration, tenant: TenantId, id: u64) {
        if let Some(known) = self.tenants.get_mut(&tenant)
            && let Ok(at) = known.waiting.binary_search_by_key(&id, |waiting| waiting.id)
        {
            known.waiting.remove(at);
            self.waiting -= 1;
            self.waiting_tenants -= usize::from(known.waiting.is_empty());
            self.enlist(tenant);
            self.note_activity(tenant);
            self.pump(now);
        }
    }

    /// A login succeeded, by the route of this generation.
    pub fn opened(&mut self, now: Duration, id: SlotId, generation: i64, connection: C) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.state == State::Connecting) else {
            // It began before the server stopped answering, and nobody waits for it any more.
            self.evictions[Reason::Stale as usize] += 1;
            self.wishes.push(Wish::Close { slot: id, connection });
            return;
        };
        let tenant = slot.tenant;
        slot.generation = generation;
        self.gate = (self.gate + 1).min(self.limits.logins);
        self.hold = HOLD;
        if self.breaker == Breaker::SlowStart && self.gate == self.limits.logins {
            self.breaker = Breaker::Closed;
        }
        let wanted = self.tenants.get(&tenant).map_or(0, |known| known.generation);
        if generation < wanted {
            self.close(id, connection, State::Connecting, Reason::Stale);
        } else {
            self.leave(id, State::Connecting);
            self.settle(now, id, connection);
        }
        self.enlist(tenant);
        self.pump(now);
    }

    /// A login failed. Its slot is taken until it is [`Scheduler::gone`].
    pub fn failed(&mut self, now: Duration, id: SlotId, failure: Failure) {
        let Some(slot) = self.slots.get(&id).filter(|slot| slot.state == State::Connecting) else { return };
        let (tenant, began) = (slot.tenant, slot.turn_began);
        self.leave(id, State::Connecting);
        if failure == Failure::Full {
            // What others have taken can't be shared out. What was left is, until another try may show that there is more.
            self.borne = (self.in_use + self.idle_order.len() + self.closing).max(1);
            self.borne_until = now + BELIEF;
        }
        self.enter(id, State::Closing);
        match failure {
            Failure::Tenant => {
                let known = self.tenants.get_mut(&tenant).expect("a slot's tenant is known");
                known.shut_until = Some(now + SHUT);
                self.refuse_waiters(tenant, Refusal::TenantShut);
            }
            Failure::TenantFull => {
                let known = self.tenants.get_mut(&tenant).expect("a slot's tenant is known");
                known.full_until = Some(now + FULL);
                self.wishes.push(Wish::Wake { after: FULL });
            }
            // Those that were under way together fail together: what the first said is not said louder by the rest.
            Failure::Full if began >= self.held_until => {
                self.gate = (self.gate / 2).max(1);
                self.hold_back(now);
            }
            Failure::Server if began >= self.held_until => self.hold_back(now),
            Failure::Full | Failure::Server => {}
        }
        self.enlist(tenant);
        self.pump(now);
    }

    /// No login for a while, and the next time for longer.
    fn hold_back(&mut self, now: Duration) {
        self.held_until = now + self.hold;
        self.wishes.push(Wish::Wake { after: self.hold });
        self.hold = (self.hold * 2).min(HOLD_MAX);
    }

    /// A connection comes back. `usable` says that the next borrower would find it as new.
    pub fn release(&mut self, now: Duration, id: SlotId, connection: C, usable: bool) {
        let Some(slot) = self.slots.get(&id) else { return };
        let (tenant, generation, epoch, until) = (slot.tenant, slot.generation, slot.epoch, slot.until);
        let known = self.tenants.get(&tenant).expect("a slot's tenant is known");
        let turn_over = now.saturating_sub(slot.turn_began) >= self.limits.turn;
        let stale = !usable || connection.is_closed() || generation < known.generation || epoch < self.epoch;
        let reason = if stale {
            Some(Reason::Stale)
        } else if now >= until {
            Some(Reason::Lifetime)
        } else if self.counts_open() - self.closing > self.granted
            || self.owed_by(now, tenant, turn_over)
            || self.owes_slack(now, tenant)
        {
            Some(Reason::Share)
        } else {
            None
        };
        if let Some(reason) = reason {
            self.close(id, connection, State::InUse, reason);
        } else {
            if turn_over && self.active > self.granted {
                self.slots.get_mut(&id).expect("it was there a moment ago").turn_began = now;
                self.charge(tenant);
            }
            self.leave(id, State::InUse);
            self.settle(now, id, connection);
        }
        self.enlist(tenant);
        self.pump(now);
    }

    /// The server's side of a slot's socket has ended: the slot is free. Says whether nobody here had wished for that.
    pub fn gone(&mut self, now: Duration, id: SlotId) -> bool {
        let Some(slot) = self.slots.get(&id) else { return false };
        let (tenant, state) = (slot.tenant, slot.state);
        if state == State::Idle
            && let Some(known) = self.tenants.get_mut(&tenant)
            && let Some(at) = known.idle.iter().position(|idle| idle.slot == id)
        {
            // It ended by itself while idle.
            let idle = known.idle.remove(at);
            self.idle_order.remove(&idle.rank);
        } else {
            self.leave(id, state);
        }
        self.slots.remove(&id);
        self.note_activity(tenant);
        self.enlist(tenant);
        self.pump(now);
        matches!(state, State::Idle | State::InUse)
    }

    /// How many connections may be open from now on. Those above it go when they come back.
    pub fn set_granted(&mut self, now: Duration, granted: usize) {
        self.granted = granted;
        self.pump(now);
    }

    /// A tenant's route changed: connections opened for an older one are not handed out again.
    pub fn invalidate(&mut self, now: Duration, tenant: TenantId, generation: i64) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        known.generation = known.generation.max(generation);
        (known.shut_until, known.full_until) = (None, None);
        for idle in std::mem::take(&mut known.idle) {
            self.idle_order.remove(&idle.rank);
            self.close(idle.slot, idle.connection, State::Idle, Reason::Stale);
        }
        self.enlist(tenant);
        self.note_activity(tenant);
        self.pump(now);
    }

    /// A tenant's door is shut: nobody waits in front of it.
    pub fn shut(&mut self, tenant: TenantId) {
        self.refuse_waiters(tenant, Refusal::TenantShut);
    }

    /// The server does not answer. Every connection is of the past, those lent are cut, and nobody waits.
    pub fn trip(&mut self) {
        self.breaker = Breaker::Open;
        self.end_epoch();
        self.ring.clear();
        self.founded = 0;
        for tenant in self.known() {
            self.tenants.get_mut(&tenant).expect("listed just now").place = None;
            self.refuse_waiters(tenant, Refusal::ServerDown);
        }
        let held = self.slots.iter().filter(|(_, slot)| slot.state == State::InUse);
        self.wishes.extend(held.map(|(&slot, _)| Wish::Cut { slot }));
    }

    /// What connections were opened by is not to be gone by any more, as when the server's address is another, or routes
    /// begin to be counted anew. Those lent are closed when they come back; who waits waits on.
    pub fn start_over(&mut self, now: Duration) {
        self.end_epoch();
        for tenant in self.known() {
            let known = self.tenants.get_mut(&tenant).expect("listed just now");
            known.generation = 0;
            (known.shut_until, known.full_until) = (None, None);
            self.enlist(tenant);
            self.note_activity(tenant);
        }
        self.pump(now);
    }

    /// Nothing that was opened, or is being opened, is lent again.
    fn end_epoch(&mut self) {
        self.epoch += 1;
        while self.evict_longest_idle(Reason::Stale) {}
        // A login under way may hang for long. It should stand in nobody's way.
        let under_way = self.slots.iter().filter(|(_, slot)| slot.state == State::Connecting);
        for id in under_way.map(|(&id, _)| id).collect::<Vec<SlotId>>() {
            self.leave(id, State::Connecting);
            self.enter(id, State::Closing);
        }
    }

    /// The server answers at another place than before it stopped answering. What is left of older connections is where
    /// it is no more, and may take long to end there: it takes up nothing here.
    pub fn moved(&mut self, now: Duration) {
        self.here_since = self.epoch;
        let left =
            self.slots.iter().filter(|(_, slot)| slot.state == State::Closing && slot.epoch < self.epoch);
        for id in left.map(|(&id, _)| id).collect::<Vec<SlotId>>() {
            self.gone(now, id);
        }
    }

    /// The server answers again: logins go through, one at a time and then more.
    pub fn heal(&mut self, now: Duration) {
        if self.breaker == Breaker::Open {
            self.breaker = Breaker::SlowStart;
            self.gate = 1;
            (self.held_until, self.hold) = (now, HOLD);
            self.pump(now);
        }
    }

    /// What time alone changes: idle and old connections are closed, logins held back go on.
    pub fn tick(&mut self, now: Duration) {
        let over = |until: Option<Duration>| until.is_some_and(|until| now >= until);
        let held_back = self.tenants.iter();
        let held_back: Vec<TenantId> = held_back
            .filter(|(_, known)| over(known.shut_until) || over(known.full_until))
            .map(|(&tenant, _)| tenant)
            .collect();
        for tenant in held_back {
            let known = self.tenants.get_mut(&tenant).expect("listed just now");
            known.shut_until = known.shut_until.filter(|&until| now < until);
            known.full_until = known.full_until.filter(|&until| now < until);
            self.enlist(tenant);
            self.note_activity(tenant);
        }
        while let Some((&rank, &tenant)) = self.idle_order.first_key_value() {
            let known = self.tenants.get(&tenant).expect("an idle connection's tenant is known");
            let idle = known.idle.iter().find(|idle| idle.rank == rank).expect("ranked as it lies there");
            if now.saturating_sub(idle.since) < self.limits.idle {
                break;
            }
            self.evict_longest_idle(Reason::Idle);
        }
        let old: Vec<(TenantId, SlotId)> = self
            .slots
            .iter()
            .filter(|(_, slot)| slot.state == State::Idle && now >= slot.until)
            .map(|(&id, slot)| (slot.tenant, id))
            .collect();
        for (tenant, id) in old {
            let known = self.tenants.get_mut(&tenant).expect("a slot's tenant is known");
            let at = known.idle.iter().position(|idle| idle.slot == id).expect("its state says idle");
            let idle = known.idle.remove(at);
            self.idle_order.remove(&idle.rank);
            self.close(id, idle.connection, State::Idle, Reason::Lifetime);
        }
        self.pump(now);
    }

    /// Closes everything that is idle, for good: nothing more is granted.
    pub fn close_all(&mut self, now: Duration) {
        self.granted = 0;
        while self.evict_longest_idle(Reason::Stale) {}
        self.pump(now);
    }

    /// What is to be done now; to be done in this order.
    #[must_use]
    pub fn wishes(&mut self) -> Vec<Wish<C, W>> {
        std::mem::take(&mut self.wishes)
    }

    /// Whether there is anything to be done.
    #[must_use]
    pub fn has_wishes(&self) -> bool {
        !self.wishes.is_empty()
    }

    /// What the connections are doing.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            granted: self.granted,
            in_use: self.in_use,
            idle: self.idle_order.len(),
            connecting: self.connecting,
            closing: self.closing,
            waiting: self.waiting,
            waiting_tenants: self.waiting_tenants,
            active_tenants: self.active,
        }
    }

    /// Whether the server is used.
    #[must_use]
    pub const fn breaker(&self) -> Breaker {
        self.breaker
    }

    /// Counts the times that the server stopped answering.
    #[must_use]
    pub const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many connections were closed, by [`Reason::ALL`].
    #[must_use]
    pub const fn evictions(&self) -> [u64; Reason::ALL.len()] {
        self.evictions
    }

    /// Tenants with a connection or a request that waits, each with what it has in use, idle and waiting.
    pub fn tenants(&self) -> impl Iterator<Item = (TenantId, usize, usize, usize)> + '_ {
        self.tenants
            .iter()
            .map(|(&id, known)| (id, known.in_use + known.connecting, known.idle.len(), known.waiting.len()))
    }

    /// What one tenant has in use, idle and waiting.
    #[must_use]
    pub fn tenant(&self, id: TenantId) -> (usize, usize, usize) {
        self.tenants.get(&id).map_or((0, 0, 0), |known| {
            (known.in_use + known.connecting, known.idle.len(), known.waiting.len())
        })
    }

    /// Whether a connection would be handed out with what is known now.
    #[must_use]
    pub fn is_current(&self, id: SlotId) -> bool {
        self.slots.get(&id).is_some_and(|slot| {
            slot.epoch == self.epoch
                && self.tenants.get(&slot.tenant).is_some_and(|known| slot.generation >= known.generation)
        })
    }

    fn known(&self) -> Vec<TenantId> {
        self.tenants.keys().copied().collect()
    }

    fn counts_open(&self) -> usize {
        self.slots.len()
    }

    fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }
}
