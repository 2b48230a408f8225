//! Whose each subdomain is: the whole table in memory, so that a request looks up its tenant without I/O.

use crate::{AcquireError, schema::Held};
use dashmap::{DashMap, Entry};
use portero_kernel::{CompanyName, SchemaVersion, ServerId, Subdomain, TenantId};
use portero_registry::{FormerName, RouteRow, TenantStatus};
use std::{collections::HashSet, sync::Arc};
use time::OffsetDateTime;

/// A tenant as a request needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Whose.
    pub tenant: TenantId,
    /// The company's name.
    pub name: CompanyName,
    /// The subdomain that leads here.
    pub subdomain: Subdomain,
    /// Whether the door is open.
    pub status: TenantStatus,
    /// The version of the tenant's schema.
    pub schema_version: SchemaVersion,
    /// Its part when connections are scarce, beside the others' parts.
    pub weight: u8,
    pub(crate) former: Box<[FormerName]>,
    pub(crate) server: ServerId,
    pub(crate) sealed_login: Box<[u8]>,
    pub(crate) generation: i64,
}

impl From<RouteRow> for Route {
    fn from(row: RouteRow) -> Self {
        Self {
            tenant: row.tenant,
            name: row.name,
            subdomain: row.subdomain,
            status: row.status,
            schema_version: row.schema_version,
            weight: row.weight,
            former: row.former.into_boxed_slice(),
            server: row.server,
            sealed_login: row.sealed_login.into_boxed_slice(),
            generation: row.generation,
        }
    }
}

impl Route {
    pub(crate) fn to_row(&self) -> RouteRow {
        RouteRow {
            tenant: self.tenant,
            name: self.name.clone(),
            subdomain: self.subdomain.clone(),
            status: self.status,
            server: self.server,
            sealed_login: self.sealed_login.to_vec(),
            schema_version: self.schema_version,
            generation: self.generation,
            weight: self.weight,
            former: self.former.to_vec(),
        }
    }
}

/// Why nobody is let in to a tenant that is in this state.
pub(crate) const fn why_shut(status: TenantStatus) -> Option<AcquireError> {
    match status {
        TenantStatus::Active => None,
        TenantStatus::Provisioning => Some(AcquireError::Provisioning),
        TenantStatus::Paused => Some(AcquireError::Paused),
        TenantStatus::Deleting | TenantStatus::Deleted | TenantStatus::Purging => Some(AcquireError::Deleted),
    }
}

/// What was last heard of a tenant.
#[derive(Debug)]
enum Heard {
    Route(Arc<Route>),
    /// It is gone for good: its id is never given again, so nothing older can bring it back.
    Gone,
}

/// Routes by subdomain and by tenant.
///
/// Word of a change comes on several ways: a snapshot, the log, a row read again. A route is kept only if its generation
/// is not older than what was heard before.
#[derive(Default)]
pub struct Directory {
    by_subdomain: DashMap<Subdomain, Arc<Route>>,
    /// By names that were given up. Looked at only where nobody has the name.
    by_former: DashMap<Subdomain, Arc<Route>>,
    by_tenant: DashMap<TenantId, Heard>,
    /// Who waits for a tenant's route to change.
    pub(crate) held: Held,
}

impl Directory {
    /// The route of a subdomain.
    #[must_use]
    pub fn get(&self, subdomain: &Subdomain) -> Option<Arc<Route>> {
        self.by_subdomain.get(subdomain).map(|route| Arc::clone(&route))
    }

    /// Who gave this subdomain up, as long as it leads on to their present one.
    #[must_use]
    pub fn moved(&self, subdomain: &Subdomain, now: OffsetDateTime) -> Option<Arc<Route>> {
        let route = self.by_former.get(subdomain).map(|route| Arc::clone(&route))?;
        let leads_on = |former: &FormerName| former.subdomain == *subdomain && now < former.until;
        route.former.iter().any(leads_on).then_some(route)
    }

    /// The route of a tenant.
    #[must_use]
    pub fn by_tenant(&self, tenant: TenantId) -> Option<Arc<Route>> {
        match &*self.by_tenant.get(&tenant)? {
            Heard::Route(route) => Some(Arc::clone(route)),
            Heard::Gone => None,
        }
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_subdomain.len()
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_subdomain.is_empty()
    }

    /// All routes, in no order.
    pub(crate) fn all(&self) -> Vec<Arc<Route>> {
        self.by_subdomain.iter().map(|route| Arc::clone(&route)).collect()
    }

    /// Shows every route, in no order. Not to be called where a request waits for it.
    pub(crate) fn each(&self, mut show: impl FnMut(&Route)) {
        self.by_subdomain.iter().for_each(|route| show(&route));
    }

    /// Puts a route in its tenant's place, unless something newer is known. Says whether it did.
    pub(crate) fn put(&self, route: Arc<Route>) -> bool {
        self.replace(route, |known, route| match known {
            Heard::Gone => false,
            Heard::Route(before) => before.generation <= route.generation,
        })
    }

    /// Makes these all there are, whatever was known: generations begin anew, and who was gone may be back.
    pub(crate) fn restore(&self, routes: impl Iterator<Item = Arc<Route>>) {
        let mut there = HashSet::new();
        for route in routes {
            there.insert(route.tenant);
            self.replace(route, |_, _| true);
        }
        for route in self.all() {
            if !there.contains(&route.tenant) {
                self.remove(route.tenant);
            }
        }
    }

