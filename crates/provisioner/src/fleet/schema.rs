//! The fleet's schema: what a database is made with, and what tenants are brought to where nobody brings files.
//!
//! It is what is built in, and the files, newer than those, of the run that last came to its end for the whole fleet. So who
//! signs up after it has what everybody has, though the program with those files built in is yet to be deployed. Once it is,
//! nothing changes: the set is the same, and so are the templates that are made of it.
//!
//! A program whose own migrations are others than the run's doesn't mix the two: it goes on with its own, takes no spare that
//! has any of the run's, and `doctor` says so.

use crate::TENANT_MIGRATIONS;
use portero_kernel::{MigrationRunId, SchemaVersion};
use portero_pg::{Migration, Migrations};
use portero_registry::{FleetRun, Registry, RegistryError};
use serde::Deserialize;
use serde_json::{Value, json};

/// What databases are made with.
#[derive(Debug, Clone)]
pub struct FleetSchema {
    /// The migrations, in order.
    pub migrations: Migrations,
    /// The newest version of a spare that is of these migrations for sure.
    pub spares_up_to: SchemaVersion,
    /// Where those come from that aren't built in.
    pub source: SchemaSource,
}

/// Where a schema comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// All of it is built in.
    BuiltIn,
    /// What isn't built in is this run's.
    Run(MigrationRunId),
    /// All of it is built in, and this run's would have gone further or elsewhere.
    Apart(MigrationRunId, Unfit),
}

/// Why a run's migrations are not this program's, with or without files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// One that is built in here has another name or text there.
    #[error("{0} is another there than the one that is built in here")]
    Differs(String),
    /// There are others, older than its files, that this program doesn't have.
    #[error("it was begun by a Portero with other migrations built in than this one has")]
    Unknown,
    /// Its files are none.
    #[error("its files can't be read")]
    Unreadable,
}

/// A migration that is not built in, as a run keeps it.
#[derive(Deserialize)]
struct File {
    name: String,
    sql: String,
}

impl FleetSchema {
    /// As it is now.
    ///
    /// # Errors
    /// The registry.
    pub async fn read(registry: &Registry) -> Result<Self, RegistryError> {
        let run = registry.migration_run_of_fleet().await?;
        Ok(Self::of(&TENANT_MIGRATIONS, run.as_ref()))
    }

    fn of(built_in: &Migrations, run: Option<&FleetRun>) -> Self {
        let newest = built_in.latest();
        let of_program = |spares_up_to, source| Self { migrations: built_in.clone(), spares_up_to, source };
        let Some(run) = run else { return of_program(newest, SchemaSource::BuiltIn) };
        match set_with(built_in, run.target, run.digest, &run.files) {
            Ok(set) if set.latest() > newest => {
                Self { spares_up_to: set.latest(), migrations: set, source: SchemaSource::Run(run.id) }
            }
            Ok(_) => of_program(newest, SchemaSource::BuiltIn),
            Err(unfit) => {
                let first =
                    files_in(&run.files).ok().and_then(|files| files.first().map(|file| file.version));
                let before = first.map_or(0, |first| first - 1);
                of_program(newest.min(before), SchemaSource::Apart(run.id, unfit))
            }
        }
    }
}

/// Of a set, the migrations that are not built in, for a run to keep.
#[must_use]
pub fn files_of(set: &Migrations) -> Value {
    let files = set.after(TENANT_MIGRATIONS.latest()).iter();
    files.map(|file| json!({ "name": file.to_string(), "sql": &*file.sql })).collect()
}

/// The migrations that a run began with: to this version, with this digest and these files.
///
/// # Errors
/// [`Unfit`], where this program has others.
pub fn set_of(target: SchemaVersion, digest: u64, files: &Value) -> Result<Migrations, Unfit> {
    set_with(&TENANT_MIGRATIONS, target, digest, files)
}

