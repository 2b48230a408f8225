//! What a person sees while a run goes on: a bar on a terminal, a line for each wave and each failure elsewhere.

use crate::output::Output;
use portero_control::{FleetEvent, MigrationState};
use std::sync::{Mutex, PoisonError};

/// Counts what it hears.
pub(super) struct Progress {
    output: Output,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    wave: String,
    done: usize,
    failed: usize,
    skipped: usize,
}

impl Progress {
    pub(super) fn new(output: Output) -> Self {
        Self { output, seen: Mutex::default() }
    }

    pub(super) fn hear(&self, event: FleetEvent) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            FleetEvent::Wave { number, last } => {
                seen.wave = format!("wave {number} of {last}");
                self.line(&seen.wave);
            }
            FleetEvent::Waiting => {
                self.line("waiting for tenants that another process has claimed, or had when it died");
            }
            FleetEvent::Tenant { subdomain, result } => {
                let error = result.error.unwrap_or_default();
                match result.state {
                    MigrationState::Failed => {
                        seen.failed += 1;
                        self.line(&format!("  failed   {subdomain}: {error}"));
                    }
                    MigrationState::Skipped => {
                        seen.skipped += 1;
                        self.line(&format!("  skipped  {subdomain}: {error}"));
                    }
                    _ => seen.done += 1,
                }
            }
        }
        self.output.progress(&seen.bar());
    }

    /// Nothing of it stays on a terminal.
    pub(super) fn end(&self) {
        self.output.progress("");
    }

    /// Above the bar, which is drawn again below it.
    fn line(&self, text: &str) {
        self.output.progress("");
        self.output.line(text);
    }
}

impl Seen {
    fn bar(&self) -> String {
        format!("{}: {} done, {} failed, {} skipped", self.wave, self.done, self.failed, self.skipped)
    }
}
