//! Whose turn it is: the ring of tenants that want a login, and the room that is made for them.

use super::{Breaker, Connection, Reason, Scheduler, Slot, SlotId, State, Tenant, Wish};
use portero_kernel::TenantId;
use std::time::Duration;

/// How well a tenant's wish for a login is founded; the ring is served in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Claim {
    /// It has less than its fair share.
    Founded,
    /// It has its share, and would use more. It gets what nobody else wants.
    Greedy,
}

/// A place in the ring: by the claim, then by the tenant's pass, then first come, first served.
pub(super) type Place = (Claim, u64, u64);

/// By what a tenant's pass advances with each turn that it has, divided by its weight: so who weighs twice as much comes
/// twice as often (stride scheduling, Waldspurger and Weihl, 1995).
const STRIDE: u64 = 10_000;

impl<C: Connection, W> Scheduler<C, W> {
    /// Gives slots to the ring as far as they go, and makes room for the rest.
    pub(super) fn pump(&mut self, now: Duration) {
        if self.breaker == Breaker::Open {
            return;
        }
        let limit = self.limit(now);
        while now >= self.held_until && self.connecting < self.gate && self.counts_open() < limit {
            let Some((&(claim, ..), _)) = self.ring.first_key_value() else { break };
            if claim == Claim::Greedy && self.counts_open() + slack(limit) >= limit {
                break;
            }
            let Some(tenant) = self.next_in_ring() else { break };
            self.connect(now, tenant);
        }
        // What is not closing should leave room for whom the gate would let in, and a little more.
        let gate = self.gate.saturating_sub(self.connecting);
        let coming_in = self.founded.min(gate);
        let room = coming_in + slack(limit);
        while self.counts_open() - self.closing + room > limit {
            let reason = if coming_in > 0 { Reason::Pressure } else { Reason::Slack };
            if !self.evict_longest_idle(reason) {
                break;
            }
        }
        // For a greedy one there is what has been of no use for a while: who comes again soon should find it warm.
        if coming_in == 0 && gate > 0 && !self.ring.is_empty() {
            let full = self.counts_open() - self.closing + slack(limit) + 1 > limit;
            if full && self.longest_idle_since().is_some_and(|since| now >= since + self.limits.turn * 4) {
                self.evict_longest_idle(Reason::Pressure);
            }
        }
    }

    /// How many connections may be open: as granted, or what the server was found to bear a moment ago.
    pub(super) fn limit(&self, now: Duration) -> usize {
        if now < self.borne_until { self.granted.min(self.borne) } else { self.granted }
    }

    fn connect(&mut self, now: Duration, tenant: TenantId) {
        let id = SlotId(self.next_number());
        let known = self.tenants.get(&tenant).expect("tenants in the ring are known");
        // ± 20 %, so that connections opened together don't end together.
        let spread = u32::try_from(id.0.wrapping_mul(0x9e37_79b9) % 401).unwrap_or(0);
        let slot = Slot {
            tenant,
            state: State::Connecting,
            generation: known.generation,
            epoch: self.epoch,
            until: now + self.limits.lifetime * (800 + spread) / 1000,
            turn_began: now,
        };
        // Those before it have logins under way already.
        let waiting = known.waiting.get(known.connecting).or(known.waiting.front());
        let home = waiting.map_or(0, |waiting| waiting.home);
        self.slots.insert(id, slot);
        self.enter(id, State::Connecting);
        self.enlist(tenant);
        self.wishes.push(Wish::Connect { slot: id, tenant, home });
    }

    /// The tenant whose turn it is, and it is charged for one.
    fn next_in_ring(&mut self) -> Option<TenantId> {
        let (&place, &tenant) = self.ring.first_key_value()?;
        self.virtual_time = self.virtual_time.max(place.1);
        self.charge(tenant);
        Some(tenant)
    }

