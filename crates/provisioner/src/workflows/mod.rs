//! The workflows, one file each.

pub mod create_tenant;
pub mod purge_tenant;
