//! Names that were given up, and the end of a tenant: deleted with its data kept for a while, then purged, of which a
//! tombstone is left. Who may change what, and in which order, is said by `control` and by the purge's workflow.

use crate::{
    Lease, NewJob, Registry, RegistryError, Result, TenantStatus, Verb,
    connection::Transaction,
    names::{NameFor, name_check_in_txn, name_lock_in_txn},
    route_changed_in_txn,
};
use portero_kernel::{DatabaseName, JobId, ServerId, Subdomain, TenantId};
use portero_pg::{lock_key, violated_constraint};
use time::OffsetDateTime;
use tokio_postgres::Row;
use uuid::Uuid;

/// For how many days a deleted tenant's data is kept.
pub const GRACE_DAYS: i32 = 30;
/// For how many days a name that was given up leads on to the new one.
pub const REDIRECT_DAYS: i32 = 30;
/// For how many days after that, or after a purge, nobody else may have the name.
pub const QUARANTINE_DAYS: i32 = 90;

/// How many tenants may be deleted in 24 hours, where there are so many: 1 %, and five at least. It is the last thing
/// between a mistaken list and everybody's data, so there is no way around it.
#[must_use]
pub const fn daily_cap(tenants: i64) -> i64 {
    if tenants > 500 { tenants / 100 } else { 5 }
}

/// A subdomain that was given up.
#[derive(Debug, Clone)]
pub struct FormerSubdomain {
    /// The name.
    pub subdomain: Subdomain,
    /// Who had it, and may take it up again.
    pub tenant: TenantId,
    /// Since when it is given up.
    pub given_up_at: OffsetDateTime,
    /// Until when it leads on to the tenant's present name.
    pub redirects_until: OffsetDateTime,
    /// Until when nobody else may have it.
    pub quarantined_until: OffsetDateTime,
}

/// What is left of a purged tenant.
#[derive(Debug, Clone)]
pub struct Tombstone {
    /// Who it was.
    pub tenant: TenantId,
    /// What its database and role were called.
    pub database: DatabaseName,
    /// Where they were.
    pub server: ServerId,
    /// The job that purged it.
    pub job: JobId,
    /// When it was deleted.
    pub deleted_at: OffsetDateTime,
    /// When it was purged.
    pub purged_at: OffsetDateTime,
    /// Until when nobody may have its last name.
    pub quarantined_until: OffsetDateTime,
}

/// How many tenants were deleted in the last 24 hours and not brought back, and how many may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletions {
    /// Deleted.
    pub recent: i64,
    /// Allowed.
    pub cap: i64,
}

/// What the registry itself still has of a purged tenant. All of it should be nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remains {
    /// Rows among the tenants.
    pub rows: i64,
    /// Secrets that jobs for it keep.
    pub secrets: i64,
    /// Names that still lead to it.
    pub redirects: i64,
}

const FORMER: &str = "subdomain, tenant_id, given_up_at, redirects_until, quarantined_until";

impl FormerSubdomain {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            subdomain: Subdomain::parse(row.get("subdomain"))
                .map_err(|_| RegistryError::Unreadable("former subdomain"))?,
            tenant: TenantId::from(row.get::<_, Uuid>("tenant_id")),
            given_up_at: row.get("given_up_at"),
            redirects_until: row.get("redirects_until"),
            quarantined_until: row.get("quarantined_until"),
        })
    }
}

impl Registry {
    /// A name that was given up and may not be had by others yet.
    ///
    /// # Errors
    /// The registry.
    pub async fn former_subdomain(&self, subdomain: &Subdomain) -> Result<Option<FormerSubdomain>> {
        let sql =
            ["SELECT ", FORMER, " FROM former_subdomains WHERE subdomain = $1 AND quarantined_until > now()"]
                .concat();
        let row = self.client().await?.query_opt(&sql, &[&subdomain.as_str()]).await?;
        row.as_ref().map(FormerSubdomain::from_row).transpose()
    }

    /// The names that these tenants gave up and others may not have yet, by name.
    ///
    /// # Errors
    /// The registry.
    pub async fn former_subdomains_of(&self, tenants: &[TenantId]) -> Result<Vec<FormerSubdomain>> {
        let ids: Vec<Uuid> = tenants.iter().map(|id| id.uuid()).collect();
        let sql = [
            "SELECT ",
            FORMER,
            " FROM former_subdomains WHERE tenant_id = ANY ($1) AND quarantined_until > now() ORDER BY subdomain",
        ]
        .concat();
        let rows = self.client().await?.query(&sql, &[&ids]).await?;
        rows.iter().map(FormerSubdomain::from_row).collect()
    }

