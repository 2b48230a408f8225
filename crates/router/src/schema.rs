//! Which versions of the tenants' schema the program runs on, and what becomes of a request whose tenant is behind.
//!
//! Migrations expand first and contract a release later. So a program is made for a version of the schema (N), and may run
//! on the one before too (N−1), until that tenant's migration comes. A tenant that is *ahead* is the mirror image, after a
//! rollback or where tenants are migrated before the program is deployed: whoever wrote its migration had this program in
//! mind, and it is served.
//!
//! What all this costs a request whose tenant is where it should be is the comparison of two integers.

use crate::{Directory, Route};
use dashmap::DashMap;
use portero_kernel::{SchemaVersion, TenantId};
use portero_registry::TenantStatus;
use std::{
    future::pending,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};
use tokio::sync::watch;

/// What becomes of requests of a tenant whose schema is behind the newest that the program knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Behind {
    /// They are served on every version that the program runs on; where it is older than that, they are held.
    #[default]
    Serve,
    /// They are held until the tenant has the newest, for some seconds, and then refused.
    Hold,
    /// They are refused.
    Refuse,
}

impl Behind {
    /// Every one, as settings name it.
    pub const ALL: [(&'static str, Self); 3] =
        [("serve", Self::Serve), ("hold", Self::Hold), ("refuse", Self::Refuse)];
}

/// What the program needs of a tenant's schema. The default needs nothing: any version is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaPolicy {
    /// The oldest version that the program's code runs on.
    pub oldest: SchemaVersion,
    /// The version that it was made for.
    pub newest: SchemaVersion,
    /// What becomes of requests in between, and below.
    pub behind: Behind,
    /// For how long a request is held at most; never with [`Behind::Refuse`].
    pub hold: Duration,
}

impl Default for SchemaPolicy {
    fn default() -> Self {
        Self { oldest: 0, newest: 0, behind: Behind::default(), hold: Duration::from_secs(5) }
    }
}

impl SchemaPolicy {
    /// The oldest version that is served.
    #[must_use]
    pub const fn serves_from(&self) -> SchemaVersion {
        match self.behind {
            Behind::Serve => self.oldest,
            Behind::Hold | Behind::Refuse => self.newest,
        }
    }

    /// For how long a request of a tenant below that waits.
    pub(crate) const fn patience(&self) -> Duration {
        match self.behind {
            Behind::Serve | Behind::Hold => self.hold,
            Behind::Refuse => Duration::ZERO,
        }
    }
}

/// How the tenants' schemas stand to the program, and what became of requests for that.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SchemaFigures {
    /// Tenants whose version is too old to be served.
    pub unserved: usize,
    /// Tenants that are served with an older version than the newest.
    pub behind: usize,
    /// Tenants with the newest.
    pub current: usize,
    /// Tenants with a newer one than the program knows.
    pub ahead: usize,
    /// Requests that wait for their tenant's migration now.
    pub held: usize,
    /// Requests that waited and were then served.
    pub served_after_hold: u64,
    /// Requests that waited in vain.
    pub held_in_vain: u64,
}

impl SchemaFigures {
    /// Counts the tenants that have a schema to be migrated: not those that are being made or purged.
    pub(crate) fn count(directory: &Directory, policy: &SchemaPolicy) -> Self {
        let mut figures = Self::default();
        directory.each(|route| {
            if matches!(route.status, TenantStatus::Provisioning | TenantStatus::Purging) {
                return;
            }
            *match route.schema_version {
                version if version < policy.serves_from() => &mut figures.unserved,
                version if version < policy.newest => &mut figures.behind,
                version if version == policy.newest => &mut figures.current,
                _ => &mut figures.ahead,
            } += 1;
        });
        figures
    }
}

/// Requests that wait for word of their tenant; and what became of those that did.
#[derive(Default)]
pub(crate) struct Held {
    tenants: DashMap<TenantId, watch::Sender<()>>,
    count: AtomicUsize,
    /// Who waited and was then served.
    pub(crate) served: AtomicU64,
    /// Who waited in vain.
    pub(crate) in_vain: AtomicU64,
}

impl Held {
    /// Tells those who wait that there is something new.
    pub(crate) fn tell(&self, tenant: TenantId) {
        if let Some(news) = self.tenants.get(&tenant) {
            news.send_replace(());
        }
    }

    /// One more who waits, unless there are so many already, of this tenant or of all.
    pub(crate) fn join(&self, tenant: TenantId, of_tenant: usize, of_all: usize) -> Option<HeldOne<'_>> {
        let (news, crowd) = {
            let sender = self.tenants.entry(tenant).or_insert_with(|| watch::Sender::new(()));
            (sender.subscribe(), sender.receiver_count())
        };
        let all = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let one = HeldOne { among: self, tenant, news: Some(news) };
        (crowd <= of_tenant && all <= of_all).then_some(one)
    }

    pub(crate) fn add_to(&self, figures: &mut SchemaFigures) {
        figures.held = self.count.load(Ordering::Relaxed);
        figures.served_after_hold = self.served.load(Ordering::Relaxed);
        figures.held_in_vain = self.in_vain.load(Ordering::Relaxed);
    }
}

/// One who waits.
pub(crate) struct HeldOne<'a> {
    among: &'a Held,
    tenant: TenantId,
    /// There until this is dropped.
    news: Option<watch::Receiver<()>>,
}

impl HeldOne<'_> {
    /// Waits until a route of the tenant's satisfies; looks at once, and then whenever it has changed.
    pub(crate) async fn until(&mut self, directory: &Directory, satisfies: impl Fn(Option<&Route>) -> bool) {
        while !satisfies(directory.by_tenant(self.tenant).as_deref()) {
            let news = self.news.as_mut().expect("taken only on drop");
            if news.changed().await.is_err() {
                // Never, as long as somebody listens: and then there is nothing to be told any more.
                pending::<()>().await;
            }
        }
    }
}

impl Drop for HeldOne<'_> {
    fn drop(&mut self) {
        // First, so that the last to leave sees that nobody listens any more.
        drop(self.news.take());
        self.among.tenants.remove_if(&self.tenant, |_, sender| sender.receiver_count() == 0);
        self.among.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_served_is_what_the_code_runs_on_or_the_newest_alone() {
        let policy = |behind| SchemaPolicy { oldest: 4, newest: 6, behind, ..SchemaPolicy::default() };
        for (behind, from, waits) in
            [(Behind::Serve, 4, true), (Behind::Hold, 6, true), (Behind::Refuse, 6, false)]
        {
            assert_eq!(policy(behind).serves_from(), from, "{behind:?}");
            assert_eq!(!policy(behind).patience().is_zero(), waits, "{behind:?}");
        }
        assert_eq!(SchemaPolicy::default().serves_from(), 0, "whoever says nothing needs nothing");
    }

    #[test]
    fn so_many_wait_and_no_more_and_who_leaves_makes_room() {
        let held = Held::default();
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let two = [held.join(acme, 2, 3).unwrap(), held.join(acme, 2, 3).unwrap()];
        assert!(held.join(acme, 2, 3).is_none(), "two of a tenant");
        let third = held.join(globex, 2, 3).unwrap();
        assert!(held.join(globex, 2, 3).is_none(), "three of all");
        drop(two);
        assert!(held.join(acme, 2, 3).is_some());
        drop(third);
        assert_eq!(
            (held.count.load(Ordering::Relaxed), held.tenants.len()),
            (0, 0),
            "nobody leaves anything"
        );
    }
}
