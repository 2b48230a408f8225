//! The workflows, one file each, and what they stand on.

pub mod create_tenant;
pub mod purge_tenant;
mod subject;

use crate::Workflow;

/// All of them. A worker goes on with a job of any.
pub static ALL: [&dyn Workflow; 2] = [&create_tenant::WORKFLOW, &purge_tenant::WORKFLOW];

/// The workflow of jobs of this kind; nothing where this version doesn't know it.
#[must_use]
pub fn of_kind(kind: &str) -> Option<&'static dyn Workflow> {
    ALL.into_iter().find(|workflow| workflow.kind() == kind)
}
