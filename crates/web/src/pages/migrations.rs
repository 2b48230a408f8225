//! Runs of migrations in the console: which there were, and one with its waves, who failed and why, and what to do next.

use super::Frame;
use crate::text::console::{
    Section,
    migrations::{MigratedState, RunState},
};
use askama::Template;

/// `GET /console/migrations`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/migrations.html")]
pub struct MigrationsPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// This page of them.
    pub runs: Vec<RunRow>,
    /// Where the list goes on.
    pub next_href: Option<String>,
    /// Whether this is not its beginning.
    pub is_later: bool,
}

/// A run of migrations.
#[derive(Debug, Clone)]
pub struct RunRow {
    /// Its id.
    pub id: String,
    /// Its state's code.
    pub state: String,
    /// Why it was stopped.
    pub reason: Option<String>,
    /// The version that companies are to have.
    pub target: i32,
    /// Whether it is for all companies.
    pub whole_fleet: bool,
    /// The wave that it is at, and the last.
    pub wave: (i32, i32),
    /// Companies in each state.
    pub counts: RunCounts,
    /// When it began, in RFC 3339.
    pub began: String,
    /// When it came to rest, in RFC 3339.
    pub ended: Option<String>,
}

/// How many companies are in which state.
#[derive(Debug, Clone, Copy, Default)]
pub struct RunCounts {
    /// Not begun.
    pub pending: i64,
    /// Under way.
    pub running: i64,
    /// They have the version.
    pub done: i64,
    /// They have not.
    pub failed: i64,
    /// They were left out.
    pub skipped: i64,
}

/// `GET /console/migrations/{id}`.
#[derive(Debug, Clone, Template)]
#[template(path = "console/migration.html")]
pub struct MigrationPage<'a> {
    /// The surroundings.
    pub frame: Frame<'a>,
    /// The run.
    pub run: RunRow,
    /// Its waves, in order: the number, and companies in each state.
    pub waves: Vec<(i32, RunCounts)>,
    /// The state whose companies are shown; empty for all.
    pub state: &'a str,
    /// This page of them.
    pub companies: Vec<MigratedRow>,
    /// Where the list goes on.
    pub next_href: Option<String>,
    /// Whether this is not its beginning.
    pub is_later: bool,
}

/// What became of a company in a run.
#[derive(Debug, Clone)]
pub struct MigratedRow {
    /// As it was called when the run began.
    pub subdomain: String,
    /// Where it is looked at; its history, where it isn't there any more.
    pub href: String,
    /// Its wave.
    pub wave: i32,
    /// Its state's code.
    pub state: String,
    /// The version of its schema before, and afterwards.
    pub versions: (i32, Option<i32>),
    /// How often it was tried.
    pub attempts: i32,
    /// How long that took, in milliseconds.
    pub took_ms: Option<i64>,
    /// Why it failed or was left out.
    pub error: Option<String>,
}

impl RunCounts {
    fn of(&self, state: MigratedState) -> i64 {
        match state {
            MigratedState::Pending => self.pending,
            MigratedState::Running => self.running,
            MigratedState::Done => self.done,
            MigratedState::Failed => self.failed,
            MigratedState::Skipped => self.skipped,
        }
    }

    fn left(&self) -> i64 {
        self.pending + self.running
    }
}

impl RunRow {
    fn is(&self, state: RunState) -> bool {
        self.state == state.code()
    }

    fn is_open(&self) -> bool {
        self.is(RunState::Running) || self.is(RunState::Interrupted)
    }
}

impl MigrationPage<'_> {
    fn here(&self) -> String {
        format!("/console/migrations/{}", self.run.id)
    }

    fn shows(&self, state: &str) -> bool {
        self.state == state
    }

    /// What to do next, and the command for it, if there is one.
    fn next(&self) -> (&'static str, Option<String>) {
        let w = self.frame.w.console.migrations;
        let resume = || Some(format!("portero migrate resume {}", self.run.id));
        match RunState::from_code(&self.run.state) {
            Some(RunState::Running) => (w.next_running, None),
            Some(RunState::Interrupted) => (w.next_interrupted, resume()),
            Some(RunState::Stopped) => (w.next_stopped, resume()),
            Some(RunState::Incomplete) => (w.next_failed, resume()),
            _ => (w.next_nothing, None),
        }
    }

    fn took(&self, company: &MigratedRow) -> String {
        company.took_ms.map_or_else(|| "–".to_owned(), |ms| super::console::took(self.frame.lang, ms))
    }

    fn versions(&self, company: &MigratedRow) -> String {
        match company.versions {
            (before, Some(after)) if after != before => format!("{before} → {after}"),
            (before, _) => before.to_string(),
        }
    }
}
