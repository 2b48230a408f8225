//! Points at which tests hold the work to kill the process, fail a step, or cut it: in test builds only, nothing elsewhere.
//!
//! `FAILPOINTS='role::before=pause'` holds every job there, `'acme/role::before=pause'` that of one company. `return` makes
//! the try fail for good, `return(again)` so that another may help. Each point that is passed is in the log.
//!
//! | point of a step | where |
//! |---|---|
//! | `begin` | the log doesn't say yet that it begins |
//! | `before` | the log says so, the effect has not begun |
//! | `opened` | a session on the tenants' server is open, and has done nothing |
//! | `after` | the effect is there |
//! | `end` | the log says so |
//! | `failing`, `failed` | around the log of a failure |
//! | `limit` | `return(500)`: a try ends after so many milliseconds |
//!
//! Those of its undo end in `-undo`. A workflow may add its own between two statements. `job::turning`, `job::turned`,
//! `job::resting` and `job::rested` are around the changes of the job itself, `job::renew` is before its lease is renewed: held
//! there, a worker doesn't notice that it has lost the job. `worker::at_once=return(40)`: so many jobs
//! at the same time, since one that is held takes a worker's place.

#[cfg(feature = "failpoints")]
pub(crate) use armed::{at_once, hold, limit, pass, within};
#[cfg(not(feature = "failpoints"))]
pub(crate) use unarmed::{at_once, hold, limit, pass, within};

#[cfg(feature = "failpoints")]
mod armed {
    use crate::engine::StepError;
    use std::time::Duration;

    /// What is under way.
    #[derive(Clone)]
    struct Place {
        subdomain: String,
        step: &'static str,
        undoing: bool,
    }

    tokio::task_local! {
        static PLACE: Place;
    }

    /// Does this as a step's action, or its undo, of a company's job.
    pub(crate) async fn within<T>(
        subdomain: &str,
        step: &'static str,
        undoing: bool,
        work: impl Future<Output = T>,
    ) -> T {
        PLACE.scope(Place { subdomain: subdomain.to_owned(), step, undoing }, work).await
    }

    /// Passes a point that may fail the try.
    pub(crate) async fn pass(moment: &'static str) -> Result<(), StepError> {
        let Some((company, name)) = named(moment) else { return Ok(()) };
        tracing::info!(point = name, company, "a point is passed");
        let told = name.clone();
        // A pause blocks its thread: on one of its own the lease is renewed meanwhile.
        let told = tokio::task::spawn_blocking(move || {
            evaluate(&told).or_else(|| evaluate(&format!("{company}/{told}")))
        });
        match told.await.expect("a point doesn't panic") {
            None => Ok(()),
            Some(how) if how == "again" => {
                Err(StepError::Again(format!("the point {name} was told to fail once")))
            }
            Some(_) => Err(StepError::Never(format!("the point {name} was told to fail"))),
        }
    }

    /// Passes a point that can only hold.
    pub(crate) async fn hold(moment: &'static str) {
        // To fail here would mean nothing.
        let _ = pass(moment).await;
    }

    /// How long a try may take here.
    pub(crate) fn limit(usual: Duration) -> Duration {
        let told = named("limit").and_then(|(company, name)| {
            evaluate(&name).or_else(|| evaluate(&format!("{company}/{name}")))?.parse().ok()
        });
        told.map_or(usual, Duration::from_millis)
    }

    /// How many jobs go on at the same time.
    pub(crate) fn at_once(usual: usize) -> usize {
        evaluate("worker::at_once").and_then(|told| told.parse().ok()).unwrap_or(usual)
    }

    fn named(moment: &str) -> Option<(String, String)> {
        let place = PLACE.try_with(Place::clone).ok()?;
        let undo = if place.undoing { "-undo" } else { "" };
        Some((place.subdomain, format!("{}::{moment}{undo}", place.step)))
    }

    fn evaluate(name: &str) -> Option<String> {
        static READ_ENVIRONMENT: std::sync::Once = std::sync::Once::new();
        READ_ENVIRONMENT.call_once(|| std::mem::forget(fail::FailScenario::setup()));
        fail::eval(name, Option::unwrap_or_default)
    }
}

#[cfg(not(feature = "failpoints"))]
mod unarmed {
    use crate::engine::StepError;
    use std::time::Duration;

    pub(crate) async fn within<T>(_: &str, _: &'static str, _: bool, work: impl Future<Output = T>) -> T {
        work.await
    }

    pub(crate) async fn pass(_: &'static str) -> Result<(), StepError> {
        Ok(())
    }

    pub(crate) async fn hold(_: &'static str) {}

    pub(crate) fn limit(usual: Duration) -> Duration {
        usual
    }

    pub(crate) fn at_once(usual: usize) -> usize {
        usual
    }
}
