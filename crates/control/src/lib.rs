//! The use cases of the control plane, by noun. The CLI, the API and the pages are three doors to it: no rule lives in
//! a door. This room knows no HTTP, no clap and no HTML.

mod acts;
mod audit;
mod console;
mod doctor;
mod job_care;
mod job_events;
mod jobs;
mod life;
mod operators;
mod reconcile;
mod routers;
mod servers;
mod signup;
mod tenants;

pub use audit::{AuditReport, AuditView};
pub use console::{Overview, RouterView, TenantLine, TenantList};
pub use doctor::{Check, Health};
pub use job_care::{JobDetails, JobError, JobFilter, Leftovers, StepDetails};
pub use job_events::JobWatch;
pub use jobs::{HandOver, JobView, StepView};
pub use life::{FormerNameView, Grace, Purge, PurgedView};
pub use operators::{OperatorError, OperatorView};
pub use reconcile::{Differences, Finding, Kind, LastRound, MendError, Remedy, Rounds};
pub use routers::Known;
pub use servers::{LeaseView, ServerDetails, ServerError, ServerView, SparesView};
pub use signup::{FieldNames, SignUp, SignUpError, SignUpMode, SignedUp};
pub use tenants::{Change, TenantError, TenantView};

// What the lists are asked with, and what is in them.
pub use portero_registry::{JobLine, JobQuery, TenantFilter, TenantOrder};

use job_events::JobEvents;
use portero_auth::Passwords;
use portero_kernel::Site;
use portero_registry::Registry;

// Who acts, and which entries of the audit log are asked for.
pub use portero_registry::{Actor, AuditFilter, AuditHead, NotAHead};

/// The control plane: what its use cases work with. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    registry: Registry,
    passwords: Passwords,
    site: Site,
    mode: SignUpMode,
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
            job_events: JobEvents::default(),
            actor: Actor::System { task: "portero" },
        }
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
