//! The clean slate: what a cluster holds, against what the registries on it say.

use crate::TestCluster;
use std::collections::BTreeSet;

/// The names that sign-ups made on a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Databases called like a tenant's.
    pub databases: BTreeSet<String>,
    /// Roles called like a tenant's.
    pub roles: BTreeSet<String>,
    /// Databases that the registries on the cluster know as tenants'.
    pub tenants: BTreeSet<String>,
    /// Databases that they know as spares.
    pub spares: BTreeSet<String>,
}

impl Inventory {
    /// What the registries know.
    fn known(&self) -> BTreeSet<String> {
        self.tenants.union(&self.spares).cloned().collect()
    }

    /// What belongs to no tenant and is no spare.
    #[must_use]
    pub fn strays(&self) -> BTreeSet<String> {
        let known = self.known();
        self.databases.union(&self.roles).filter(|name| !known.contains(*name)).cloned().collect()
    }
}

impl TestCluster {
    /// Looks at everything, on all databases; the registries last, so that what they know includes all that was seen.
    ///
    /// # Panics
    /// Without the server.
    pub async fn inventory(&self) -> Inventory {
        let session = self.superuser("postgres").await;
        let names = async |sql: &str| -> BTreeSet<String> {
            let rows = session.query(sql, &[]).await.expect("the catalogue is readable");
            rows.iter().map(|row| row.get(0)).collect()
        };
        let databases = names("SELECT datname::text FROM pg_database WHERE datname LIKE 't\\_%'").await;
        let roles = names("SELECT rolname::text FROM pg_roles WHERE rolname LIKE 't\\_%'").await;
        let registries =
            names("SELECT datname::text FROM pg_database WHERE datname LIKE 'portero\\_registry\\_%'").await;
        session.close().await;
        let (mut tenants, mut spares) = (BTreeSet::new(), BTreeSet::new());
        for registry in registries {
            let session = self.superuser(&registry).await;
            // A registry that no application has migrated yet has no tenants.
            for (known, sql) in
                [(&mut tenants, "SELECT db_name FROM tenants"), (&mut spares, "SELECT db_name FROM spares")]
            {
                let rows = session.query(sql, &[]).await.unwrap_or_default();
                known.extend(rows.iter().map(|row| row.get::<_, String>(0)));
            }
            session.close().await;
        }
        Inventory { databases, roles, tenants, spares }
    }

    /// For a private cluster at rest: exactly one database and one role per tenant and spare, and no other.
    ///
    /// # Panics
    /// If not, with the differences.
    #[track_caller]
    pub fn clean_slate(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let inventory = self.inventory().await;
            let known = inventory.known();
            assert_eq!(inventory.databases, known, "databases and tenants differ, seen from {caller}");
            assert_eq!(inventory.roles, known, "roles and tenants differ, seen from {caller}");
        }
    }

    /// For the shared cluster: nothing is there that belongs to no tenant, other than for the moment of an undo.
    ///
    /// # Panics
    /// With the names of what is.
    pub async fn no_strays(&self) {
        let mut suspects = self.inventory().await.strays();
        for _ in 0..100 {
            if suspects.is_empty() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            let strays = self.inventory().await.strays();
            suspects.retain(|name| strays.contains(name));
        }
        panic!("these belong to no tenant: {suspects:?}");
    }
}
