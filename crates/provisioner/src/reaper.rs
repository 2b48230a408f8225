//! Purges what was deleted and whose grace is over, unasked: one tenant at a time, and never more in a day than may be
//! deleted in one. Forgets names whose quarantine is over.

use crate::workflows::purge_tenant;
use portero_kernel::JobId;
use portero_registry::{Actor, Entry, Outcome, Registry, RegistryError, Verb};
use std::time::Duration;
use tokio::sync::watch;

/// How often it looks. What it looks for is due by the day.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Looks until told to stop. Workers do what it writes down.
pub async fn reap(registry: Registry, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let round = async {
            // The registry may be away, or not migrated yet: that is said elsewhere.
            if let Err(error) = look(&registry).await {
                tracing::debug!(%error, "nothing can be purged now");
            }
            tokio::time::sleep(LOOK_EVERY).await;
        };
        // It may be waiting for somebody who holds a tenant's lock.
        tokio::select! {
            _ = stop.changed() => {}
            () = round => {}
        }
    }
}

async fn look(registry: &Registry) -> Result<(), RegistryError> {
    registry.former_subdomains_prune().await?;
    let Some(tenant) = registry.purge_due(purge_tenant::KIND).await? else { return Ok(()) };
    let lock = registry.tenant_lock(tenant).await?;
    let job = JobId::generate();
    // It may have been brought back before the lock was had.
    let still_due = registry.purge_due(purge_tenant::KIND).await? == Some(tenant);
    let noting = registry.noting(Entry {
        actor: Actor::System { task: "reaper" },
        verb: Verb::TenantPurge,
        outcome: Outcome::Done,
        tenant: Some(tenant),
        subdomain: None,
        details: serde_json::json!({ "before_grace": false }),
    });
    if still_due && purge_tenant::begin(&noting, job, tenant).await? {
        tracing::info!(%tenant, %job, "the grace of a deleted tenant is over: it is being purged");
    }
    lock.close().await;
    Ok(())
}
