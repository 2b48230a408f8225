//! What routers read: all routes at the start, then what changed since a clock value.

use crate::{Registry, RegistryError, Result, TenantStatus};
use portero_kernel::{CompanyName, SchemaVersion, ServerId, Subdomain, TenantId};
use tokio_postgres::Row;
use uuid::Uuid;

/// A route as the registry has it.
#[derive(Debug, Clone)]
pub struct RouteRow {
    /// Whose.
    pub tenant: TenantId,
    /// The company's name.
    pub name: CompanyName,
    /// The subdomain that leads there.
    pub subdomain: Subdomain,
    /// Whether the door is open.
    pub status: TenantStatus,
    /// The server that holds the database.
    pub server: ServerId,
    /// How the role logs in, sealed: [`Registry::open_login`].
    pub sealed_login: Vec<u8>,
    /// The version of the tenant's schema.
    pub schema_version: SchemaVersion,
    /// Counts the changes of this route.
    pub generation: i64,
}

/// A change of one tenant's route.
#[derive(Debug, Clone)]
pub struct RouteChange {
    /// Whose.
    pub tenant: TenantId,
    /// What it is now; nothing where the tenant is gone.
    pub route: Option<RouteRow>,
}

const COLUMNS: &str = "id, name, subdomain, status, server_id, db_url, schema_version, generation";

impl RouteRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            tenant: TenantId::from(row.get::<_, Uuid>("id")),
            name: CompanyName::parse(row.get("name"))
                .map_err(|_| RegistryError::Unreadable("company's name"))?,
            subdomain: Subdomain::parse(row.get("subdomain"))
                .map_err(|_| RegistryError::Unreadable("subdomain"))?,
            status: TenantStatus::parse(row.get("status"))?,
            server: ServerId::from(row.get::<_, Uuid>("server_id")),
            sealed_login: row.get("db_url"),
            schema_version: row.get("schema_version"),
            generation: row.get("generation"),
        })
    }
}

impl Registry {
    /// All routes, and the clock value they were read at.
    ///
    /// # Errors
    /// The registry.
    pub async fn routes_snapshot(&self) -> Result<(i64, Vec<RouteRow>)> {
        let mut client = self.client().await?;
        // One snapshot for both statements: a change is either in the rows or after the clock.
        let txn = client
            .build_transaction()
            .isolation_level(tokio_postgres::IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .await?;
        let clock = txn.query_one("SELECT value FROM route_clock", &[]).await?.get(0);
        let sql = ["SELECT ", COLUMNS, " FROM tenants"].concat();
        let routes = txn.query(&sql, &[]).await?.iter().map(RouteRow::from_row).collect::<Result<_>>()?;
        txn.commit().await?;
        Ok((clock, routes))
    }

    /// What changed after `clock`, each tenant once, and the clock value that this brings one to.
    ///
    /// # Errors
    /// The registry.
    pub async fn routes_since(&self, clock: i64) -> Result<(i64, Vec<RouteChange>)> {
        let client = self.client().await?;
        let rows = client
            .query(
                "SELECT log.at, log.tenant_id, t.id, t.name, t.subdomain, t.status, t.server_id, t.db_url, t.schema_version, t.generation
                 FROM (SELECT tenant_id, max(clock) AS at FROM route_log WHERE clock > $1 GROUP BY tenant_id) log
                 LEFT JOIN tenants t ON t.id = log.tenant_id
                 ORDER BY log.at",
                &[&clock],
            )
            .await?;
        let mut latest = clock;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            latest = latest.max(row.get("at"));
            let tenant = TenantId::from(row.get::<_, Uuid>("tenant_id"));
            let route = row.get::<_, Option<Uuid>>("id").map(|_| RouteRow::from_row(row)).transpose()?;
            changes.push(RouteChange { tenant, route });
        }
        Ok((latest, changes))
    }
}
