//! Clients that ask, wait for the answer, and ask again, each a random tenant.

use crate::{outcome::Times, random::Random};
use anyhow::Result;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Somebody who can ask on behalf of a tenant.
pub(crate) trait Client: Send + 'static {
    /// Asks once; says whether that went well.
    fn ask(&mut self, tenant: usize) -> impl Future<Output = bool> + Send;
}

/// What came of it.
#[derive(Default)]
pub(crate) struct Loaded {
    /// Of what went well.
    pub(crate) times: Times,
    pub(crate) failed: u32,
    pub(crate) per_second: f64,
}

/// Lets all clients ask as often as they can, each tenant as likely as the other.
///
/// # Errors
/// A client that panicked.
pub(crate) async fn closed_loop<C: Client>(
    clients: Vec<C>,
    tenants: usize,
    duration: Duration,
) -> Result<Loaded> {
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for (seed, mut client) in (1..).zip(clients) {
        tasks.spawn(async move {
            let (mut random, mut loaded) = (Random::new(seed), Loaded::default());
            while began.elapsed() < duration {
                let asked = Instant::now();
                if client.ask(random.below(tenants)).await {
                    loaded.times.push(asked.elapsed());
                } else {
                    loaded.failed += 1;
                }
            }
            loaded
        });
    }
    let mut all = Loaded::default();
    while let Some(loaded) = tasks.join_next().await {
        let loaded = loaded?;
        all.times.extend(loaded.times);
        all.failed += loaded.failed;
    }
    all.per_second = all.times.len() as f64 / began.elapsed().as_secs_f64();
    Ok(all)
}
