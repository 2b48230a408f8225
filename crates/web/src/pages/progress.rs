//! The page on which a company watches itself being set up.

use super::Frame;
use crate::text::{StepKey, StepStatus};
use askama::Template;

/// `GET /signup/{job}`. The script follows `/signup/{job}/events` and goes to `/signup/{job}/enter` when all is done;
/// without it the page refreshes.
#[derive(Debug, Clone, Template)]
#[template(path = "progress.html")]
pub struct ProgressPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The job's id, as it stands in the path.
    pub job: &'a str,
    /// The company's name.
    pub company: &'a str,
    /// The company's address without its scheme: `acme.localhost:8080`.
    pub address: &'a str,
    /// All steps, in their order.
    pub steps: Vec<Step>,
    /// Where it all stands.
    pub status: JobStatus<'a>,
}

/// One step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// Which.
    pub key: StepKey,
    /// How far.
    pub status: StepStatus,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobStatus<'a> {
    /// Under way.
    Running,
    /// It can't go on, and what was begun is being taken back.
    Undoing,
    /// Done: the door is open.
    Done,
    /// It can't go on.
    Failed {
        /// What to tell the visitor instead of the usual text.
        message: Option<&'a str>,
        /// Where to try again: `/signup`.
        retry_href: &'a str,
    },
}

impl Step {
    /// The steps of a sign-up in their order, with the status of those that the job knows by name (as it spells them);
    /// the others are yet to come. Names that have no words are left out.
    #[must_use]
    pub fn of_signup<'s>(known: impl IntoIterator<Item = (&'s str, &'s str)>) -> Vec<Self> {
        let mut steps: Vec<Self> =
            StepKey::ALL.iter().map(|key| Self { key: *key, status: StepStatus::Pending }).collect();
        for (name, status) in known {
            if let Some(step) = steps.iter_mut().find(|step| step.key.code() == name) {
                // What is being undone is as good as undone to whoever watches.
                let status = if status == "undoing" { "undone" } else { status };
                step.status = StepStatus::from_code(status).unwrap_or(StepStatus::Pending);
            }
        }
        steps
    }
}

impl ProgressPage<'_> {
    /// As the job says it: `running`, `done`, `failed`; and `undoing`, which its steps say.
    fn status_code(&self) -> &'static str {
        match self.status {
            JobStatus::Running => "running",
            JobStatus::Undoing => "undoing",
            JobStatus::Done => "done",
            JobStatus::Failed { .. } => "failed",
        }
    }

    fn headline(&self) -> String {
        let w = &self.frame.w.progress;
        let title = match self.status {
            JobStatus::Running => w.running_title,
            JobStatus::Done => w.done_title,
            JobStatus::Undoing | JobStatus::Failed { .. } => w.failed_title,
        };
        title(self.company)
    }

    fn done_headline(&self) -> String {
        (self.frame.w.progress.done_title)(self.company)
    }

    fn done_count(&self) -> usize {
        self.steps.iter().filter(|step| step.status == StepStatus::Done).count()
    }

    /// How the door in the picture stands.
    fn door(&self) -> &'static str {
        match self.status {
            JobStatus::Running => "working",
            JobStatus::Done => "open",
            JobStatus::Undoing | JobStatus::Failed { .. } => "shut",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_up_has_all_of_its_steps_from_the_start() {
        let steps = Step::of_signup([("role", "running"), ("reserve", "done"), ("sing", "done")]);
        assert_eq!(steps.len(), StepKey::ALL.len());
        assert_eq!(steps[0], Step { key: StepKey::Reserve, status: StepStatus::Done });
        assert_eq!(steps[3], Step { key: StepKey::Role, status: StepStatus::Running });
        assert_eq!(steps[8].status, StepStatus::Pending);
    }
}
