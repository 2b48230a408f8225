//! The books: what each connection is doing, counted for its tenant and for all, and the changes that keep the counts true.

use super::{Connection, Idle, Reason, Refusal, Scheduler, SlotId, State, Tenant, Wish};
use portero_kernel::TenantId;
use std::time::Duration;

impl<C: Connection, W> Scheduler<C, W> {
    /// A connection that nobody holds goes to its tenant's first waiter, or to rest.
    pub(super) fn settle(&mut self, now: Duration, id: SlotId, connection: C) {
        let slot = self.slots.get_mut(&id).expect("settled while it has a slot");
        let tenant = slot.tenant;
        let known = self.tenants.get_mut(&tenant).expect("a slot's tenant is known");
        if let Some(first) = known.next_waiter(connection.home()) {
            if slot.state != State::InUse {
                slot.turn_began = now;
            }
            self.waiting -= 1;
            self.waiting_tenants -= usize::from(known.waiting.is_empty());
            self.enter(id, State::InUse);
            self.wishes.push(Wish::Give { waiter: first.waiter, slot: id, connection });
        } else {
            self.next += 1;
            let rank = self.next;
            slot.state = State::Idle;
            known.idle.push(Idle { slot: id, connection, since: now, rank });
            self.idle_order.insert(rank, tenant);
            self.note_activity(tenant);
        }
    }

    /// Since when the connection that has been idle for the longest is.
    pub(super) fn longest_idle_since(&self) -> Option<Duration> {
        let (rank, tenant) = self.idle_order.first_key_value()?;
        let idle = &self.tenants.get(tenant).expect("an idle connection's tenant is known").idle;
        idle.iter().find(|idle| idle.rank == *rank).map(|idle| idle.since)
    }

    pub(super) fn evict_longest_idle(&mut self, reason: Reason) -> bool {
        let Some((rank, tenant)) = self.idle_order.pop_first() else { return false };
        let known = self.tenants.get_mut(&tenant).expect("an idle connection's tenant is known");
        let at = known.idle.iter().position(|idle| idle.rank == rank).expect("ranked as it lies there");
        let idle = known.idle.remove(at);
        self.close(idle.slot, idle.connection, State::Idle, reason);
        true
    }

    /// Wishes a connection closed that is in this state. An idle one has left its tenant's list already.
    pub(super) fn close(&mut self, id: SlotId, connection: C, state: State, reason: Reason) {
        self.evictions[reason as usize] += 1;
        self.leave(id, state);
        self.enter(id, State::Closing);
        self.wishes.push(Wish::Close { slot: id, connection });
    }

    pub(super) fn refuse_waiters(&mut self, tenant: TenantId, why: Refusal) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        self.waiting -= known.waiting.len();
        self.waiting_tenants -= usize::from(!known.waiting.is_empty());
        let waiting = std::mem::take(&mut known.waiting);
        self.wishes.extend(waiting.into_iter().map(|it| Wish::Refuse { waiter: it.waiter, why }));
        self.enlist(tenant);
        self.note_activity(tenant);
    }

    pub(super) fn leave(&mut self, id: SlotId, state: State) {
        let slot = &self.slots[&id];
        let known = self.tenants.get_mut(&slot.tenant).expect("a slot's tenant is known");
        let (of_tenant, of_all) = match state {
            State::Connecting => (&mut known.connecting, &mut self.connecting),
            State::InUse => (&mut known.in_use, &mut self.in_use),
            State::Closing => (&mut known.closing, &mut self.closing),
            // Counted by the lists it was taken from.
            State::Idle => return,
        };
        *of_tenant -= 1;
        *of_all -= 1;
    }

    pub(super) fn enter(&mut self, id: SlotId, state: State) {
        let slot = self.slots.get_mut(&id).expect("entered while it has a slot");
        slot.state = state;
        let tenant = slot.tenant;
        if state == State::Closing && slot.epoch < self.here_since {
            self.slots.remove(&id);
            self.note_activity(tenant);
            return;
        }
        let known = self.tenants.get_mut(&tenant).expect("a slot's tenant is known");
        let (of_tenant, of_all) = match state {
            State::Connecting => (&mut known.connecting, &mut self.connecting),
            State::InUse => (&mut known.in_use, &mut self.in_use),
            State::Closing => (&mut known.closing, &mut self.closing),
            State::Idle => unreachable!("only `settle` lays a connection to rest"),
        };
        *of_tenant += 1;
        *of_all += 1;
        self.note_activity(tenant);
    }

    /// Keeps count of the active, and forgets a tenant of which nothing is left.
    pub(super) fn note_activity(&mut self, tenant: TenantId) {
        let Some(known) = self.tenants.get_mut(&tenant) else { return };
        let active = known.is_active();
        if active != known.counted_active {
            known.counted_active = active;
            let weight = u64::from(known.weight);
            if active {
                self.active += 1;
                self.active_weight += weight;
            } else {
                self.active -= 1;
                self.active_weight -= weight;
            }
        }
        if self.tenants.get(&tenant).is_some_and(Tenant::is_nothing) {
            self.tenants.remove(&tenant);
        }
    }
}
