//! The checks of jobs: those that are stuck, and those under way of which a step keeps failing.

use crate::{
    Control, FailingJob, JobDetails, JobFilter,
    doctor::{Check, Health},
};
use portero_kernel::with_causes;
use portero_registry::{JobStatus, RegistryError};

/// So many are named.
const MOST_TOLD: i64 = 10;

impl Control {
    /// One check where all is well, else one for what is stuck and one for what keeps failing.
    pub(super) async fn check_jobs(&self) -> Vec<Check> {
        let looked = async {
            let stuck = self.jobs(JobFilter::Stuck, MOST_TOLD).await?;
            let failing = self.registry.jobs_failing(MOST_TOLD).await?;
            Ok::<_, RegistryError>((stuck, failing, self.registry.jobs_open().await?))
        };
        match looked.await {
            Ok((stuck, failing, open)) if stuck.is_empty() && failing.is_empty() => {
                vec![Check::ok("jobs", format!("{open} under way, none stuck"))]
            }
            Ok((stuck, failing, _)) => {
                let mut checks = Vec::new();
                checks.extend((!stuck.is_empty()).then(|| check_stuck(&stuck)));
                checks.extend((!failing.is_empty()).then(|| check_failing(&failing)));
                checks
            }
            Err(error) => {
                vec![Check::bad(Health::Fail, "jobs", with_causes(&error), "see the registry's log")]
            }
        }
    }
}

fn check_stuck(stuck: &[JobDetails]) -> Check {
    let each = |text: fn(&JobDetails) -> String| stuck.iter().map(text).collect::<Vec<_>>();
    let found = each(|job| {
        let error = job.error.as_deref().unwrap_or_default();
        format!("{} of {} ({error})", job.kind, job.subdomain)
    });
    let advice = each(|job| format!("portero jobs retry {}", job.id));
    Check::bad(
        Health::Fail,
        "jobs",
        format!("stuck: {}", found.join("; ")),
        format!("remove what hinders them, then {}", advice.join("; ")),
    )
}

fn check_failing(failing: &[FailingJob]) -> Check {
    let found = failing.iter().map(|job| {
        let what = match job.status {
            JobStatus::Undoing => "the undo of ",
            _ => "",
        };
        let FailingJob { kind, subdomain, step, attempts, error, .. } = job;
        format!("{kind} of {subdomain}: {what}{step} fails, {attempts} tries so far ({error})")
    });
    let found: Vec<_> = found.collect();
    let advice: Vec<_> = failing.iter().map(|job| format!("portero jobs show {}", job.id)).collect();
    Check::bad(
        Health::Fail,
        "jobs that fail",
        found.join("; "),
        format!(
            "remove what hinders them: they are tried again every few seconds, and go on by themselves then ({})",
            advice.join("; ")
        ),
    )
}
