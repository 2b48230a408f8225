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
mod reaper;
mod refill;
mod server;
mod spares;
mod templates;
mod worker;
mod workflow;
pub mod workflows;

pub use catalogue::Catalogue;
pub use reaper::reap;
pub use refill::{Refill, RefillOptions};
pub use server::{CONNECTION_LIMIT, ServerError, left_of};
pub use templates::TemplateError;
pub use worker::{Worker, WorkerOptions};
pub use workflow::{Direction, Load, Plan, Workflow};

use portero_pg::Migrations;
use std::sync::LazyLock;

mod embedded {
    refinery::embed_migrations!("../../tenant-migrations");
}

/// The schema of every tenant.
pub static TENANT_MIGRATIONS: LazyLock<Migrations> =
    LazyLock::new(|| Migrations::embedded(&embedded::migrations::runner()));
