//! Whose turn it is: the ring of tenants that want a login, and the room that is made for them.

use super::{Breaker, Connection, Reason, Scheduler, Slot, SlotId, State, Wish};
use portero_kernel::TenantId;
use std::time::Duration;

impl<C: Connection, W> Scheduler<C, W> {
    /// Gives slots to the ring as far as they go, and makes room for the rest.
    pub(super) fn pump(&mut self, now: Duration) {
        if self.breaker == Breaker::Open {
            return;
        }
        if now >= self.held_until {
            while self.connecting < self.gate && self.counts_open() < self.granted {
                let Some(tenant) = self.next_in_ring() else { break };
                self.connect(now, tenant);
            }
        }
        // What is not closing should leave room for whom the gate would let in, and a little more.
        let coming_in = self.ring.len().min(self.gate.saturating_sub(self.connecting));
        let room = coming_in + self.slack();
        while self.counts_open() - self.closing + room > self.granted {
            let reason = if coming_in > 0 { Reason::Pressure } else { Reason::Slack };
            if !self.evict_longest_idle(reason) {
                break;
            }
        }
    }

    /// Slots kept free, so that a cold tenant doesn't wait for a close: 4 %, and none of a handful.
    const fn slack(&self) -> usize {
        if self.granted < 16 {
            0
        } else if self.granted < 50 {
            2
        } else {
            self.granted / 25
        }
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
        self.slots.insert(id, slot);
        self.enter(id, State::Connecting);
        self.enlist(tenant);
        self.wishes.push(Wish::Connect { slot: id, tenant });
    }

    /// The tenant whose turn it is, at the head while its deficit lasts.
    fn next_in_ring(&mut self) -> Option<TenantId> {
        let (&place, &tenant) = self.ring.first_key_value()?;
        let known = self.tenants.get_mut(&tenant).expect("tenants in the ring are known");
        if known.deficit == 0 {
            known.deficit = known.weight;
        }
        known.deficit -= 1;
        if known.deficit == 0 {
            self.next += 1;
            known.place = Some(self.next);
            self.ring.remove(&place);
            self.ring.insert(self.next, tenant);
        }
        Some(tenant)
    }

    /// Puts a tenant in the ring, or out of it, as it wants a login or doesn't.
    pub(super) fn enlist(&mut self, tenant: TenantId) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        let wants = self.breaker != Breaker::Open && known.wants_login(&self.limits);
        match known.place {
            None if wants => {
                self.next += 1;
                known.place = Some(self.next);
                self.ring.insert(self.next, tenant);
            }
            Some(place) if !wants => {
                known.place = None;
                known.deficit = 0;
                self.ring.remove(&place);
            }
            _ => {}
        }
    }

    /// Whether a connection that comes back is owed to somebody in the ring.
    pub(super) fn owed_by(&self, tenant: TenantId, turn_over: bool) -> bool {
        if self.breaker == Breaker::Open || !self.idle_order.is_empty() {
            return false;
        }
        let known = self.tenants.get(&tenant).expect("a slot's tenant is known");
        let others = self.ring.len() - usize::from(known.place.is_some());
        let coming = self.granted.saturating_sub(self.counts_open() - self.closing);
        if others <= coming {
            return false;
        }
        if known.waiting.is_empty() {
            return true;
        }
        let weights = self.active_weight.max(1);
        let share = (self.granted as u64 * u64::from(known.weight) / weights).max(1);
        let held = (known.in_use + known.connecting) as u64;
        held > share || (turn_over && self.active > self.granted)
    }
}
