//! Tenants without an application: for who tests the router as the library that it is.

use crate::{TestCluster, cluster::ROLE, new_password};
use portero_auth::{MasterKey, Sealer};
use portero_kernel::{DatabaseName, SecretString, ServerId, Subdomain, TenantId};
use portero_pg::{TENANT_SESSION, database_mark, ident, literal};
use portero_registry::Registry;
use std::sync::Arc;

/// A registry whose tenants were put there by hand. Their databases are empty.
pub struct BareTenants {
    /// Where they are, all of them.
    pub cluster: Arc<TestCluster>,
    /// The registry.
    pub registry: Registry,
    sealer: Sealer,
    server: ServerId,
    database: String,
}

/// A tenant of [`BareTenants`].
#[derive(Debug, Clone)]
pub struct BareTenant {
    /// Its id.
    pub id: TenantId,
    /// Its subdomain.
    pub subdomain: Subdomain,
    /// Its database, and role of the same name.
    pub database: String,
}

impl BareTenants {
    /// None yet, on this cluster.
    ///
    /// # Panics
    /// Without the server.
    pub async fn on(cluster: &Arc<TestCluster>) -> Self {
        let (database, url) = cluster.new_registry().await;
        let key = MasterKey::generate();
        let registry = Registry::new(url.parse().expect("our own URL is one"), &key);
        registry.migrate().await.expect("a new registry is migrated");
        let server = SecretString::from(cluster.url(cluster.address(), "postgres"));
        let server = registry.server_upsert("main", &server).await.expect("a registry takes a server");
        Self { cluster: Arc::clone(cluster), registry, sealer: Sealer::new(&key), server, database }
    }

    /// Makes a tenant as the provisioner would, save that nothing is in its database and that its role may have temporary
    /// tables: a library doesn't choose what its users allow. Routers that run already don't hear of it.
    ///
    /// # Panics
    /// If any of that fails.
    pub async fn make(&self, subdomain: &str) -> BareTenant {
        let id = TenantId::generate();
        let database = DatabaseName::from_uuid(id.uuid());
        let (name, password) = (ident(database.as_str()), new_password());
        let mark = literal(&database_mark(id));
        let session = self.cluster.superuser("postgres").await;
        let settings = TENANT_SESSION.iter().filter(|(_, value)| !value.is_empty());
        let settings =
            settings.map(|(setting, value)| format!("ALTER ROLE {name} SET {setting} = {}", literal(value)));
        let role = format!("CREATE ROLE {name} LOGIN CONNECTION LIMIT 20 PASSWORD {}", literal(&password));
        let statements = [
            role,
            format!("GRANT {name} TO {}", ident(ROLE)),
            format!(
                "CREATE DATABASE {name} OWNER {} TEMPLATE template0 ALLOW_CONNECTIONS false",
                ident(ROLE)
            ),
            format!("REVOKE ALL ON DATABASE {name} FROM PUBLIC"),
            format!("GRANT CONNECT, TEMPORARY ON DATABASE {name} TO {name}"),
            format!("COMMENT ON DATABASE {name} IS {mark}"),
            format!("ALTER DATABASE {name} ALLOW_CONNECTIONS true"),
        ];
        for sql in statements.into_iter().chain(settings) {
            session.batch_execute(&sql).await.expect("a tenant's database is made");
        }
        session.close().await;
        let url = format!("postgresql://{database}:{password}@/{database}");
        let sealed = self.sealer.seal("tenants.db_url", id.uuid(), url.as_bytes());
        let registry = self.cluster.superuser(&self.database).await;
        registry
            .execute(
                "INSERT INTO tenants (id, name, subdomain, db_name, db_url, status, server_id, schema_version)
                 VALUES ($1, $2, $2, $3, $4, 'active', $5, 1)",
                &[&id.uuid(), &subdomain, &database.as_str(), &sealed, &self.server.uuid()],
            )
            .await
            .expect("a tenant is noted");
        registry.close().await;
        let subdomain = Subdomain::parse(subdomain).expect("a subdomain");
        BareTenant { id, subdomain, database: database.to_string() }
    }
}
