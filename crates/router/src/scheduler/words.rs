//! The words in which the scheduler is asked and answers.

#[cfg(doc)]
use super::Scheduler;
use portero_kernel::TenantId;
use std::time::Duration;

/// The numbers that the decisions go by.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections that one tenant may hold at the same time.
    pub per_tenant: usize,
    /// Logins of one tenant under way at the same time.
    pub logins_per_tenant: usize,
    /// Logins to one server under way at the same time, when all is well.
    pub logins: usize,
    /// Requests of one tenant that may wait.
    pub queue_per_tenant: usize,
    /// Requests of all tenants that may wait for one server.
    pub queue: usize,
    /// For how long a slot serves one tenant while others have none.
    pub turn: Duration,
    /// After how long unused a connection is closed.
    pub idle: Duration,
    /// After how long a connection is closed whatever it does, give or take a fifth.
    pub lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            per_tenant: 8,
            logins_per_tenant: 2,
            logins: 8,
            queue_per_tenant: 256,
            queue: 4096,
            // Five times what a close and a login cost on one machine (5 ms with SCRAM).
            turn: Duration::from_millis(25),
            idle: Duration::from_secs(60),
            lifetime: Duration::from_secs(30 * 60),
        }
    }
}

/// One connection's place among those that the server bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u64);

/// What a connection must be able to say of itself.
pub trait Connection {
    /// Whether its session has ended.
    fn is_closed(&self) -> bool;

    /// The thread that drives it, by a number of the caller's choice. A request on that thread gets its answers without
    /// another being woken.
    fn home(&self) -> u64;
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Unused for long.
    Idle,
    /// Old.
    Lifetime,
    /// Another tenant waits for the slot, and this one was idle.
    Pressure,
    /// So that a cold tenant finds a free slot.
    Slack,
    /// Its tenant held more than its share while others waited, or its turn was over.
    Share,
    /// Its route, its server or its session is not what it was.
    Stale,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Idle, Self::Lifetime, Self::Pressure, Self::Slack, Self::Share, Self::Stale];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::Pressure => "pressure",
            Self::Slack => "slack",
            Self::Share => "share",
            Self::Stale => "stale",
        }
    }
}

/// How a request came by its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// One was idle.
    Idle,
    /// A slot was free: it cost a login.
    Create,
    /// Somebody's idle connection gave way.
    Evict,
    /// Everything was in use: it waited.
    Queue,
}

impl Path {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Idle, Self::Create, Self::Evict, Self::Queue];

    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Create => "create",
            Self::Evict => "evict",
            Self::Queue => "queue",
        }
    }
}

/// Why a request gets nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Too many wait already.
    QueueFull,
    /// The server is known not to answer.
    ServerDown,
    /// The tenant's own way in failed: its role, its database, or its door is shut.
    TenantShut,
}

/// Why a login failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The tenant's role or database refused it; others are not concerned.
    Tenant,
    /// The tenant's role has as many sessions as it may, those of other routers perhaps: its own waiters wait on.
    TenantFull,
    /// The server took none: all its connections are in question. Calls for [`Scheduler::trip`] unless it turns out to
    /// answer; until it is known, logins are held back for a moment.
    Server,
    /// The server has no slot left for us (53300), whatever was granted.
    Full,
}

/// Whether a server is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Breaker {
    /// It is.
    #[default]
    Closed,
    /// It does not answer: requests are refused at once.
    Open,
    /// It answers again, and logins are let through a few at a time.
    SlowStart,
}

impl Breaker {
    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::SlowStart => "slow_start",
        }
    }
}

/// What the caller is asked to do.
#[derive(Debug)]
pub enum Wish<C, W> {
    /// Log in for this tenant, and answer with [`Scheduler::opened`] or [`Scheduler::failed`]; then
    /// [`Scheduler::gone`] when the socket has ended.
    Connect {
        /// The slot it will fill.
        slot: SlotId,
        /// Whose.
        tenant: TenantId,
        /// The thread that the request is on for which it is wished.
        home: u64,
    },
    /// Close this; [`Scheduler::gone`] when the server's side has ended.
    Close {
        /// Its slot.
        slot: SlotId,
        /// The connection.
        connection: C,
    },
    /// Cut whoever holds this: it is of no use any more.
    Cut {
        /// Its slot.
        slot: SlotId,
    },
    /// Hand this to a waiter; if it has left meanwhile, [`Scheduler::release`] it.
    Give {
        /// The waiter.
        waiter: W,
        /// The slot.
        slot: SlotId,
        /// The connection.
        connection: C,
    },
    /// Tell a waiter that it gets nothing.
    Refuse {
        /// The waiter.
        waiter: W,
        /// Why.
        why: Refusal,
    },
    /// Call [`Scheduler::tick`] after this long: logins are held back until then.
    Wake {
        /// From now.
        after: Duration,
    },
}

/// What one server's connections are doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections that may be open at the same time.
    pub granted: usize,
    /// Lent.
    pub in_use: usize,
    /// Waiting to be lent.
    pub idle: usize,
    /// Being opened.
    pub connecting: usize,
    /// Being closed.
    pub closing: usize,
    /// Requests that wait.
    pub waiting: usize,
    /// Tenants with a request that waits.
    pub waiting_tenants: usize,
    /// Tenants with a connection in use or a request that waits.
    pub active_tenants: usize,
}

impl Counts {
    /// Slots that are taken.
    #[must_use]
    pub const fn open(&self) -> usize {
        self.in_use + self.idle + self.connecting + self.closing
    }
}
