//! Drift of tenants: which of them have a database that is not as migrations make it.

use crate::{Control, TenantError};
use portero_kernel::{SchemaVersion, Subdomain, with_causes};
use portero_pg::Migrations;
use portero_provisioner::fleet::{Difference, References, Way};
use portero_registry::{HoldingRow, Registry, TenantStatus};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tokio::{sync::Semaphore, task::JoinSet, time::sleep};

/// Tenants that are looked at at the same time on one server: each takes a connection of those that no tenant gets.
const AT_ONCE: usize = 4;
/// Where the registry says another version than the history, both are read again after this: a migration may be under way.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a tenant's database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftState {
    /// As migrations make it.
    Same,
    /// Otherwise.
    Drifted,
    /// Nobody could look.
    Failed,
    /// It is being made or removed: there is nothing to hold against anything.
    Skipped,
}

/// How a tenant's database is, beside its own version.
#[derive(Debug, Clone, Serialize)]
pub struct TenantDrift {
    /// Its subdomain.
    pub subdomain: String,
    /// The name of its server.
    pub server: String,
    /// How it is.
    pub state: DriftState,
    /// The version that its own history says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<SchemaVersion>,
    /// What differs.
    pub differences: Vec<DifferenceView>,
    /// Why nobody could look, or why it was passed over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A difference, also in words.
#[derive(Debug, Clone, Serialize)]
pub struct DifferenceView {
    /// What and how.
    #[serde(flatten)]
    pub difference: Difference,
    /// The same in words.
    pub told: String,
}

impl From<Difference> for DifferenceView {
    fn from(difference: Difference) -> Self {
        Self { told: difference.told(), difference }
    }
}

/// How all of them are.
#[derive(Debug, Clone, Serialize)]
pub struct DriftReport {
    /// Each, by subdomain.
    pub tenants: Vec<TenantDrift>,
}

impl DriftReport {
    /// How many are in this state.
    #[must_use]
    pub fn count(&self, state: DriftState) -> usize {
        self.tenants.iter().filter(|tenant| tenant.state == state).count()
    }
}

impl Control {
    /// Holds every tenant's database, or those of these tenants, against what the migrations of its own version make. Nothing
    /// is changed.
    ///
    /// # Errors
    /// [`TenantError::NotFound`] for a name that is nobody's, and the registry. A tenant that can't be looked at is no error.
    pub async fn drift(&self, set: &Migrations, only: &[Subdomain]) -> Result<DriftReport, TenantError> {
        let mut holdings = self.registry.holdings().await?;
        if let Some(unknown) =
            only.iter().find(|name| !holdings.iter().any(|holding| holding.subdomain == **name))
        {
            return Err(TenantError::NotFound(unknown.clone()));
        }
        holdings.retain(|holding| only.is_empty() || only.contains(&holding.subdomain));
        let mut tasks = JoinSet::new();
        for server in self.registry.servers().await? {
            let (turns, name) = (Arc::new(Semaphore::new(AT_ONCE)), server.name.clone());
            let here =
                holdings.iter().filter(|holding| holding.server == server.id).cloned().collect::<Vec<_>>();
            let references = Arc::new(References::new(server, set.clone()));
            for holding in here {
                let (turns, references, name) = (Arc::clone(&turns), Arc::clone(&references), name.clone());
                let registry = self.registry.clone();
                tasks.spawn(async move {
                    let _turn = turns.acquire().await;
                    look(&registry, &references, holding, name).await
                });
            }
        }
        let mut tenants = tasks.join_all().await;
        tenants.sort_by(|a, b| a.subdomain.cmp(&b.subdomain));
        Ok(DriftReport { tenants })
    }
}

async fn look(
    registry: &Registry,
    references: &References,
    mut holding: HoldingRow,
    server: String,
) -> TenantDrift {
    let mut tenant = TenantDrift {
        subdomain: holding.subdomain.to_string(),
        server,
        state: DriftState::Skipped,
        version: None,
        differences: Vec::new(),
        reason: None,
    };
    let in_flux = matches!(holding.status, TenantStatus::Provisioning | TenantStatus::Purging);
    if in_flux || holding.has_job {
        let status = if in_flux { holding.status.as_str() } else { "worked on by a job" };
        tenant.reason = Some(format!("it is {status}"));
        return tenant;
    }
    let mut checked = references.check(&holding.database).await;
    if checked.as_ref().is_ok_and(|drift| drift.version != holding.schema_version) {
        sleep(LOOK_AGAIN).await;
        if let Ok(Some(place)) = registry.migration_place(holding.tenant).await {
            holding.schema_version = place.version;
        }
        checked = references.check(&holding.database).await;
    }
    match checked {
        Ok(drift) => {
            tenant.version = Some(drift.version);
            let mut differences = drift.differences;
            if drift.version != holding.schema_version {
                differences.push(Difference {
                    what: "its history".to_owned(),
                    way: Way::Different,
                    aspect: Some("newest version".to_owned()),
                    is: Some(drift.version.to_string()),
                    should_be: Some(format!("{}, as the registry says", holding.schema_version)),
                });
            }
            tenant.state = if differences.is_empty() { DriftState::Same } else { DriftState::Drifted };
            tenant.differences = differences.into_iter().map(Into::into).collect();
        }
        Err(error) => {
            tenant.state = DriftState::Failed;
            tenant.reason = Some(with_causes(&error));
        }
    }
    tenant
}
