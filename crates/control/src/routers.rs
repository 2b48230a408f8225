//! Who has heard of a change: the routers that live, and how far each has come.

use crate::Control;
use portero_registry::RegistryError;
use serde::Serialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long one waits for routers to hear of a change. Who hasn't by then is named.
const DEADLINE: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Which routers know of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Known {
    /// How many do.
    pub routers: usize,
    /// The names of those that live and haven't said so in time.
    pub late: Vec<String>,
}

impl Control {
    /// Waits until every router that lives knows what happened up to a value of the route clock, or a deadline has passed.
    /// A router whose lease runs out meanwhile is not waited for.
    pub(crate) async fn wait_until_known(&self, clock: i64) -> Result<Known, RegistryError> {
        let until = Instant::now() + DEADLINE;
        loop {
            let live = self.registry.routers_live().await?;
            let (know, late): (Vec<_>, Vec<_>) = live.into_iter().partition(|router| router.applied >= clock);
            if late.is_empty() || Instant::now() >= until {
                let late = late.into_iter().map(|router| router.name).collect();
                return Ok(Known { routers: know.len(), late });
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
