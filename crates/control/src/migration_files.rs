//! Whether files are what companies have of them already: a migration is never changed, left out or put in between.
//!
//! Each tenant's own history says so when its turn comes, if it lacks anything. A plan and a run look before that, by the texts
//! that the registry keeps of earlier runs: what is amiss would otherwise be found at the next migration, by those companies alone.

use crate::{Control, MigrationError};
use portero_pg::{Migration, Migrations};
use portero_provisioner::fleet::FleetSchema;
use portero_registry::AppliedFile;

impl Control {
    /// Refuses a set that differs from what runs gave to companies.
    pub(crate) async fn check_files(
        &self,
        set: &Migrations,
        schema: &FleetSchema,
    ) -> Result<(), MigrationError> {
        let applied = self.registry.migration_files_applied().await?;
        check(set, &schema.migrations, &applied)
    }
}

/// `schema` is what companies get that sign up, what is built in above all: they have its files from no run.
fn check(set: &Migrations, schema: &Migrations, applied: &[AppliedFile]) -> Result<(), MigrationError> {
    // What an older Portero took for a migration and this one doesn't says nothing of these.
    let applied: Vec<_> = applied
        .iter()
        .filter_map(|file| Some((Migration::new(&file.name, &file.sql).ok()?, file.run)))
        .collect();
    for (was, run) in &applied {
        let run = *run;
        match set.find(was.version) {
            Some(now) if now != was => {
                return Err(MigrationError::Ran { file: now.to_string(), was: was.to_string(), run });
            }
            None if was.version < set.latest() => {
                return Err(MigrationError::LeftOut { was: was.to_string(), run });
            }
            _ => {}
        }
    }
    let Some((newest, _)) = applied.last() else { return Ok(()) };
    let between = set.all().iter().find(|file| {
        file.version < newest.version
            && schema.find(file.version).is_none()
            && applied.iter().all(|(was, _)| was.version != file.version)
    });
    match between {
        Some(file) => Err(MigrationError::Late { file: file.to_string(), newest: newest.to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portero_kernel::MigrationRunId;
    use portero_provisioner::TENANT_MIGRATIONS;

    fn set(files: &[(&str, &str)]) -> Migrations {
        let files = files.iter().map(|(stem, sql)| Migration::new(stem, sql).unwrap());
        TENANT_MIGRATIONS.up_to(2).with(files).unwrap()
    }

    #[test]
    fn what_companies_have_is_neither_changed_nor_left_out_and_nothing_comes_in_between() {
        let run = MigrationRunId::generate();
        // What isn't called like a migration says nothing.
        let applied: Vec<_> = [("V3__a", "SELECT 3"), ("V5__b", "SELECT 5"), ("V7__was-one", "SELECT 7")]
            .map(|(name, sql)| AppliedFile { name: name.to_owned(), sql: sql.to_owned(), run })
            .into();
        let told = |files: &[(&str, &str)]| {
            check(&set(files), &set(&[]), &applied).err().map(|error| error.to_string())
        };
        let (a, b, more) = (("V3__a", "SELECT 3"), ("V5__b", "SELECT 5"), ("V6__c", "SELECT 6"));
        for fine in [&[a, b][..], &[a, b, more], &[a], &[]] {
            assert_eq!(told(fine), None, "{fine:?}");
        }
        for (files, words) in [
            (&[("V3__a", "SELECT 4"), b][..], "V3__a.sql is not the V3__a.sql that run"),
            (&[a, ("V5__other", "SELECT 5")], "V5__other.sql is not the V5__b.sql that run"),
            (&[b], "V3__a.sql, which run"),
            (&[a, ("V4__late", "SELECT 4"), b], "V4__late.sql is older than V5__b.sql"),
        ] {
            let told = told(files).unwrap_or_default();
            assert!(told.contains(words), "{files:?}: {told}");
        }
        let late = set(&[a, ("V4__late", "SELECT 4"), b]);
        assert!(check(&late, &late, &applied).is_ok(), "who signs up has it");
        assert!(check(&set(&[("V4__late", "SELECT 4")]), &set(&[]), &[]).is_ok(), "nobody has anything yet");
    }
}
