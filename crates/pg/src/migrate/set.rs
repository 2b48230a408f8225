//! A set of migrations: those built into the program, and files beside them that are newer.

use super::statements::{concurrent_index, split, transaction_control};
use portero_kernel::SchemaVersion;
use refinery::Runner;
use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The first line of a migration that can't run in a transaction.
const NO_TRANSACTION: &str = "-- portero: no transaction";

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// Its number: they are applied in this order.
    pub version: SchemaVersion,
    /// What it is called in the history.
    pub name: String,
    /// Its text.
    pub sql: Arc<str>,
    /// refinery's, of version, name and text: SipHash 1-3.
    pub checksum: u64,
}

impl Migration {
    /// From a file's name without its ending, and its text.
    ///
    /// # Errors
    /// [`SetError::Name`].
    pub fn new(stem: &str, sql: &str) -> Result<Self, SetError> {
        let refused = || SetError::Name(stem.to_owned());
        let (number, name) =
            stem.strip_prefix('V').and_then(|rest| rest.split_once("__")).ok_or_else(refused)?;
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if number.starts_with(['0', '+']) || name.is_empty() || !name.chars().all(plain) {
            return Err(refused());
        }
        let made = refinery::Migration::unapplied(stem, sql).map_err(|_| refused())?;
        Ok(Self::from_refinery(&made))
    }

    fn from_refinery(made: &refinery::Migration) -> Self {
        Self {
            version: made.version(),
            name: made.name().to_owned(),
            sql: made.sql().unwrap_or_default().into(),
            checksum: made.checksum(),
        }
    }

    /// Whether it runs in a transaction, as all do but those whose first line says otherwise.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.sql.lines().next().is_none_or(|line| line.trim() != NO_TRANSACTION)
    }

    /// What it can't be, whatever it does.
    fn check(&self) -> Result<(), SetError> {
        if self.sql.contains('\0') {
            return Err(SetError::Nul(self.to_string()));
        }
        let statements = split(&self.sql);
        if statements.is_empty() {
            return Err(SetError::Empty(self.to_string()));
        }
        if let Some(found) = statements.iter().find_map(|statement| transaction_control(statement)) {
            return Err(SetError::TransactionControl(self.to_string(), found));
        }
        let nameless =
            |statement: &&str| concurrent_index(statement).is_some_and(|index| index.name.is_none());
        if !self.is_transactional() && statements.iter().any(nameless) {
            return Err(SetError::NamelessIndex(self.to_string()));
        }
        Ok(())
    }
}

/// As its file is called, without the ending.
impl fmt::Display for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "V{}__{}", self.version, self.name)
    }
}

/// Why files can't be a set of migrations.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A file or the directory can't be read.
    #[error("{} can't be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// A file's name doesn't say what it is.
    #[error("{0}.sql is not called like a migration: V<number>__<letters, digits and _>.sql")]
    Name(String),
    /// Two files have one number.
    #[error("{0} and {1} have the same number")]
    Twice(String, String),
    /// One that is built in has another text here.
    #[error("{0} is built into this Portero with another text than the file's: a migration is never changed")]
    Changed(String),
    /// Its number is taken by an older one that it isn't.
    #[error("{file} is not newer than the newest that is built in, {newest}, and is none of those")]
    Old {
        /// The file.
        file: String,
        /// The newest that is built in.
        newest: String,
    },
    /// There is no statement in it.
    #[error("{0} is empty: its number would be spent on nothing, since a migration is never changed")]
    Empty(String),
    /// A file is called almost like a migration.
    #[error("{} would be passed over: a migration's file ends in .sql", .0.display())]
    Ending(PathBuf),
    /// PostgreSQL can't hold its text.
    #[error("{0} has a NUL character in it")]
    Nul(String),
    /// It isn't a plain file, which has an end.
    #[error("{} is no file", .0.display())]
    NotAFile(PathBuf),
    /// It begins or ends transactions itself.
    #[error("{0} has a {1}: each migration is one transaction, which its history row is part of")]
    TransactionControl(String, &'static str),
    /// What a crash leaves of it could not be found again.
    #[error(
        "{0} makes an index CONCURRENTLY that has no name: give it one, so that a second try finds what the first left"
    )]
    NamelessIndex(String),
}

