//! Whether news travel by notification, or only by looking now and then.

use crate::{Check, Control, Health};
use portero_kernel::with_causes;
use portero_registry::BellQueue;

const NAME: &str = "notifications";

/// From here on it is told. An idle queue is empty.
const MUCH: f64 = 0.1;

impl Control {
    pub(super) async fn check_bells(&self) -> Check {
        match self.registry.bell_queue().await {
            Ok(queue) => told(&queue),
            Err(error) => Check::bad(Health::Fail, NAME, with_causes(&error), "see the registry's log"),
        }
    }
}

fn told(queue: &BellQueue) -> Check {
    if queue.taken < MUCH {
        return Check::ok(NAME, "nobody holds up the queue");
    }
    let found = format!(
        "the server's queue is {:.0} % full; from 50 % on changes are heard of within two seconds, and not at once",
        queue.taken * 100.0
    );
    let advice = if queue.suspects.is_empty() {
        "a session that listens in a transaction holds it up: find it in pg_stat_activity, and end it"
            .to_owned()
    } else {
        format!(
            "a session that listens in a transaction holds it up; in one for more than a minute are those of {}: pause their tenants",
            queue.suspects.join(", ")
        )
    };
    Check::bad(Health::Warn, NAME, found, advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_held_up_is_told_with_whom_to_look_at() {
        let queue = |taken, suspects: &[&str]| BellQueue {
            taken,
            suspects: suspects.iter().map(|&name| name.to_owned()).collect(),
        };
        assert_eq!(told(&queue(0.01, &["t_a"])).health, Health::Ok);
        let check = told(&queue(0.62, &["t_a", "t_b"]));
        assert_eq!(check.health, Health::Warn);
        assert!(check.found.contains("62 %") && check.advice.contains("t_a, t_b"), "{check:?}");
        assert!(told(&queue(0.2, &[])).advice.contains("pg_stat_activity"));
    }
}
