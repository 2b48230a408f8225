//! The reconciler: holds what the registry says against what is on the servers, both ways, and says what differs.
//!
//! It looks while others work, so a single look proves nothing. A finding is what the registry says before *and* after the
//! server was asked, and what is still so a moment later, in a tenant that no job and no command is changing. What to do
//! about it is in [`Kind`]; the little that can be mended without a person's judgement is in [`mend`](self::mend).

mod compare;
mod mend;
mod rounds;
mod world;

pub use compare::{Finding, Kind};
pub use mend::{MendError, Remedy};
pub use rounds::{LastRound, Rounds};

use crate::Control;
use compare::compare;
use portero_kernel::{ServerId, with_causes};
use portero_registry::{RegistryError, ServerRow};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{task::JoinSet, time::timeout};
use world::World;

/// How long a server may take to say what is on it.
const PATIENCE: Duration = Duration::from_secs(15);
/// What differs is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What differs between the registry and the servers.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Differences {
    /// Each thing that is not as the registry says, in a fixed order.
    pub findings: Vec<Finding>,
    /// Servers that didn't answer, and why: of what is on them nothing is known.
    pub unanswered: BTreeMap<String, String>,
}

impl Differences {
    /// How many findings there are of each kind, of every kind.
    #[must_use]
    pub fn counts(&self) -> Vec<(Kind, usize)> {
        let count = |kind| self.findings.iter().filter(|finding| finding.kind == kind).count();
        Kind::ALL.iter().map(|kind| (*kind, count(*kind))).collect()
    }
}

/// One look at everything.
struct Look {
    found: BTreeSet<Finding>,
    unanswered: BTreeMap<String, String>,
}

impl Control {
    /// Compares the registry with every server: one question to each, two if something differs.
    ///
    /// # Errors
    /// The registry. A server that doesn't answer is no error: it is among the [`Differences`].
    pub async fn reconcile(&self) -> Result<Differences, RegistryError> {
        let servers = self.registry.servers().await?;
        let first = self.look(&servers).await?;
        if first.found.is_empty() {
            return Ok(Differences { findings: Vec::new(), unanswered: first.unanswered });
        }
        tokio::time::sleep(LOOK_AGAIN).await;
        let second = self.look(&servers).await?;
        let mut findings = Vec::new();
        for finding in first.found.intersection(&second.found) {
            if !self.is_being_changed(finding).await? {
                findings.push(finding.clone());
            }
        }
        let unanswered = first.unanswered.into_iter().chain(second.unanswered).collect();
        Ok(Differences { findings, unanswered })
    }

    async fn look(&self, servers: &[ServerRow]) -> Result<Look, RegistryError> {
        let before = self.registry.holdings().await?;
        let (worlds, unanswered) = worlds(servers).await;
        let after = self.registry.holdings().await?;
        let mut found = BTreeSet::new();
        for server in servers {
            let Some(world) = worlds.get(&server.id) else { continue };
            let before = compare(server, &before, world);
            found.extend(
                compare(server, &after, world).into_iter().filter(|finding| before.contains(finding)),
            );
        }
        Ok(Look { found, unanswered })
    }

    /// A pause or a rename holds the tenant's lock for as long as it takes.
    async fn is_being_changed(&self, finding: &Finding) -> Result<bool, RegistryError> {
        match finding.tenant_id {
            Some(tenant) => self.registry.tenant_is_locked(tenant).await,
            None => Ok(false),
        }
    }
}

/// What is on each server that answers, and why the others don't.
async fn worlds(servers: &[ServerRow]) -> (BTreeMap<ServerId, World>, BTreeMap<String, String>) {
    let mut asked = JoinSet::new();
    for server in servers {
        let (id, name, admin) = (server.id, server.name.clone(), server.admin.clone());
        asked.spawn(async move { (id, name, timeout(PATIENCE, World::of(&admin)).await) });
    }
    let (mut worlds, mut unanswered) = (BTreeMap::new(), BTreeMap::new());
    for (id, name, answer) in asked.join_all().await {
        match answer {
            Ok(Ok(world)) => {
                worlds.insert(id, world);
            }
            Ok(Err(error)) => {
                unanswered.insert(name, with_causes(&error));
            }
            Err(_) => {
                unanswered.insert(name, format!("no answer within {} seconds", PATIENCE.as_secs()));
            }
        }
    }
    (worlds, unanswered)
}