    fn replace(&self, route: Arc<Route>, if_known: impl FnOnce(&Heard, &Route) -> bool) -> bool {
        // The tenant's entry is held over both maps, always taken first: two who write at once would else leave the older
        // route under the subdomain, or one that is gone.
        let entry = self.by_tenant.entry(route.tenant);
        if let Entry::Occupied(known) = &entry {
            if !if_known(known.get(), &route) {
                return false;
            }
            if let Heard::Route(before) = known.get() {
                if before.subdomain != route.subdomain {
                    self.by_subdomain.remove_if(&before.subdomain, |_, known| known.tenant == route.tenant);
                }
                self.forget_former(before);
            }
        }
        for former in &route.former {
            self.by_former.insert(former.subdomain.clone(), Arc::clone(&route));
        }
        self.by_subdomain.insert(route.subdomain.clone(), Arc::clone(&route));
        let tenant = route.tenant;
        drop(entry.insert(Heard::Route(route)));
        self.held.tell(tenant);
        true
    }

    /// Forgets a tenant, for good.
    pub(crate) fn remove(&self, tenant: TenantId) {
        let mut entry = self.by_tenant.entry(tenant);
        if let Entry::Occupied(known) = &mut entry
            && let Heard::Route(route) = known.get()
        {
            self.by_subdomain.remove_if(&route.subdomain, |_, known| known.tenant == tenant);
            self.forget_former(route);
        }
        drop(entry.insert(Heard::Gone));
        self.held.tell(tenant);
    }

    fn forget_former(&self, route: &Route) {
        for former in &route.former {
            self.by_former.remove_if(&former.subdomain, |_, known| known.tenant == route.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(tenant: TenantId, subdomain: &str, generation: i64) -> Arc<Route> {
        Arc::new(Route {
            tenant,
            name: CompanyName::parse("Acme").unwrap(),
            subdomain: Subdomain::parse(subdomain).unwrap(),
            status: TenantStatus::Active,
            schema_version: 1,
            weight: 1,
            former: Box::default(),
            server: ServerId::generate(),
            sealed_login: Box::default(),
            generation,
        })
    }

    #[test]
    fn a_route_moves_with_its_tenant_and_never_back_to_an_older_generation() {
        let directory = Directory::default();
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let at = |name: &str| {
            directory.get(&Subdomain::parse(name).unwrap()).map(|route| (route.tenant, route.generation))
        };
        assert!(directory.put(route(acme, "acme", 2)));
        assert!(!directory.put(route(acme, "acme", 1)));
        assert_eq!(at("acme"), Some((acme, 2)));
        assert!(directory.put(route(acme, "acme-new", 3)));
        assert!(!directory.put(route(acme, "acme", 2)));
        assert_eq!((at("acme"), at("acme-new")), (None, Some((acme, 3))));
        assert!(directory.put(route(globex, "acme", 1)));
        directory.remove(acme);
        assert_eq!((at("acme"), at("acme-new"), directory.len()), (Some((globex, 1)), None, 1));
        assert!(!directory.put(route(acme, "acme-new", 9)), "a tenant that is gone stays gone");
        directory.remove(globex);
        assert!(directory.is_empty() && directory.by_tenant(globex).is_none());
        // A registry from before all that: it has never heard of the rename, nor of acme's end.
        assert!(directory.put(route(TenantId::generate(), "hooli", 7)));
        directory.restore([route(acme, "acme", 2), route(globex, "globex", 1)].into_iter());
        assert_eq!((at("acme"), at("globex"), at("hooli")), (Some((acme, 2)), Some((globex, 1)), None));
        assert!(directory.put(route(globex, "globex", 2)) && directory.len() == 2);
    }

    #[test]
    fn a_former_name_leads_on_to_its_tenant_until_its_time_is_over_and_never_past_whoever_has_it_now() {
        let directory = Directory::default();
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let name = |name: &str| Subdomain::parse(name).unwrap();
        let now = OffsetDateTime::now_utc();
        let (soon, later) = (now + time::Duration::DAY, now + 2 * time::Duration::DAY);
        let renamed = |to: &str, generation, former: &[(&str, OffsetDateTime)]| {
            let former =
                former.iter().map(|&(from, until)| FormerName { subdomain: name(from), until }).collect();
            Arc::new(Route { former, ..Route::clone(&route(acme, to, generation)) })
        };
        let leads_to = |from: &str, now| {
            directory.moved(&name(from), now).map(|route| (route.tenant, route.subdomain.to_string()))
        };
        directory.put(route(acme, "acme", 1));
        directory.put(route(globex, "globex", 1));
        assert!(leads_to("acme", now).is_none() && leads_to("globex", now).is_none());
        directory.put(renamed("acme-new", 2, &[("acme", soon)]));
        assert_eq!(leads_to("acme", now), Some((acme, "acme-new".to_owned())));
        assert!(leads_to("acme", soon).is_none(), "its time is over");
        assert!(directory.get(&name("acme")).is_none() && directory.len() == 2);
        directory.put(renamed("acme-sa", 3, &[("acme", soon), ("acme-new", later)]));
        for from in ["acme", "acme-new"] {
            assert_eq!(leads_to(from, now), Some((acme, "acme-sa".to_owned())), "{from}");
        }
        // Back to a name of its own, and an older word of it comes late.
        directory.put(renamed("acme", 4, &[("acme-new", soon), ("acme-sa", soon)]));
        directory.put(renamed("acme-new", 2, &[("acme", soon)]));
        assert_eq!(directory.get(&name("acme")).map(|route| route.generation), Some(4));
        assert!(leads_to("acme", now).is_none());
        assert_eq!(leads_to("acme-sa", now), Some((acme, "acme".to_owned())));
        directory.remove(acme);
        for from in ["acme", "acme-new", "acme-sa"] {
            assert!(leads_to(from, now).is_none(), "{from}");
        }
    }
}