/// Migrations in the order in which they are applied. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrations(Arc<[Migration]>);

impl Migrations {
    /// From the `runner` function that `refinery::embed_migrations!` makes.
    #[must_use]
    pub fn embedded(runner: &Runner) -> Self {
        let mut all: Vec<_> = runner.get_migrations().iter().map(Migration::from_refinery).collect();
        all.sort_by_key(|migration| migration.version);
        Self(all.into())
    }

    /// These, and newer ones: those that are here already may be among them.
    ///
    /// # Errors
    /// [`SetError`] says which of them can't be.
    pub fn with(&self, newer: impl IntoIterator<Item = Migration>) -> Result<Self, SetError> {
        let mut all = self.0.to_vec();
        let newest = self.0.last();
        for migration in newer {
            if let Some(known) = all.iter().find(|known| known.version == migration.version) {
                match self.find(migration.version) {
                    Some(built_in) if *built_in == migration => continue,
                    Some(built_in) if built_in.name == migration.name => {
                        return Err(SetError::Changed(migration.to_string()));
                    }
                    _ => return Err(SetError::Twice(known.to_string(), migration.to_string())),
                }
            }
            if let Some(newest) = newest.filter(|newest| newest.version > migration.version) {
                return Err(SetError::Old { file: migration.to_string(), newest: newest.to_string() });
            }
            migration.check()?;
            all.push(migration);
        }
        all.sort_by_key(|migration| migration.version);
        Ok(Self(all.into()))
    }

