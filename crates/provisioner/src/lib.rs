//! Makes tenants' databases and looks after them: the saga engine and the workflows it runs.
//!
//! Beside them a task in the background keeps templates and spares ready: see `refill`.
//!
//! A workflow is a list of named steps, each with an action and, where it has an effect, an undo; see [`engine`].
//! Which tenants there are is the registry's to know; how requests reach them is the router's.

mod catalogue;
mod disk;
pub mod engine;
pub mod fence;
pub mod fleet;
pub mod orphans;
mod points;
mod prepared;
mod reaper;
mod refill;
mod removal;
mod server;
mod spares;
mod templates;
mod worker;
mod workflow;
pub mod workflows;

pub use catalogue::Catalogue;
pub use prepared::{Prepared, prepared_by_tenants};
pub use reaper::reap;
pub use refill::{Refill, RefillOptions};
pub use server::{CONNECTION_LIMIT, ServerError, left_of, remove_left};
pub use templates::TemplateError;
pub use worker::{Worker, WorkerOptions};
pub use workflow::{Direction, Load, Plan, Workflow};

use portero_kernel::SchemaVersion;
use portero_pg::Migrations;
use std::sync::LazyLock;

mod embedded {
    refinery::embed_migrations!("../../tenant-migrations");
}

/// The schema of every tenant.
pub static TENANT_MIGRATIONS: LazyLock<Migrations> =
    LazyLock::new(|| Migrations::embedded(&embedded::migrations::runner()));

/// The oldest version of it that this program's code runs on, where it is older than the newest. To be said on purpose,
/// with a release whose migration expands and whose code does without it for as long as it isn't there; and taken back
/// with the next.
///
/// Today's code needs the newest: each login, refused ones too, writes to `audit`, which came with version 4.
const RUNS_ON_SINCE: Option<SchemaVersion> = None;

/// The oldest version of a tenant's schema that this program's code runs on.
#[must_use]
pub fn oldest_tenant_schema() -> SchemaVersion {
    let newest = TENANT_MIGRATIONS.latest();
    RUNS_ON_SINCE.map_or(newest, |oldest| oldest.min(newest))
}
