//! What routers read: all routes at the start, then what changed since a clock value.

use crate::{Registry, RegistryError, Result, TenantStatus};
use futures_util::StreamExt;
use portero_kernel::{CompanyName, SchemaVersion, ServerId, Subdomain, TenantId};
use std::{pin::pin, time::Duration};
use time::OffsetDateTime;
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
    /// Its part of a server that is short of connections, beside others that wait: 1 to 100.
    pub weight: u8,
    /// Names that lead on to its present one; few.
    pub former: Vec<FormerName>,
}

/// A name that a tenant gave up and that still leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerName {
    /// The name.
    pub subdomain: Subdomain,
    /// Until when.
    pub until: OffsetDateTime,
}

/// A change of one tenant's route.
#[derive(Debug, Clone)]
pub struct RouteChange {
    /// Whose.
    pub tenant: TenantId,
    /// What it is now; nothing where the tenant is gone, or its making is being undone.
    pub route: Option<RouteRow>,
    /// How long ago it changed, by the registry's clock.
    pub age: Duration,
}

/// What a router that knows everything up to a clock value has missed since.
#[derive(Debug, Clone)]
pub enum RouteChanges {
    /// These changes, each tenant once.
    Since {
        /// The clock value that they bring one to.
        clock: i64,
        /// In the order of the last change of each.
        changes: Vec<RouteChange>,
    },
    /// Nobody can say: the log doesn't reach back that far, or the registry is older than what the router knows, as
    /// after a restore: what it says then is true, whatever was known. A new snapshot is needed.
    Gap,
}

/// No parameters.
const NOTHING: [i32; 0] = [];
const COLUMNS: &str =
    "t.id, t.name, t.subdomain, t.status, t.server_id, t.db_url, t.schema_version, t.generation, t.weight,
    ARRAY(SELECT f.subdomain FROM former_subdomains f
          WHERE f.tenant_id = t.id AND f.redirects_until > now() ORDER BY f.subdomain) AS former,
    ARRAY(SELECT f.redirects_until FROM former_subdomains f
          WHERE f.tenant_id = t.id AND f.redirects_until > now() ORDER BY f.subdomain) AS former_until";

/// One whose making is being undone has no route any more: its name is on its way to be free again, or waits for a person.
/// No such job goes forward again, so routers may forget it for good.
const IS_SHOWN: &str = "NOT (t.status = 'provisioning' AND EXISTS
    (SELECT FROM jobs j
     WHERE j.tenant_id = t.id AND j.kind = 'create_tenant'
       AND (j.status IN ('undoing', 'undone', 'abandoned')
            OR j.status = 'stuck'
               AND EXISTS (SELECT FROM job_steps s WHERE s.job_id = j.id AND s.status = 'undoing'))))";

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
            weight: weight_of(row)?,
            former: former_of(row)?,
        })
    }
}

fn former_of(row: &Row) -> Result<Vec<FormerName>> {
    let (names, until): (Vec<&str>, Vec<OffsetDateTime>) = (row.get("former"), row.get("former_until"));
    names
        .into_iter()
        .zip(until)
        .map(|(name, until)| {
            let subdomain =
                Subdomain::parse(name).map_err(|_| RegistryError::Unreadable("former subdomain"))?;
            Ok(FormerName { subdomain, until })
        })
        .collect()
}

/// A tenant's weight, which the table keeps within 1 and 100.
pub(crate) fn weight_of(row: &Row) -> Result<u8> {
    u8::try_from(row.get::<_, i16>("weight")).map_err(|_| RegistryError::Unreadable("tenant's weight"))
}

impl Registry {
    /// All routes, and the clock value they were read at. One that can't be read is left out, and logged; so is, without a
    /// word, one whose making is being undone.
    ///
    /// # Errors
    /// The registry.
    pub async fn routes_snapshot(&self) -> Result<(i64, Vec<RouteRow>)> {
        let mut client = self.client().await?;
        // One snapshot for both statements: a change is either in the rows or after the clock.
        let txn = client.snapshot().await?;
        let clock = txn.query_one("SELECT value FROM route_clock", &[]).await?.get(0);
        let sql = ["SELECT ", COLUMNS, " FROM tenants t WHERE ", IS_SHOWN].concat();
        // Row by row: all of them at once, as the wire has them, are several times their size in memory.
        let mut rows = pin!(txn.query_raw(&sql, NOTHING).await?);
        let mut routes = Vec::new();
        while let Some(row) = rows.next().await {
            routes.extend(readable(&row?));
        }
        txn.commit().await?;
        Ok((clock, routes))
    }

