//! What can be mended without a person's judgement: a fence, and what nobody has had for an hour.
//!
//! Everything is looked at again right before it is changed. A missing database is never made again: an empty one in its
//! place would hide the loss.

use crate::{
    Control, TenantError,
    reconcile::{Finding, Kind},
};
use portero_kernel::{DatabaseName, RoleName, Subdomain, TenantId};
use portero_provisioner::{ServerError, fence, orphans};
use portero_registry::{RegistryError, ServerRow, TenantStatus, registries_with};
use std::time::Duration;
use time::OffsetDateTime;

/// How long requests of a tenant whose door should be shut may go on.
const DRAIN: Duration = Duration::from_secs(5);
/// What is younger may belong to something that is still under way somewhere.
const AGE: Duration = Duration::from_secs(3600);
/// More orphans than this, or than a hundredth of the tenants, are dropped by nobody at once: after a restore of an older
/// registry, every company that came later looks like one.
const MOST: usize = 5;

/// What can be done about a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Shut the role out.
    RaiseFence,
    /// Let the role in.
    LowerFence,
    /// Drop the database or role. Its data is lost.
    Drop,
}

impl Remedy {
    /// Whether nothing brings back what it does away with.
    #[must_use]
    pub const fn destroys(self) -> bool {
        matches!(self, Self::Drop)
    }
}

