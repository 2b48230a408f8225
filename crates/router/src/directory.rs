//! Whose each subdomain is: the whole table in memory, so that a request looks up its tenant without I/O.

use dashmap::DashMap;
use portero_kernel::{CompanyName, SchemaVersion, ServerId, Subdomain, TenantId};
use portero_registry::{RouteRow, TenantStatus};
use std::sync::Arc;

/// A tenant as a request needs to know it.
#[derive(Debug)]
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
    pub(crate) server: ServerId,
    pub(crate) sealed_login: Vec<u8>,
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
            server: row.server,
            sealed_login: row.sealed_login,
            generation: row.generation,
        }
    }
}

/// Routes by subdomain, and the subdomain of each tenant so that a route can be moved or removed.
#[derive(Default)]
pub struct Directory {
    routes: DashMap<Subdomain, Arc<Route>>,
    subdomains: DashMap<TenantId, Subdomain>,
}

impl Directory {
    /// The route of a subdomain.
    #[must_use]
    pub fn get(&self, subdomain: &Subdomain) -> Option<Arc<Route>> {
        self.routes.get(subdomain).map(|route| Arc::clone(&route))
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is no route.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }

    /// Puts a route in its tenant's place, unless a newer one is there.
    pub(crate) fn put(&self, route: Route) {
        let (tenant, subdomain) = (route.tenant, route.subdomain.clone());
        if let Some(known) = self.get(&subdomain)
            && known.tenant == tenant
            && known.generation > route.generation
        {
            return;
        }
        let before = self.subdomains.insert(tenant, subdomain.clone());
        self.routes.insert(subdomain.clone(), Arc::new(route));
        if let Some(before) = before.filter(|before| *before != subdomain) {
            self.routes.remove_if(&before, |_, route| route.tenant == tenant);
        }
    }

    /// Forgets a tenant.
    pub(crate) fn remove(&self, tenant: TenantId) {
        if let Some((_, subdomain)) = self.subdomains.remove(&tenant) {
            self.routes.remove_if(&subdomain, |_, route| route.tenant == tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(tenant: TenantId, subdomain: &str, generation: i64) -> Route {
        Route {
            tenant,
            name: CompanyName::parse("Acme").unwrap(),
            subdomain: Subdomain::parse(subdomain).unwrap(),
            status: TenantStatus::Active,
            schema_version: 1,
            server: ServerId::generate(),
            sealed_login: Vec::new(),
            generation,
        }
    }

    #[test]
    fn a_route_moves_with_its_tenant_and_never_back_to_an_older_generation() {
        let directory = Directory::default();
        let (acme, globex) = (TenantId::generate(), TenantId::generate());
        let at = |name: &str| {
            directory.get(&Subdomain::parse(name).unwrap()).map(|route| (route.tenant, route.generation))
        };
        directory.put(route(acme, "acme", 2));
        directory.put(route(acme, "acme", 1));
        assert_eq!(at("acme"), Some((acme, 2)));
        directory.put(route(acme, "acme-new", 3));
        assert_eq!((at("acme"), at("acme-new")), (None, Some((acme, 3))));
        directory.put(route(globex, "acme", 1));
        directory.remove(acme);
        assert_eq!((at("acme"), at("acme-new"), directory.len()), (Some((globex, 1)), None, 1));
        directory.remove(globex);
        assert!(directory.is_empty());
    }
}
