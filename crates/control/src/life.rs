//! The life of a tenant beyond pause and resume: another name, its deletion, its way back, and its end.
//!
//! Each change is one transaction that the routers hear of, and what must follow it can be repeated: a command that was
//! killed on the way is finished by calling it again. Changes of one tenant exclude each other by its lock.

use crate::{Change, Control, Known, LookAlike, TenantError, signup::new_subdomain, tenants::half_shut};
use portero_kernel::{JobId, RoleName, Subdomain, TenantId};
use portero_provisioner::{fence, workflows};
use portero_registry::{FormerSubdomain, JobStatus, RegistryError, TenantRow, TenantStatus};
use serde::Serialize;
use std::{collections::BTreeSet, time::Duration};
use time::OffsetDateTime;

/// A name that a tenant gave up.
#[derive(Debug, Clone, Serialize)]
pub struct FormerNameView {
    /// The name.
    pub subdomain: String,
    /// Until when it leads on to the tenant's present one.
    #[serde(with = "time::serde::rfc3339")]
    pub redirects_until: OffsetDateTime,
    /// Until when nobody else may have it.
    #[serde(with = "time::serde::rfc3339")]
    pub quarantined_until: OffsetDateTime,
}

impl From<FormerSubdomain> for FormerNameView {
    fn from(row: FormerSubdomain) -> Self {
        Self {
            subdomain: row.subdomain.to_string(),
            redirects_until: row.redirects_until,
            quarantined_until: row.quarantined_until,
        }
    }
}

/// What is left of a purged tenant: nothing of it, and this.
#[derive(Debug, Clone, Serialize)]
pub struct PurgedView {
    /// Who it was.
    pub id: TenantId,
    /// The name that it had last.
    pub subdomain: String,
    /// When it was deleted.
    #[serde(with = "time::serde::rfc3339")]
    pub deleted_at: OffsetDateTime,
    /// When it was purged.
    #[serde(with = "time::serde::rfc3339")]
    pub purged_at: OffsetDateTime,
    /// Until when nobody may have its name.
    #[serde(with = "time::serde::rfc3339")]
    pub quarantined_until: OffsetDateTime,
    /// The job that purged it.
    pub job: JobId,
    /// What the job looked for, and where, and that it was gone.
    pub report: Option<serde_json::Value>,
}

/// Where a purge is.
#[derive(Debug, Clone)]
pub enum Purge {
    /// The job does it: [`Control::job`] tells its steps, [`Control::purged`] the end.
    Job(JobId),
    /// It was purged before.
    Done(PurgedView),
}

/// What an operator says to have a tenant purged whose data should still be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grace {
    /// Its grace must be over.
    Respect,
    /// It is given up.
    Waive,
}

impl Control {
    pub(crate) async fn do_rename(
        &self,
        subdomain: &Subdomain,
        to: &str,
        look_alike: LookAlike,
    ) -> Result<Change, TenantError> {
        let to = new_subdomain(to).map_err(|refusal| TenantError::NewName(to.to_owned(), refusal))?;
        let (tenant, lock) = match self.find_and_lock(subdomain).await {
            // It was done, and the answer lost.
            Err(TenantError::Renamed { now, .. }) if now == to => return self.nothing_new(&to).await,
            found => found?,
        };
        must_live(&tenant)?;
        if tenant.subdomain == to {
            lock.close().await;
            return self.nothing_new(&to).await;
        }
        let clock = match self
            .registry
            .tenant_rename(tenant.id, &tenant.subdomain, &to, look_alike.is_allowed())
            .await
        {
            Err(RegistryError::SubdomainTaken) => return Err(TenantError::Taken(to)),
            Err(RegistryError::LookAlike(other)) => return Err(TenantError::LookAlike(to, other)),
            renamed => renamed?.ok_or_else(|| TenantError::Changed(subdomain.clone()))?,
        };
        lock.close().await;
        tracing::info!(tenant = %tenant.id, from = %subdomain, %to, "a tenant was renamed");
        self.changed(&to, clock, 0).await
    }

