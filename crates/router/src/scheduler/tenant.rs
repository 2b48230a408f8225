//! What the scheduler knows of one tenant while the tenant has anything on the server.

use super::{Limits, SlotId, ring::Place};
use std::{collections::VecDeque, time::Duration};

#[derive(Debug)]
pub(super) struct Waiting<W> {
    pub(super) id: u64,
    /// The thread that it waits on.
    pub(super) home: u64,
    pub(super) waiter: W,
}

#[derive(Debug)]
pub(super) struct Idle<C> {
    pub(super) slot: SlotId,
    pub(super) connection: C,
    pub(super) since: Duration,
    /// Its key in the order of idleness.
    pub(super) rank: u64,
}

#[derive(Debug)]
pub(super) struct Tenant<C, W> {
    pub(super) weight: u32,
    /// Connections of an older route than this are not handed out.
    pub(super) generation: i64,
    pub(super) idle: Vec<Idle<C>>,
    pub(super) waiting: VecDeque<Waiting<W>>,
    /// How often the first of them was passed by since it was the first.
    pub(super) passed: usize,
    pub(super) in_use: usize,
    pub(super) connecting: usize,
    pub(super) closing: usize,
    /// Its place in the ring, while it wants a login.
    pub(super) place: Option<Place>,
    /// The turns it has had, by its weight: who has the least is next.
    pub(super) pass: u64,
    pub(super) counted_active: bool,
    /// Its own way in failed: nobody tries again before this.
    pub(super) shut_until: Option<Duration>,
    /// Its role has no session left: no login before this.
    pub(super) full_until: Option<Duration>,
}

/// How far down the queue a waiter is looked for that is on a connection's own thread, and how often the first may be
/// passed by for that. A switch of threads costs both sides a wake-up, some microseconds each; a place in the queue costs no
/// more than a few requests.
const NEAR: usize = 8;

impl<C, W> Tenant<C, W> {
    /// The waiter that a connection with this home goes to.
    pub(super) fn next_waiter(&mut self, home: u64) -> Option<Waiting<W>> {
        let near = self.waiting.iter().take(NEAR).position(|waiting| waiting.home == home);
        match near {
            Some(at) if at > 0 && self.passed < NEAR => {
                self.passed += 1;
                self.waiting.remove(at)
            }
            _ => {
                self.passed = 0;
                self.waiting.pop_front()
            }
        }
    }

    pub(super) fn new() -> Self {
        Self {
            weight: 1,
            generation: 0,
            idle: Vec::new(),
            waiting: VecDeque::new(),
            passed: 0,
            in_use: 0,
            connecting: 0,
            closing: 0,
            place: None,
            pass: 0,
            counted_active: false,
            shut_until: None,
            full_until: None,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.in_use + self.idle.len() + self.connecting
    }

    pub(super) fn is_active(&self) -> bool {
        self.in_use + self.connecting > 0 || !self.waiting.is_empty()
    }

    pub(super) fn wants_login(&self, limits: &Limits) -> bool {
        self.full_until.is_none()
            && self.waiting.len() > self.connecting
            && self.connecting < limits.logins_per_tenant
            && self.held() < limits.per_tenant
    }

    pub(super) fn is_nothing(&self) -> bool {
        self.held() + self.closing == 0
            && self.waiting.is_empty()
            && self.place.is_none()
            && self.shut_until.is_none()
            && self.full_until.is_none()
    }
}
