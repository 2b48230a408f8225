//! What is to be said of migrations before they run anywhere.

use portero_kernel::SchemaVersion;
use portero_pg::{Migrations, SetError};
use portero_provisioner::{
    TENANT_MIGRATIONS,
    fleet::{Complaint, lint},
};
use std::path::Path;

/// The migrations that are built in, and those of this directory that are newer: what the lint looks at, which needs no
/// registry. What a run would do is [`Control::migration_set`](crate::Control::migration_set)'s.
///
/// # Errors
/// [`SetError`].
pub fn migrations_here(directory: Option<&Path>) -> Result<Migrations, SetError> {
    match directory {
        Some(directory) => TENANT_MIGRATIONS.with_directory(directory),
        None => Ok(TENANT_MIGRATIONS.clone()),
    }
}

/// What the lint says of the migrations that are not built in and that somebody with this version lacks. Those built in have
/// passed it.
pub(crate) fn lint_files(set: &Migrations, lacked_after: SchemaVersion) -> Vec<Complaint> {
    lint_after(set, lacked_after.max(TENANT_MIGRATIONS.latest()))
}

/// What the lint says of the migrations that are newer than a version.
#[must_use]
pub fn lint_after(set: &Migrations, version: SchemaVersion) -> Vec<Complaint> {
    set.after(version).iter().flat_map(|migration| lint(&migration.to_string(), &migration.sql)).collect()
}