    /// Notes that a tenant has another turn. What it had while nobody else wanted one is not held against it for long.
    pub(super) fn charge(&mut self, tenant: TenantId) {
        let known = self.tenants.get_mut(&tenant).expect("who has a turn is known");
        known.pass = (known.pass + STRIDE / u64::from(known.weight)).min(self.virtual_time + 2 * STRIDE);
        if let Some((claim, ..)) = known.place {
            self.leave_ring(tenant);
            self.join_ring(tenant, claim);
        }
    }

    /// Puts a tenant in the ring, or out of it, as it wants a login or doesn't, and among those with the same claim.
    pub(super) fn enlist(&mut self, tenant: TenantId) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        let wants = self.breaker != Breaker::Open && known.wants_login(&self.limits);
        if wants && known.place.is_none() {
            // Turns that it didn't want are not made up for, and who comes anew doesn't pass those that wait.
            known.pass = known.pass.max(self.virtual_time + STRIDE / u64::from(known.weight));
        }
        let known = self.tenants.get(&tenant).expect("it was there a moment ago");
        let claim = wants.then(|| self.claim_of(known));
        if known.place.map(|(claim, ..)| claim) != claim {
            self.leave_ring(tenant);
            if let Some(claim) = claim {
                self.join_ring(tenant, claim);
            }
        }
    }

    fn leave_ring(&mut self, tenant: TenantId) {
        let known = self.tenants.get_mut(&tenant).expect("who is in the ring is known");
        if let Some(place) = known.place.take() {
            self.ring.remove(&place);
            self.founded -= usize::from(place.0 == Claim::Founded);
        }
    }

    fn join_ring(&mut self, tenant: TenantId, claim: Claim) {
        let known = self.tenants.get_mut(&tenant).expect("who joins the ring is known");
        self.next += 1;
        let place = (claim, known.pass, self.next);
        known.place = Some(place);
        self.ring.insert(place, tenant);
        self.founded += usize::from(claim == Claim::Founded);
    }

    fn claim_of(&self, known: &Tenant<C, W>) -> Claim {
        if known.held() < self.share_of(known) { Claim::Founded } else { Claim::Greedy }
    }

    /// Its part of the slots beside those of others that are active, by weight; one at least.
    fn share_of(&self, known: &Tenant<C, W>) -> usize {
        let slots = (self.granted - slack(self.granted)) as u64;
        let share = slots * u64::from(known.weight) / self.active_weight.max(1);
        usize::try_from(share).unwrap_or(usize::MAX).max(1)
    }

    /// Whether a connection that comes back belongs to the slack: those who come cold have used it up, and its tenant holds
    /// more than its share.
    pub(super) fn owes_slack(&self, now: Duration, tenant: TenantId) -> bool {
        let known = self.tenants.get(&tenant).expect("a slot's tenant is known");
        let limit = self.limit(now);
        self.idle_order.is_empty()
            && !self.ring.is_empty()
            && self.counts_open() - self.closing + slack(limit) > limit
            && known.in_use + known.connecting > self.share_of(known)
    }

    /// Whether a connection that comes back is owed to somebody in the ring.
    pub(super) fn owed_by(&self, now: Duration, tenant: TenantId, turn_over: bool) -> bool {
        if self.breaker == Breaker::Open || !self.idle_order.is_empty() {
            return false;
        }
        let known = self.tenants.get(&tenant).expect("a slot's tenant is known");
        let own = known.place.is_some_and(|(claim, ..)| claim == Claim::Founded);
        let others = self.founded - usize::from(own);
        let coming = self.limit(now).saturating_sub(self.counts_open() - self.closing);
        if others <= coming {
            return false;
        }
        let first = self.ring.iter().find(|(_, other)| **other != tenant);
        let first_pass = first.map_or(u64::MAX, |((_, pass, _), _)| *pass);
        known.waiting.is_empty()
            || known.in_use + known.connecting > self.share_of(known)
            || (turn_over && self.active > self.granted && first_pass <= known.pass)
    }
}

/// Slots kept free, so that a cold tenant doesn't wait for a close: 4 %, and none of a handful.
const fn slack(limit: usize) -> usize {
    if limit < 16 {
        0
    } else if limit < 50 {
        2
    } else {
        limit / 25
    }
}