/// Why a finding was not mended.
#[derive(Debug, thiserror::Error)]
pub enum MendError {
    /// Not of a kind that is mended by itself.
    #[error("this takes a person: {0}")]
    Person(&'static str),
    /// It has changed since it was found.
    #[error("it has changed meanwhile: look again")]
    Changed,
    /// It may still be in the making.
    #[error("it is younger than an hour: look again later")]
    Young,
    /// Too many at once for anybody to be sure.
    #[error(
        "{found} are more than the {most} that are dropped at once: a registry that was restored from an old backup looks like this. Drop them one by one, or restore a newer one"
    )]
    TooMany {
        /// How many there are.
        found: usize,
        /// How many may be dropped.
        most: usize,
    },
    /// Another registry on the same server has it.
    #[error("it belongs to the registry in the database {0} of the same server")]
    AnotherRegistry(String),
    /// The tenant.
    #[error(transparent)]
    Tenant(#[from] TenantError),
    /// The registry.
    #[error("the registry doesn't answer")]
    Registry(#[from] RegistryError),
    /// The server.
    #[error("the server doesn't do it")]
    Server(#[from] ServerError),
}

impl Finding {
    /// What can be done about it without a person's judgement.
    #[must_use]
    pub const fn remedy(&self) -> Option<Remedy> {
        match self.kind {
            Kind::OpenFence => Some(Remedy::RaiseFence),
            Kind::ShutFence => Some(Remedy::LowerFence),
            Kind::OrphanDatabase | Kind::OrphanRole => Some(Remedy::Drop),
            _ => None,
        }
    }
}

impl Control {
    /// How many orphans may be dropped at once, if that is fewer than there are.
    ///
    /// # Errors
    /// [`MendError::TooMany`], or the registry.
    pub async fn check_orphans_are_few(&self, found: &[Finding]) -> Result<(), MendError> {
        let orphans = |kind| found.iter().filter(|finding| finding.kind == kind).count();
        let found = orphans(Kind::OrphanDatabase).max(orphans(Kind::OrphanRole));
        let tenants: i64 = self.registry.tenants_by_status().await?.iter().map(|(_, count)| count).sum();
        let most = MOST.max(usize::try_from(tenants / 100).unwrap_or(MOST));
        if found > most { Err(MendError::TooMany { found, most }) } else { Ok(()) }
    }

    pub(crate) async fn do_mend(&self, finding: &Finding) -> Result<(), MendError> {
        let remedy = finding.remedy().ok_or(MendError::Person(finding.kind.advice()))?;
        match (remedy, finding.tenant()) {
            (Remedy::Drop, _) => self.drop_orphan(finding).await,
            (Remedy::RaiseFence | Remedy::LowerFence, None) => Err(MendError::Changed),
            (Remedy::RaiseFence | Remedy::LowerFence, Some(tenant)) => self.set_fence(&tenant, remedy).await,
        }?;
        tracing::info!(
            server = finding.server,
            kind = finding.kind.code(),
            object = finding.object,
            "mended"
        );
        Ok(())
    }

    /// As the registry says now, with nobody else changing it.
    async fn set_fence(&self, subdomain: &Subdomain, remedy: Remedy) -> Result<(), MendError> {
        let (tenant, lock) = self.find_and_lock(subdomain).await?;
        let admin = self.admin_of(&tenant).await?;
        match (remedy, tenant.status == TenantStatus::Active) {
            (Remedy::RaiseFence, false) => {
                fence::raise(&admin, &RoleName::from(&tenant.database), DRAIN).await?;
            }
            (Remedy::LowerFence, true) => {
                let login = self.registry.tenant_login(tenant.id).await?;
                fence::lower(&admin, tenant.id, &login.ok_or(MendError::Changed)?).await?;
            }
            _ => return Err(MendError::Changed),
        }
        lock.close().await;
        Ok(())
    }

    async fn drop_orphan(&self, finding: &Finding) -> Result<(), MendError> {
        let database: DatabaseName =
            finding.object.parse().map_err(|_| MendError::Person(finding.kind.advice()))?;
        let tenant = finding.tenant_id.ok_or(MendError::Person(finding.kind.advice()))?;
        if !is_older_than(tenant, AGE, OffsetDateTime::now_utc()) {
            return Err(MendError::Young);
        }
        let server = self.registry.server_by_name(&finding.server).await?.ok_or(MendError::Changed)?;
        self.check_nobody_has(&server, &database, tenant).await?;
        let dropped = match finding.kind {
            Kind::OrphanRole => orphans::drop_role(&server.admin, &RoleName::from(&database), tenant).await?,
            _ => orphans::drop_database(&server.admin, &database, tenant).await?,
        };
        if dropped { Ok(()) } else { Err(MendError::Changed) }
    }

    async fn check_nobody_has(
        &self,
        server: &ServerRow,
        database: &DatabaseName,
        tenant: TenantId,
    ) -> Result<(), MendError> {
        let holdings = self.registry.holdings().await?;
        let here = |holding: &&portero_registry::HoldingRow| holding.server == server.id;
        if holdings
            .iter()
            .filter(here)
            .any(|holding| holding.database == *database || holding.tenant == tenant)
        {
            return Err(MendError::Changed);
        }
        let others = registries_with(&server.admin, tenant).await.map_err(ServerError::from)?;
        others.into_iter().next().map_or(Ok(()), |name| Err(MendError::AnotherRegistry(name)))
    }
}

/// Whether a tenant's id was made longer ago than this. Ids tell when they were made; one that doesn't was not made here.
fn is_older_than(tenant: TenantId, age: Duration, now: OffsetDateTime) -> bool {
    let made = tenant.uuid().get_timestamp().and_then(|at| i64::try_from(at.to_unix().0).ok());
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    made.is_some_and(|made| now.unix_timestamp().saturating_sub(made) >= age)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn an_id_tells_how_old_it_is_and_one_that_does_not_is_left_alone() {
        let (now, hour) = (OffsetDateTime::now_utc(), Duration::from_secs(3600));
        let young = TenantId::generate();
        assert!(!is_older_than(young, hour, now));
        assert!(is_older_than(young, hour, now + Duration::from_secs(3601)));
        assert!(!is_older_than(young, hour, now - Duration::from_secs(86_400)));
        let timeless = TenantId::from(Uuid::from_u128(0x1234_5678_1234_4678_9234_5678_1234_5678));
        assert!(!is_older_than(timeless, hour, now + Duration::from_secs(1_000_000)));
    }
}