fn set_with(
    built_in: &Migrations,
    target: SchemaVersion,
    digest: u64,
    files: &Value,
) -> Result<Migrations, Unfit> {
    let files = files_in(files)?;
    let differs = |file: &Migration| {
        built_in.find(file.version).is_some_and(|known| known != file).then(|| file.to_string())
    };
    if let Some(file) = files.iter().find_map(differs) {
        return Err(Unfit::Differs(file));
    }
    let set = built_in.up_to(target).with(files).map_err(|_| Unfit::Unknown)?;
    if set.digest() == digest { Ok(set) } else { Err(Unfit::Unknown) }
}

fn files_in(files: &Value) -> Result<Vec<Migration>, Unfit> {
    let files = Vec::<File>::deserialize(files).map_err(|_| Unfit::Unreadable)?;
    let read = |file: File| Migration::new(&file.name, &file.sql).map_err(|_| Unfit::Unreadable);
    files.into_iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Migrations with these texts, numbered from 1.
    fn set(texts: &[&str]) -> Migrations {
        let none = TENANT_MIGRATIONS.up_to(0);
        let all =
            (1..).zip(texts).map(|(version, sql)| Migration::new(&format!("V{version}__a"), sql).unwrap());
        none.with(all).unwrap()
    }

    /// A run of all of a set, whose program had the first few built in.
    fn run(texts: &[&str], built_in: SchemaVersion) -> FleetRun {
        let set = set(texts);
        let files = set.after(built_in).iter();
        FleetRun {
            id: MigrationRunId::generate(),
            target: set.latest(),
            digest: set.digest(),
            files: files.map(|file| json!({ "name": file.to_string(), "sql": &*file.sql })).collect(),
        }
    }

    #[test]
    fn what_is_built_in_and_newer_files_are_one_set() {
        for (built_in, run, expected, spares) in [
            (&["a", "b"][..], None, &["a", "b"][..], 2),
            (&["a", "b"], Some(run(&["a", "b", "c", "d"], 2)), &["a", "b", "c", "d"], 4),
            // It has some of the files, all of them, and more, built in by now.
            (&["a", "b", "c"], Some(run(&["a", "b", "c", "d"], 2)), &["a", "b", "c", "d"], 4),
            (&["a", "b", "c"], Some(run(&["a", "b", "c"], 2)), &["a", "b", "c"], 3),
            (&["a", "b", "c", "d"], Some(run(&["a", "b", "c"], 2)), &["a", "b", "c", "d"], 4),
        ] {
            let schema = FleetSchema::of(&set(built_in), run.as_ref());
            assert_eq!((&schema.migrations, schema.spares_up_to), (&set(expected), spares), "{built_in:?}");
            let of_run = run.filter(|run| run.target > set(built_in).latest());
            let source = of_run.map_or(SchemaSource::BuiltIn, |run| SchemaSource::Run(run.id));
            assert_eq!(schema.source, source, "{built_in:?}");
        }
    }

    #[test]
    fn migrations_that_are_others_are_not_mixed() {
        let differs = Unfit::Differs("V3__a".to_owned());
        let broken = FleetRun { files: json!([{ "name": "three", "sql": "" }]), ..run(&["a", "b", "c"], 2) };
        for (built_in, run, why, spares) in [
            (&["a", "b", "x"][..], run(&["a", "b", "c"], 2), differs.clone(), 2),
            (&["a", "b", "x", "d"], run(&["a", "b", "c", "d"], 2), differs, 2),
            // An older program's, which has one less than whoever began the run.
            (&["a", "b"], run(&["a", "b", "c", "d"], 3), Unfit::Unknown, 2),
            (&["a", "x", "c"], run(&["a", "b", "c", "d"], 3), Unfit::Unknown, 3),
            (&["a", "b"], broken, Unfit::Unreadable, 0),
        ] {
            let schema = FleetSchema::of(&set(built_in), Some(&run));
            assert_eq!(schema.migrations, set(built_in));
            assert_eq!(schema.source, SchemaSource::Apart(run.id, why), "{built_in:?}");
            assert_eq!(schema.spares_up_to, spares, "{built_in:?}");
        }
    }
}