    pub(crate) async fn do_delete(
        &self,
        subdomains: &[Subdomain],
        drain: Duration,
    ) -> Result<Vec<Change>, TenantError> {
        let names: BTreeSet<&Subdomain> = subdomains.iter().collect();
        let mut anew = 0;
        for subdomain in &names {
            let tenant = self.find(subdomain).await?;
            must_be_made(&tenant)?;
            anew += i64::from(!tenant.status.is_deleted());
        }
        let deletions = self.registry.deletions().await?;
        if deletions.recent + anew > deletions.cap && anew > 0 {
            return Err(TenantError::TooMany { asked: anew, recent: deletions.recent, cap: deletions.cap });
        }
        let mut changes = Vec::with_capacity(names.len());
        for subdomain in names {
            changes.push(self.delete_one(subdomain, drain).await?);
        }
        Ok(changes)
    }

    async fn delete_one(&self, subdomain: &Subdomain, drain: Duration) -> Result<Change, TenantError> {
        let (tenant, lock) = self.find_and_lock(subdomain).await?;
        let already = tenant.status == TenantStatus::Deleted;
        let clock = match tenant.status {
            TenantStatus::Purging => return Err(TenantError::Purging(subdomain.clone())),
            TenantStatus::Deleting | TenantStatus::Deleted => self.registry.route_clock().await?,
            // The routers hear it first: they let what is under way finish, and read "deleted" to everybody else.
            _ => match self.registry.tenant_set_deleting(tenant.id).await {
                Err(RegistryError::TooManyDeletions) => return Err(self.too_many().await?),
                deleted => deleted?.ok_or_else(|| TenantError::Changed(subdomain.clone()))?,
            },
        };
        let server = self.admin_of(&tenant).await?;
        let cut = fence::raise(&server, &RoleName::from(&tenant.database), drain).await;
        let cut = cut.map_err(|error| half_shut(&tenant, error))?;
        self.registry.tenant_set_deleted(tenant.id).await?;
        lock.close().await;
        if !already {
            tracing::info!(tenant = %tenant.id, %subdomain, cut, "a tenant was deleted: its data is kept for a while");
        }
        let change = self.changed(subdomain, clock, cut).await?;
        Ok(Change { already, ..change })
    }

    pub(crate) async fn do_undelete(&self, subdomain: &Subdomain) -> Result<Change, TenantError> {
        let (tenant, lock) = self.find_and_lock(subdomain).await?;
        if tenant.status == TenantStatus::Purging {
            return Err(TenantError::Purging(subdomain.clone()));
        }
        if !tenant.status.is_deleted() {
            lock.close().await;
            return self.nothing_new(subdomain).await;
        }
        if tenant.undelete_to == Some(TenantStatus::Active) {
            let server = self.admin_of(&tenant).await?;
            let login = self.registry.tenant_login(tenant.id).await?;
            let login = login.ok_or(RegistryError::Unreadable("tenant's login"))?;
            fence::lower(&server, tenant.id, &login).await?;
        }
        let clock = self.registry.tenant_undelete(tenant.id).await?;
        let clock = clock.ok_or_else(|| TenantError::Changed(subdomain.clone()))?;
        lock.close().await;
        tracing::info!(tenant = %tenant.id, %subdomain, "a deleted tenant was brought back");
        self.changed(subdomain, clock, 0).await
    }