    /// Forgets names whose quarantine is over; says how many.
    ///
    /// # Errors
    /// The registry.
    pub async fn former_subdomains_prune(&self) -> Result<u64> {
        let sql = "DELETE FROM former_subdomains WHERE quarantined_until < now()";
        Ok(self.client().await?.execute(sql, &[]).await?)
    }

    /// Gives a tenant another subdomain, and its old one up; returns the clock value of that, and nothing where it was
    /// not there to be renamed.
    ///
    /// # Errors
    /// [`RegistryError::SubdomainTaken`] where another has the name, it is held for another, or another gave it up not long
    /// enough ago; [`RegistryError::LookAlike`] where it reads like such a name and `look_alikes` are not let pass.
    pub async fn tenant_rename(
        &self,
        id: TenantId,
        from: &Subdomain,
        to: &Subdomain,
        look_alikes: bool,
    ) -> Result<Option<i64>> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        name_lock_in_txn(&txn, to).await?;
        name_check_in_txn(&txn, to, look_alikes, NameFor::Tenant(id)).await?;
        let renamed = txn
            .execute(
                "UPDATE tenants SET subdomain = $3
                 WHERE id = $1 AND subdomain = $2 AND status IN ('active', 'paused')",
                &[&id.uuid(), &from.as_str(), &to.as_str()],
            )
            .await
            .map_err(|error| match violated_constraint(&error) {
                Some("tenants_subdomain_key") => RegistryError::SubdomainTaken,
                _ => error.into(),
            })?;
        if renamed != 1 {
            return Ok(None);
        }
        txn.execute(
            "INSERT INTO former_subdomains (subdomain, tenant_id, redirects_until, quarantined_until)
             VALUES ($1, $2, now() + make_interval(days => $3), now() + make_interval(days => $3 + $4))",
            &[&from.as_str(), &id.uuid(), &REDIRECT_DAYS, &QUARANTINE_DAYS],
        )
        .await?;
        let clock = route_changed_in_txn(&txn, id).await?;
        self.note_in_txn(&txn, Some(id)).await?;
        txn.commit().await?;
        Ok(Some(clock))
    }

    /// How many tenants were deleted lately, and how many may be.
    ///
    /// # Errors
    /// The registry.
    pub async fn deletions(&self) -> Result<Deletions> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        deletions_in_txn(&txn).await
    }

    /// Shuts a tenant's door for good, unless it is brought back: the first half of a deletion, before its fence is up.
    /// Returns the clock value of that, and nothing where it was not there to be deleted.
    ///
    /// # Errors
    /// [`RegistryError::TooManyDeletions`], whoever else deletes at the same time.
    pub async fn tenant_set_deleting(&self, id: TenantId) -> Result<Option<i64>> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        txn.execute("SELECT pg_advisory_xact_lock($1)", &[&lock_key("portero.deletions")]).await?;
        let Deletions { recent, cap } = deletions_in_txn(&txn).await?;
        if recent >= cap {
            return Err(RegistryError::TooManyDeletions);
        }
        let changed = txn
            .execute(
                "UPDATE tenants SET status = 'deleting', undelete_to = status, deleted_at = now(),
                        purge_after = now() + make_interval(days => $2)
                 WHERE id = $1 AND status IN ('active', 'paused')",
                &[&id.uuid(), &GRACE_DAYS],
            )
            .await?;
        if changed != 1 {
            return Ok(None);
        }
        let clock = route_changed_in_txn(&txn, id).await?;
        self.note_in_txn(&txn, Some(id)).await?;
        txn.commit().await?;
        Ok(Some(clock))
    }

    /// The second half of a deletion: the fence is up. Repeating it changes nothing.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_set_deleted(&self, id: TenantId) -> Result<()> {
        let sql = "UPDATE tenants SET status = 'deleted' WHERE id = $1 AND status = 'deleting'";
        self.client().await?.execute(sql, &[&id.uuid()]).await?;
        Ok(())
    }

    /// Brings a deleted tenant back in the state that it had; returns the clock value of that, and nothing where it was
    /// not there to be brought back.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_undelete(&self, id: TenantId) -> Result<Option<i64>> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let changed = txn
            .execute(
                "UPDATE tenants SET status = undelete_to, undelete_to = NULL, deleted_at = NULL, purge_after = NULL
                 WHERE id = $1 AND status IN ('deleting', 'deleted')",
                &[&id.uuid()],
            )
            .await?;
        if changed != 1 {
            return Ok(None);
        }
        let clock = route_changed_in_txn(&txn, id).await?;
        self.note_in_txn(&txn, Some(id)).await?;
        txn.commit().await?;
        Ok(Some(clock))
    }

    /// Writes the job that purges a deleted tenant, and that there is no way back, in one transaction. Says whether it was
    /// there to be purged. To be called with the tenant's lock held: whoever brings it back looks first, and holds that.
    ///
    /// # Errors
    /// [`RegistryError::JobOpen`] where another job for it is not at rest.
    pub async fn purge_insert(&self, job: &NewJob<'_>, tenant: TenantId) -> Result<bool> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        let row = txn
            .query_opt(
                "UPDATE tenants SET status = 'purging' WHERE id = $1 AND status IN ('deleting', 'deleted', 'purging')
                 RETURNING subdomain",
                &[&tenant.uuid()],
            )
            .await?;
        let Some(row) = row else { return Ok(false) };
        let subdomain =
            Subdomain::parse(row.get("subdomain")).map_err(|_| RegistryError::Unreadable("subdomain"))?;
        self.job_insert_in_txn(&txn, job, tenant, &subdomain).await?;
        self.note_in_txn(&txn, Some(tenant)).await?;
        txn.commit().await?;
        Ok(true)
    }

    /// The job that purges this tenant, or did, by its kind: the newest.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_of_tenant(&self, tenant: TenantId, kind: &str) -> Result<Option<JobId>> {
        let sql =
            "SELECT id FROM jobs WHERE tenant_id = $1 AND kind = $2 ORDER BY created_at DESC, id LIMIT 1";
        let row = self.client().await?.query_opt(sql, &[&tenant.uuid(), &kind]).await?;
        Ok(row.map(|row| JobId::from(row.get::<_, Uuid>(0))))
    }

    /// The deleted tenant whose grace has been over for longest, if one may be purged without being asked: no other is
    /// being purged, and fewer than the cap were in the last 24 hours.
    ///
    /// # Errors
    /// The registry.
    pub async fn purge_due(&self, kind: &str) -> Result<Option<TenantId>> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT (SELECT id FROM tenants WHERE status IN ('deleting', 'deleted') AND purge_after < now()
                         ORDER BY purge_after LIMIT 1) AS due,
                        EXISTS (SELECT FROM jobs WHERE kind = $1 AND status IN ('running', 'undoing')) AS busy,
                        (SELECT count(*) FROM tombstones WHERE purged_at > now() - interval '1 day') AS recent,
                        (SELECT count(*) FROM tenants) AS tenants",
                &[&kind],
            )
            .await?;
        let may = !row.get::<_, bool>("busy")
            && row.get::<_, i64>("recent") < daily_cap(row.get::<_, i64>("tenants"));
        Ok(row.get::<_, Option<Uuid>>("due").filter(|_| may).map(TenantId::from))
    }

    /// Puts a tombstone in a tenant's place: its row, its route, its login and what its jobs
    /// kept secret are gone, its name is in quarantine, and
    /// no name leads to it. Repeating it changes nothing. Its database must be gone.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] where another worker has the job.
    pub async fn tenant_bury(&self, id: TenantId, lease: &Lease) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lease.check_in_txn(&txn).await?;
        let buried = txn
            .execute(
                "INSERT INTO tombstones (tenant_id, db_name, server_id, job_id, deleted_at, quarantined_until)
                 SELECT id, db_name, server_id, $2, deleted_at, now() + make_interval(days => $3)
                 FROM tenants WHERE id = $1 AND status = 'purging'",
                &[&id.uuid(), &lease.job().uuid(), &QUARANTINE_DAYS],
            )
            .await?;
        if buried == 1 {
            txn.execute(
                "UPDATE former_subdomains SET redirects_until = least(redirects_until, now()) WHERE tenant_id = $1",
                &[&id.uuid()],
            )
            .await?;
            txn.execute(
                "INSERT INTO former_subdomains (subdomain, tenant_id, redirects_until, quarantined_until)
                 SELECT subdomain, id, now(), now() + make_interval(days => $2) FROM tenants WHERE id = $1",
                &[&id.uuid(), &QUARANTINE_DAYS],
            )
            .await?;
            txn.execute(
                "UPDATE jobs SET secret = NULL, claim = NULL WHERE tenant_id = $1 AND id <> $2",
                &[&id.uuid(), &lease.job().uuid()],
            )
            .await?;
            let sql = "DELETE FROM tenants WHERE id = $1 RETURNING subdomain";
            let subdomain = txn.query_one(sql, &[&id.uuid()]).await?.get(0);
            route_changed_in_txn(&txn, id).await?;
            self.note_end_in_txn(&txn, Verb::TenantPurged, id, subdomain).await?;
        }
        txn.commit().await?;
        Ok(())
    }

    /// What is left of a purged tenant.
    ///
    /// # Errors
    /// The registry.
    pub async fn tombstone(&self, tenant: TenantId) -> Result<Option<Tombstone>> {
        let row = self
            .client()
            .await?
            .query_opt(
                "SELECT tenant_id, db_name, server_id, job_id, deleted_at, purged_at, quarantined_until
                 FROM tombstones WHERE tenant_id = $1",
                &[&tenant.uuid()],
            )
            .await?;
        row.map(|row| {
            Ok(Tombstone {
                tenant: TenantId::from(row.get::<_, Uuid>("tenant_id")),
                database: row
                    .get::<_, &str>("db_name")
                    .parse()
                    .map_err(|_| RegistryError::Unreadable("database's name"))?,
                server: ServerId::from(row.get::<_, Uuid>("server_id")),
                job: JobId::from(row.get::<_, Uuid>("job_id")),
                deleted_at: row.get("deleted_at"),
                purged_at: row.get("purged_at"),
                quarantined_until: row.get("quarantined_until"),
            })
        })
        .transpose()
    }

    /// What there still is of a tenant, here.
    ///
    /// # Errors
    /// The registry.
    pub async fn tenant_remains(&self, tenant: TenantId) -> Result<Remains> {
        let row = self
            .client()
            .await?
            .query_one(
                "SELECT (SELECT count(*) FROM tenants WHERE id = $1) AS rows,
                        (SELECT count(*) FROM jobs WHERE tenant_id = $1 AND (secret IS NOT NULL OR claim IS NOT NULL)) AS secrets,
                        (SELECT count(*) FROM former_subdomains WHERE tenant_id = $1 AND redirects_until > now()) AS redirects",
                &[&tenant.uuid()],
            )
            .await?;
        Ok(Remains { rows: row.get("rows"), secrets: row.get("secrets"), redirects: row.get("redirects") })
    }

    /// Keeps with a job what it found.
    ///
    /// # Errors
    /// [`RegistryError::LeaseLost`] where another worker has the job.
    pub async fn job_set_report(&self, lease: &Lease, report: &serde_json::Value) -> Result<()> {
        let mut client = self.client().await?;
        let txn = client.transaction().await?;
        lease.check_in_txn(&txn).await?;
        let sql = "UPDATE jobs SET report = $2 WHERE id = $1";
        txn.execute(sql, &[&lease.job().uuid(), report]).await?;
        txn.commit().await?;
        Ok(())
    }

    /// What a job found, if it kept anything.
    ///
    /// # Errors
    /// The registry.
    pub async fn job_report(&self, job: JobId) -> Result<Option<serde_json::Value>> {
        let sql = "SELECT report FROM jobs WHERE id = $1";
        let row = self.client().await?.query_opt(sql, &[&job.uuid()]).await?;
        Ok(row.and_then(|row| row.get(0)))
    }
}

async fn deletions_in_txn(txn: &Transaction<'_>) -> Result<Deletions> {
    let row = txn
        .query_one(
            "SELECT (SELECT count(*) FROM tenants WHERE deleted_at > now() - interval '1 day')
                        + (SELECT count(*) FROM tombstones WHERE deleted_at > now() - interval '1 day') AS recent,
                    (SELECT count(*) FROM tenants) AS tenants",
            &[],
        )
        .await?;
    Ok(Deletions { recent: row.get("recent"), cap: daily_cap(row.get("tenants")) })
}

impl TenantStatus {
    /// Whether its door is shut for good, unless it is brought back.
    #[must_use]
    pub const fn is_deleted(self) -> bool {
        matches!(self, Self::Deleting | Self::Deleted | Self::Purging)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_may_be_deleted_in_a_day_and_five_at_least() {
        for (tenants, cap) in [(0, 5), (5, 5), (500, 5), (599, 5), (600, 6), (10_000, 100)] {
            assert_eq!(daily_cap(tenants), cap, "{tenants}");
        }
    }
}
