//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Long enough for anything that ends at all, on a machine that is busy.
pub const DEADLINE: Duration = Duration::from_secs(40);
const PAUSE: Duration = Duration::from_millis(20);

/// Asks until there is something.
///
/// # Panics
/// At the deadline, with `what` was waited for.
pub async fn wait_for<T>(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let until = Instant::now() + deadline;
    loop {
        if let Some(found) = condition().await {
            return found;
        }
        assert!(Instant::now() < until, "waited {deadline:?} in vain for {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks until it is so.
///
/// # Panics
/// As [`wait_for`].
pub async fn wait_until(what: &str, deadline: Duration, mut condition: impl AsyncFnMut() -> bool) {
    wait_for(what, deadline, async || condition().await.then_some(())).await;
}
