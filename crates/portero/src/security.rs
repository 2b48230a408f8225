//! Writes down in the audit log what the doors refused: a task of its own, so that no request waits for the registry.

use portero_control::Actor;
use portero_edge::{Edge, Sighted};
use portero_registry::{Entry, Outcome, Registry};
use serde_json::json;
use std::time::Duration;
use tokio::{sync::watch, time::sleep};

/// How often the task looks.
const LOOK: Duration = Duration::from_secs(1);

/// Until the process stops. What can't be written while the registry is away is kept, as numbers, until it is back.
pub(crate) async fn write_down(
    edge: actix_web::web::Data<Edge>,
    registry: Registry,
    mut stopping: watch::Receiver<bool>,
) {
    let mut last = false;
    while !last {
        tokio::select! {
            _ = stopping.changed() => last = true,
            () = sleep(LOOK) => {}
        }
        for sighted in edge.sightings.take(last) {
            if let Err(error) = registry.audit_append(&entry(&sighted)).await {
                tracing::debug!(error = %error, "a refusal is not written down yet");
                edge.sightings.give_back(&sighted);
            }
        }
    }
}

fn entry(sighted: &Sighted) -> Entry {
    let mut details = json!({ "count": sighted.count });
    if let Some(tenant) = sighted.token_of {
        details["token_of"] = json!(tenant);
    }
    Entry {
        actor: Actor::Outsider { address: sighted.address },
        verb: sighted.sight.verb(),
        outcome: Outcome::Refused,
        tenant: sighted.tenant,
        subdomain: None,
        details,
    }
}