    /// One tenant's route as it is now.
    ///
    /// # Errors
    /// The registry.
    pub async fn route_of(&self, tenant: TenantId) -> Result<Option<RouteRow>> {
        let sql = ["SELECT ", COLUMNS, " FROM tenants t WHERE t.id = $1 AND ", IS_SHOWN].concat();
        let row = self.client().await?.query_opt(&sql, &[&tenant.uuid()]).await?;
        row.as_ref().map(RouteRow::from_row).transpose()
    }

    /// What changed after `clock`. A route that can't be read is left as it was known, and logged.
    ///
    /// A registry that was restored and has since come as far as `clock` again can't be told from one that wasn't: who was
    /// away for longer than a few polls takes a snapshot.
    ///
    /// # Errors
    /// The registry.
    pub async fn routes_since(&self, clock: i64) -> Result<RouteChanges> {
        let client = self.client().await?;
        // One statement, so one moment: what the clock says, and what the log has up to there.
        let rows = client
            .query(
                &[
                    "SELECT now_at.value, now_at.first, log.tenant_id,
                        greatest(0, extract(epoch FROM clock_timestamp() - log.changed_at))::float8 AS age, ",
                    COLUMNS,
                    "
                 FROM (SELECT value, (SELECT min(clock) FROM route_log) AS first FROM route_clock) now_at
                 LEFT JOIN (SELECT tenant_id, max(clock) AS at, max(changed_at) AS changed_at
                            FROM route_log WHERE clock > $1 GROUP BY tenant_id) log
                     ON true
                 LEFT JOIN tenants t ON t.id = log.tenant_id AND ",
                    IS_SHOWN,
                    " ORDER BY log.at",
                ]
                .concat(),
                &[&clock],
            )
            .await?;
        let head = rows.first().ok_or(RegistryError::Unreadable("route clock"))?;
        let latest: i64 = head.get("value");
        if is_gap(clock, latest, head.get("first")) {
            return Ok(RouteChanges::Gap);
        }
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some(tenant) = row.get::<_, Option<Uuid>>("tenant_id").map(TenantId::from) else { continue };
            let route = match row.get::<_, Option<Uuid>>("id") {
                None => None,
                Some(_) => match readable(row) {
                    Some(route) => Some(route),
                    None => continue,
                },
            };
            let age = Duration::try_from_secs_f64(row.get("age")).unwrap_or_default();
            changes.push(RouteChange { tenant, route, age });
        }
        Ok(RouteChanges::Since { clock: latest, changes })
    }

    /// The value of the route clock: how many changes of routes there were.
    ///
    /// # Errors
    /// The registry.
    pub async fn route_clock(&self) -> Result<i64> {
        Ok(self.client().await?.query_one("SELECT value FROM route_clock", &[]).await?.get(0))
    }

    /// Forgets changes older than `keep`, and says how many. A router that was away for longer meets a
    /// [`RouteChanges::Gap`].
    ///
    /// # Errors
    /// The registry.
    pub async fn route_log_prune(&self, keep: Duration) -> Result<u64> {
        // Whole beginnings only. Times follow the clock but for transactions that waited for it.
        let pruned = self
            .client()
            .await?
            .execute(
                "DELETE FROM route_log WHERE clock <=
                     (SELECT max(clock) FROM route_log WHERE changed_at < now() - make_interval(secs => $1))",
                &[&keep.as_secs_f64()],
            )
            .await?;
        Ok(pruned)
    }
}

/// A route, unless its row can't be read: one tenant's trouble, which must not keep news of the others.
fn readable(row: &Row) -> Option<RouteRow> {
    RouteRow::from_row(row)
        .inspect_err(|error| {
            let tenant = TenantId::from(row.get::<_, Uuid>("id"));
            tracing::error!(%tenant, %error, "a tenant's route can't be read: it is served as it was known, if it was");
        })
        .ok()
}

/// Whether changes after `known` are missing from a log that begins at `first`, when the clock says `latest`. The log has
/// every value from its first to the latest.
fn is_gap(known: i64, latest: i64, first: Option<i64>) -> bool {
    known > latest || (known < latest && first.is_none_or(|first| first > known + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_does_not_reach_back_is_told_from_one_that_does() {
        for (known, latest, first, gap) in [
            (0, 0, None, false),
            (5, 5, None, false),
            (5, 5, Some(9), false),
            (4, 5, Some(5), false),
            (3, 5, Some(5), true),
            (4, 5, None, true),
            (0, 5, Some(1), false),
            (6, 5, Some(1), true),
            (6, 0, None, true),
        ] {
            assert_eq!(is_gap(known, latest, first), gap, "{known} {latest} {first:?}");
        }
    }
}
