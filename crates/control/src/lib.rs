//! The use cases of the control plane, by noun. The CLI, the API and the pages are three doors to it: no rule lives in
//! a door. This room knows no HTTP, no clap and no HTML.

mod acts;
mod audit;
mod console;
mod doctor;
mod drift;
mod invitations;
mod job_care;
mod job_events;
mod jobs;
mod life;
mod lint;
mod migration_files;
mod migration_pages;
mod migrations;
mod operators;
mod plans;
mod reconcile;
mod rehearsals;
mod routers;
mod servers;
mod signup;
mod tenants;

pub use audit::{AuditReport, AuditView};
pub use console::{Overview, RouterView, TenantLine, TenantList};
pub use doctor::{Check, Health};
pub use drift::{DifferenceView, DriftReport, DriftState, TenantDrift};
pub use invitations::{InvitationView, NewInvitation};
pub use job_care::{JobDetails, JobError, JobFilter, Leftovers, StepDetails};
pub use job_events::JobWatch;
pub use jobs::{HandOver, JobView, StepView};
pub use life::{FormerNameView, Grace, Purge, PurgedView};
pub use lint::{lint_after, migrations_here};
pub use migration_pages::{MigratedFilter, MigrationRunDetails, MigrationRunList, WaveView};
pub use migrations::{
    MigratedTenant, MigrationError, MigrationPlan, MigrationReport, MigrationRequest, MigrationRunView,
    PlannedMigration, PlannedTenant,
};
pub use operators::{OperatorError, OperatorView};
pub use plans::{BadPlan, Plans, UnknownPlan};
pub use reconcile::{Differences, Finding, Kind, LastRound, MendError, Remedy, Rounds};
pub use rehearsals::{
    LockSeen, MigrationSeen, RehearsalOptions, RehearsalReport, RehearsalState, StepSeen, TenantRehearsal,
};
pub use routers::Known;
pub use servers::{LeaseView, ServerDetails, ServerError, ServerView, SparesView};
pub use signup::{
    Asking, Awaited, FieldNames, IN_FLIGHT, LetterFacts, LookAlike, RequestKey, SignUp, SignUpError,
    SignUpMode, SignUpOutcome, SignedUp, Wishes, WriteLetter,
};
pub use tenants::{Change, TenantError, TenantView};

// What the lists are asked with, and what is in them.
pub use portero_registry::{FailingJob, JobLine, JobQuery, TenantFilter, TenantOrder, TenantPlan};

// What of a tenant may be cloned, and what the lint says of a migration.
pub use portero_provisioner::fleet::{CloneLimits, Complaint, Level};
// What a migration of the fleet is asked with, and tells.
pub use portero_provisioner::fleet::{FleetEvent, Tell, Waves};
pub use portero_registry::MigrationState;

// What a door writes for [`WriteLetter`], and the mailer sends.
pub use portero_registry::{Letter, MailRow, MailState};

use job_events::JobEvents;
use portero_auth::Passwords;
use portero_kernel::Site;
use portero_registry::Registry;
use servers::Probes;
use std::sync::Arc;
use tokio::sync::Semaphore;

// Who acts, what they do, and which entries of the audit log are asked for.
pub use portero_registry::{Actor, AuditFilter, AuditHead, NotAHead, Verb};

/// The control plane: what its use cases work with. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    registry: Registry,
    passwords: Passwords,
    site: Site,
    mode: SignUpMode,
    in_flight: Option<i64>,
    plans: Plans,
    /// Those who sign up from outside, a few at a time.
    desk: Arc<Semaphore>,
    probes: Probes,
    write_letter: WriteLetter,
    job_events: JobEvents,
    actor: Actor,
}

impl Control {
    /// From its parts.
    #[must_use]
    pub fn new(registry: Registry, passwords: Passwords, site: Site, mode: SignUpMode) -> Self {
        Self {
            registry,
            passwords,
            site,
            mode,
            in_flight: None,
            plans: Plans::default(),
            desk: Arc::new(Semaphore::new(signup::AT_ONCE)),
            probes: Probes::default(),
            write_letter: plain_letter,
            job_events: JobEvents::default(),
            actor: Actor::System { task: "portero" },
        }
    }

    /// With these plans.
    #[must_use]
    pub fn with_plans(mut self, plans: Plans) -> Self {
        self.plans = plans;
        self
    }

    /// With so many companies in the making at once, of those from outside; `0` is no limit.
    #[must_use]
    pub fn with_in_flight(mut self, limit: u32) -> Self {
        self.in_flight = (limit > 0).then_some(i64::from(limit));
        self
    }

    /// With the words of these letters.
    #[must_use]
    pub fn with_letters(mut self, write: WriteLetter) -> Self {
        self.write_letter = write;
        self
    }

    /// Who may sign up.
    #[must_use]
    pub fn sign_up_mode(&self) -> SignUpMode {
        self.mode
    }

    /// Where the platform is on the web.
    #[must_use]
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The registry, for checks of readiness.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }
}

/// A letter without a door's words, where none was given: the address and the link.
fn plain_letter(facts: &LetterFacts<'_>) -> Letter {
    let text = format!("{}\n\n{}\n", facts.address, facts.link);
    Letter { subject: facts.address.to_owned(), html: String::new(), text }
}