    /// These, and the newer ones of a directory: its `.sql` files.
    ///
    /// # Errors
    /// [`SetError`].
    pub fn with_directory(&self, directory: &Path) -> Result<Self, SetError> {
        let unreadable = |path: &Path| {
            let path = path.to_owned();
            move |error| SetError::Unreadable(path, error)
        };
        let mut files = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
            let path = entry.map_err(unreadable(directory))?.path();
            if path.extension().is_some_and(|ending| ending == "sql") {
                if !fs::metadata(&path).map_err(unreadable(&path))?.is_file() {
                    return Err(SetError::NotAFile(path));
                }
                let sql = fs::read_to_string(&path).map_err(unreadable(&path))?;
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                files.push(Migration::new(&stem, &sql)?);
            } else if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("sql")) {
                return Err(SetError::Ending(path));
            }
        }
        files.sort_by_key(|migration| migration.version);
        self.with(files)
    }

    /// All of them, in order.
    #[must_use]
    pub fn all(&self) -> &[Migration] {
        &self.0
    }

    /// Those up to a version.
    #[must_use]
    pub fn up_to(&self, version: SchemaVersion) -> Self {
        Self(self.0.iter().filter(|migration| migration.version <= version).cloned().collect())
    }

    /// Those after a version.
    #[must_use]
    pub fn after(&self, version: SchemaVersion) -> &[Migration] {
        let first = self.0.partition_point(|migration| migration.version <= version);
        self.0.get(first..).unwrap_or_default()
    }

    /// The one with this version.
    #[must_use]
    pub fn find(&self, version: SchemaVersion) -> Option<&Migration> {
        self.0.iter().find(|migration| migration.version == version)
    }

    /// The version that a database has after all of them.
    #[must_use]
    pub fn latest(&self) -> SchemaVersion {
        self.0.last().map_or(0, |migration| migration.version)
    }

    /// A number that goes with the names, the order and the texts of all of them: another set has another.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let all: Vec<_> =
            self.0.iter().map(|migration| (migration.version, &migration.name, migration.checksum)).collect();
        u64::from_ne_bytes(super::lock_key(&format!("{all:?}")).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(stem: &str, sql: &str) -> Migration {
        Migration::new(stem, sql).unwrap()
    }

    fn built_in() -> Migrations {
        let all = [("V1__users", "CREATE TABLE users ()"), ("V2__audit", "CREATE TABLE audit ()")];
        Migrations(all.map(|(stem, sql)| migration(stem, sql)).into())
    }

    #[test]
    fn checksums_are_refinerys() {
        let theirs = refinery::Migration::unapplied("V7__a_b", "SELECT 1").unwrap();
        assert_eq!(migration("V7__a_b", "SELECT 1").checksum, theirs.checksum());
        let runner = Runner::new(&[theirs]);
        assert_eq!(Migrations::embedded(&runner).all(), [migration("V7__a_b", "SELECT 1")]);
    }

    #[test]
    fn a_name_is_a_number_and_words() {
        for stem in ["V1__a", "V12__Two_words_2"] {
            assert_eq!(migration(stem, "").to_string(), stem);
        }
        for stem in [
            "V1_a",
            "1__a",
            "U1__a",
            "V1__",
            "V__a",
            "V01__a",
            "V+1__a",
            "V1.5__a",
            "V1__a-b",
            "V99999999999__a",
        ] {
            assert!(matches!(Migration::new(stem, ""), Err(SetError::Name(_))), "{stem}");
        }
    }

    #[test]
    fn newer_ones_come_after_those_built_in() {
        let same = built_in().all()[1].clone();
        let more = [migration("V4__c", "SELECT 4"), same, migration("V3__b", "SELECT 3")];
        let set = built_in().with(more).unwrap();
        let versions: Vec<_> = set.all().iter().map(|one| one.version).collect();
        assert_eq!((versions.as_slice(), set.latest()), (&[1, 2, 3, 4][..], 4));
        let after: Vec<_> = set.after(2).iter().map(ToString::to_string).collect();
        assert_eq!(after, ["V3__b", "V4__c"]);
        assert_eq!(set.up_to(2), built_in());
        assert_ne!(set.digest(), built_in().digest());
    }

    #[test]
    fn what_can_not_be_a_set_is_told() {
        let with = |all: &[(&str, &str)]| {
            built_in().with(all.iter().map(|(stem, sql)| migration(stem, sql))).unwrap_err().to_string()
        };
        for (all, told) in [
            (&[("V2__audit", "CREATE TABLE other ()")][..], "V2__audit is built into"),
            (&[("V2__other", "SELECT 2")], "V2__audit and V2__other have the same number"),
            (&[("V3__a", "SELECT 1"), ("V3__b", "SELECT 1")], "V3__a and V3__b have the same number"),
            (&[("V3__a", "SELECT 1; COMMIT; SELECT 2")], "V3__a has a COMMIT"),
            (&[("V3__a", "-- to be written\n")], "V3__a is empty"),
            (&[("V3__a", "SELECT '\0'")], "V3__a has a NUL"),
            (
                &[("V3__a", "-- portero: no transaction\nCREATE INDEX CONCURRENTLY ON users (id)")],
                "V3__a makes an index CONCURRENTLY that has no name",
            ),
        ] {
            assert!(with(all).contains(told), "{all:?}: {}", with(all));
        }
        let hole = Migrations([migration("V1__a", ""), migration("V3__c", "")].into());
        let told = hole.with([migration("V2__b", "")]).unwrap_err().to_string();
        assert!(told.contains("V2__b is not newer than the newest that is built in, V3__c"), "{told}");
    }

    #[test]
    fn the_first_line_says_that_there_is_no_transaction() {
        for (sql, is) in [
            ("-- portero: no transaction\nSELECT 1", false),
            ("-- portero: no transaction\r\nSELECT 1", false),
            ("SELECT 1;\n-- portero: no transaction", true),
            ("-- portero: no transactions\nSELECT 1", true),
            ("", true),
        ] {
            assert_eq!(migration("V1__a", sql).is_transactional(), is, "{sql:?}");
        }
    }
}
