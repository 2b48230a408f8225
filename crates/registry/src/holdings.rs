//! What should be on the servers, as the registry has it: a few columns of every tenant, to be held against what is there.

use crate::{Registry, RegistryError, Result, TenantStatus};
use portero_kernel::{DatabaseName, JobId, SchemaVersion, ServerId, Subdomain, TenantId};
use portero_pg::{Class, classify, connect};
use tokio_postgres::{Config, Row};
use uuid::Uuid;

/// What a tenant should have, and where.
#[derive(Debug, Clone)]
pub struct HoldingRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its subdomain.
    pub subdomain: Subdomain,
    /// Its database, and role of the same name.
    pub database: DatabaseName,
    /// Where the tenant is in its life.
    pub status: TenantStatus,
    /// The server that holds the database.
    pub server: ServerId,
    /// The version of its schema.
    pub schema_version: SchemaVersion,
    /// Counts the changes of this tenant's route.
    pub generation: i64,
    /// Whether a job of this tenant's is under way or stuck: what is there may be half of something.
    pub has_job: bool,
    /// The newest job that was given up, of a tenant that is being made or removed.
    pub given_up: Option<JobId>,
}

impl Registry {
    /// What every tenant should have.
    ///
    /// # Errors
    /// The registry.
    pub async fn holdings(&self) -> Result<Vec<HoldingRow>> {
        let rows = self
            .client()
            .await?
            .query(
                "SELECT t.id, t.subdomain, t.db_name, t.status, t.server_id, t.schema_version, t.generation, j.tenant_id IS NOT NULL AS has_job,
                        CASE WHEN t.status IN ('provisioning', 'purging') THEN
                            (SELECT g.id FROM jobs g WHERE g.tenant_id = t.id AND g.status = 'abandoned'
                             ORDER BY g.created_at DESC LIMIT 1) END AS given_up
                 FROM tenants t
                 LEFT JOIN (SELECT DISTINCT tenant_id FROM jobs WHERE status IN ('running', 'undoing', 'stuck')) j
                        ON j.tenant_id = t.id",
                &[],
            )
            .await?;
        rows.iter().map(HoldingRow::from_row).collect()
    }

    /// Whether somebody is changing this tenant at this moment, by [`Registry::tenant_lock`].
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_is_locked(&self, id: TenantId) -> Result<bool> {
        let row = self
            .client()
            .await?
            .query_one("SELECT NOT pg_try_advisory_xact_lock($1)", &[&crate::tenants::tenant_lock_key(id)])
            .await?;
        Ok(row.get(0))
    }
}

impl HoldingRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            tenant: TenantId::from(row.get::<_, Uuid>("id")),
            subdomain: Subdomain::parse(row.get("subdomain"))
                .map_err(|_| RegistryError::Unreadable("subdomain"))?,
            schema_version: row.get("schema_version"),
            database: row
                .get::<_, &str>("db_name")
                .parse()
                .map_err(|_| RegistryError::Unreadable("database's name"))?,
            status: TenantStatus::parse(row.get("status"))?,
            server: ServerId::from(row.get::<_, Uuid>("server_id")),
            generation: row.get("generation"),
            has_job: row.get("has_job"),
            given_up: row.get::<_, Option<Uuid>>("given_up").map(JobId::from),
        })
    }
}

/// The databases on a server that are registries of Portero's and have this tenant: several platforms may share one.
///
/// # Errors
/// As PostgreSQL says; a database that Portero's role may not enter can't be looked at, and is passed over.
pub async fn registries_with(
    admin: &Config,
    tenant: TenantId,
) -> std::result::Result<Vec<String>, tokio_postgres::Error> {
    const CANDIDATES: &str = "SELECT datname::text FROM pg_catalog.pg_database
        WHERE datallowconn AND datname !~ '^t_[0-9a-f]{32}$' AND has_database_privilege(oid, 'CONNECT')
        ORDER BY datname";
    const HAS_TABLES: &str =
        "SELECT to_regclass('public.tenants') IS NOT NULL AND to_regclass('public.route_clock') IS NOT NULL";
    let session = connect(admin).await?;
    let candidates: Vec<String> =
        session.query(CANDIDATES, &[]).await?.iter().map(|row| row.get(0)).collect();
    session.close().await;
    let mut found = Vec::new();
    for name in candidates {
        let mut config = admin.clone();
        let session = match connect(config.dbname(&name)).await {
            Ok(session) => session,
            Err(error) if classify(&error) == Class::Refused => continue,
            Err(error) => return Err(error),
        };
        let has_tables: bool = session.query_one(HAS_TABLES, &[]).await?.get(0);
        let has_tenant = "SELECT FROM public.tenants WHERE id = $1";
        if has_tables && session.query_opt(has_tenant, &[&tenant.uuid()]).await?.is_some() {
            found.push(name);
        }
        session.close().await;
    }
    Ok(found)
}