    pub(crate) async fn do_purge(&self, subdomain: &Subdomain, grace: Grace) -> Result<Purge, TenantError> {
        let (tenant, lock) = match self.find_and_lock(subdomain).await {
            Err(TenantError::Purged { .. }) => {
                let purged = self.purged(subdomain).await?;
                return purged.map(Purge::Done).ok_or_else(|| TenantError::NotFound(subdomain.clone()));
            }
            found => found?,
        };
        match (tenant.status, tenant.purge_after) {
            // A job that is under way or stuck is told again; one that a person gave up is followed by another.
            (TenantStatus::Purging, _) => {
                let newest = self.registry.job_of_tenant(tenant.id, workflows::purge_tenant::KIND).await?;
                if let Some(job) = newest
                    && self
                        .registry
                        .job_by_id(job)
                        .await?
                        .is_some_and(|job| job.status != JobStatus::Abandoned)
                {
                    return Ok(Purge::Job(job));
                }
            }
            (status, _) if !status.is_deleted() => return Err(TenantError::NotDeleted(subdomain.clone())),
            (_, Some(until)) if grace == Grace::Respect && until > OffsetDateTime::now_utc() => {
                return Err(TenantError::InGrace { subdomain: subdomain.clone(), until: until.date() });
            }
            _ => {}
        }
        let job = JobId::generate();
        if !workflows::purge_tenant::begin(&self.registry, job, tenant.id).await? {
            return Err(TenantError::Changed(subdomain.clone()));
        }
        lock.close().await;
        tracing::info!(tenant = %tenant.id, %subdomain, %job, "a deleted tenant is being purged, by an operator's word");
        Ok(Purge::Job(job))
    }

    /// What is left of the purged tenant that had this name last, as long as the name is in quarantine.
    ///
    /// # Errors
    /// The registry.
    pub async fn purged(&self, subdomain: &Subdomain) -> Result<Option<PurgedView>, RegistryError> {
        let Some(former) = self.registry.former_subdomain(subdomain).await? else { return Ok(None) };
        let Some(stone) = self.registry.tombstone(former.tenant).await? else { return Ok(None) };
        Ok(Some(PurgedView {
            id: stone.tenant,
            subdomain: subdomain.to_string(),
            deleted_at: stone.deleted_at,
            purged_at: stone.purged_at,
            quarantined_until: former.quarantined_until,
            job: stone.job,
            report: self.registry.job_report(stone.job).await?,
        }))
    }

    /// Waits for the routers to know all that has happened so far.
    ///
    /// # Errors
    /// The registry.
    pub async fn known_by_now(&self) -> Result<Known, RegistryError> {
        let clock = self.registry.route_clock().await?;
        self.wait_until_known(clock).await
    }

    /// It is as it was asked to be.
    pub(crate) async fn nothing_new(&self, subdomain: &Subdomain) -> Result<Change, TenantError> {
        let clock = self.registry.route_clock().await?;
        let change = self.changed(subdomain, clock, 0).await?;
        Ok(Change { already: true, ..change })
    }

    async fn too_many(&self) -> Result<TenantError, RegistryError> {
        let deletions = self.registry.deletions().await?;
        Ok(TenantError::TooMany { asked: 1, recent: deletions.recent, cap: deletions.cap })
    }

    /// Why nobody has this subdomain, if somebody had it.
    pub(crate) async fn why_nobody(&self, subdomain: &Subdomain) -> Result<TenantError, RegistryError> {
        let nobody = TenantError::NotFound(subdomain.clone());
        let Some(former) = self.registry.former_subdomain(subdomain).await? else { return Ok(nobody) };
        if let Some(tenant) = self.registry.tenant_by_id(former.tenant).await? {
            return Ok(TenantError::Renamed { was: subdomain.clone(), now: tenant.subdomain });
        }
        let free = former.quarantined_until.date();
        Ok(self.registry.tombstone(former.tenant).await?.map_or(nobody, |stone| TenantError::Purged {
            subdomain: subdomain.clone(),
            at: stone.purged_at.date(),
            free,
        }))
    }
}

/// Of a deleted tenant nothing is changed but that it is.
pub(crate) fn must_live(tenant: &TenantRow) -> Result<(), TenantError> {
    match tenant.status {
        TenantStatus::Purging => Err(TenantError::Purging(tenant.subdomain.clone())),
        status if status.is_deleted() => Err(TenantError::Deleted(tenant.subdomain.clone())),
        _ => Ok(()),
    }
}

/// A tenant that is still being made can't be changed.
pub(crate) fn must_be_made(tenant: &TenantRow) -> Result<(), TenantError> {
    match tenant.status {
        TenantStatus::Provisioning => Err(TenantError::Provisioning(tenant.subdomain.clone())),
        _ => Ok(()),
    }
}
