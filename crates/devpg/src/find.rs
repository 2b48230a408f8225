//! Finding an installed PostgreSQL.
//!
//! [`Binaries::find`] gathers the places where `initdb` and `postgres` may be, asks each for its version, and chooses.
//! The choice ([`newest_usable`]) is apart from the search, so that a table can test it. What a version looks like is
//! in `version.rs`, how to install one in `install.rs`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::install;
use crate::version::Version;

/// The oldest major of PostgreSQL that Portero works with.
pub const OLDEST_MAJOR: u32 = 15;

/// Where the systems put PostgreSQL. Each has at most one component with a `*`.
const USUAL_PLACES: &[&str] = &[
    "/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
    "/usr/pgsql-*/bin",                                   // Fedora and RHEL, packages of postgresql.org
    "/usr/bin",                                           // Fedora, RHEL, Arch
    "/usr/lib/postgresql*/bin",                           // SUSE
    "/usr/libexec/postgresql*",                           // Alpine
    "/usr/local/bin",                                     // built from source, FreeBSD
    "/usr/local/pgsql/bin",                               // built from source
    "/opt/homebrew/opt/postgresql*/bin",                  // Homebrew, Apple silicon
    "/usr/local/opt/postgresql*/bin",                     // Homebrew, Intel
    "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",     // Homebrew, Linux
    "/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
];

/// One PostgreSQL whose `initdb` and `postgres` were seen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The directory that holds its programs, symbolic links resolved.
    pub bin_dir: PathBuf,
    /// What `postgres --version` says.
    pub version: Version,
}

/// The PostgreSQL to use, and the others there are: a cluster made by an older major needs that major's programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    chosen: Installation,
    found: Vec<Installation>,
}

/// Why there is no PostgreSQL to use.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The directory that the user set can't be used.
    #[error("no PostgreSQL in {} as set: {why}. Set the directory that holds `initdb` and `postgres`", .path.display())]
    Setting {
        /// The directory as set.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The directory that the user set holds a PostgreSQL that is too old.
    #[error("the PostgreSQL in {} is {version}, too old: Portero needs {OLDEST_MAJOR} or newer", .path.display())]
    SettingTooOld {
        /// The directory as set.
        path: PathBuf,
        /// The version found there.
        version: Version,
    },
    /// Nothing usable in any of the places.
    #[error("{}", not_found(.too_old, .install))]
    NotFound {
        /// Installations older than [`OLDEST_MAJOR`].
        too_old: Vec<Installation>,
        /// The command that installs PostgreSQL on this platform.
        install: &'static str,
    },
}

impl Binaries {
    /// Finds PostgreSQL: in `explicit` if that is given (the directory of the programs, or the one above its `bin`),
    /// otherwise the newest of those in `PATH`, in `pg_config --bindir` and in the usual places of the systems.
    ///
    /// # Errors
    /// [`FindError`], whose text says what to install or to set.
    pub fn find(explicit: Option<&Path>) -> Result<Self, FindError> {
        match explicit {
            Some(path) => Self::at(path),
            None => Self::among(&candidates(std::env::var_os("PATH").as_deref(), USUAL_PLACES)),
        }
    }

    /// The directory of the programs chosen.
    pub fn bin_dir(&self) -> &Path {
        &self.chosen.bin_dir
    }

    /// The version chosen.
    pub fn version(&self) -> Version {
        self.chosen.version
    }

    /// Every usable installation found, [`OLDEST_MAJOR`] or newer. Only the one, when it was set.
    pub fn found(&self) -> &[Installation] {
        &self.found
    }

    /// The installation that can open a cluster made by `major`: the newest minor of it.
    pub fn for_major(&self, major: u32) -> Option<&Installation> {
        if self.chosen.version.major == major {
            return Some(&self.chosen);
        }
        self.found.iter().filter(|one| one.version.major == major).max_by_key(|one| one.version)
    }

    fn at(path: &Path) -> Result<Self, FindError> {
        let bin = path.join("bin");
        let dir = if bin.join("postgres").exists() { &bin } else { path };
        let chosen = probe(dir).map_err(|why| FindError::Setting { path: path.into(), why })?;
        if chosen.version.major < OLDEST_MAJOR {
            return Err(FindError::SettingTooOld { path: path.into(), version: chosen.version });
        }
        Ok(Self { found: vec![chosen.clone()], chosen })
    }

    fn among(candidates: &[PathBuf]) -> Result<Self, FindError> {
        let mut found: Vec<Installation> = Vec::new();
        for one in candidates.iter().filter_map(|dir| probe(dir).ok()) {
            if !found.iter().any(|known| known.bin_dir == one.bin_dir) {
                found.push(one);
            }
        }
        let chosen = newest_usable(&found).cloned();
        let (usable, too_old) = found.into_iter().partition(|one| one.version.major >= OLDEST_MAJOR);
        match chosen {
            Some(chosen) => Ok(Self { chosen, found: usable }),
            None => Err(FindError::NotFound { too_old, install: install::command_for_this_machine() }),
        }
    }
}

/// The newest that isn't too old; among equals the first, since the earlier places are the more deliberate ones.
fn newest_usable(found: &[Installation]) -> Option<&Installation> {
    found.iter().rev().filter(|one| one.version.major >= OLDEST_MAJOR).max_by_key(|one| one.version)
}

/// Directories that have a `postgres`, in the order of the search.
fn candidates(path_var: Option<&OsStr>, usual_places: &[&str]) -> Vec<PathBuf> {
    let in_path = path_var.into_iter().flat_map(std::env::split_paths);
    let by_pg_config = run("pg_config".as_ref(), "--bindir").ok().map(|dir| PathBuf::from(dir.trim()));
    let usual = usual_places.iter().flat_map(|pattern| expand(pattern));
    in_path
        .chain(by_pg_config)
        .chain(usual)
        .filter(|dir| dir.is_absolute() && dir.join("postgres").exists())
        .collect()
}

/// Asks the programs in `dir` whether they run and which version they are.
fn probe(dir: &Path) -> Result<Installation, String> {
    let bin_dir = true_bin_dir(dir)?;
    let mut versions = Vec::new();
    for program in ["postgres", "initdb"] {
        let path = bin_dir.join(program);
        let printed =
            run(path.as_os_str(), "--version").map_err(|e| format!("{} doesn't run: {e}", path.display()))?;
        let version = Version::parse(&printed);
        versions.push(version.ok_or_else(|| format!("{} prints no version: {printed:?}", path.display()))?);
    }
    match versions[..] {
        [server, initdb] if server == initdb => Ok(Installation { bin_dir, version: server }),
        _ => Err(format!("its postgres and its initdb are of different versions: {versions:?}")),
    }
}

/// Where the programs really are: a directory in `PATH` often has links only, and not to all of them.
fn true_bin_dir(dir: &Path) -> Result<PathBuf, String> {
    let dir = dir.canonicalize().map_err(|e| e.to_string())?;
    let resolved =
        dir.join("postgres").canonicalize().map_err(|_| "there is no `postgres` in it".to_owned())?;
    let true_dir = resolved.parent().filter(|parent| parent.join("initdb").exists());
    match true_dir {
        Some(true_dir) => Ok(true_dir.to_path_buf()),
        None if dir.join("initdb").exists() => Ok(dir),
        None => Err("there is no `initdb` in it".to_owned()),
    }
}

fn run(program: &OsStr, arg: &str) -> Result<String, String> {
    let output = Command::new(program).arg(arg).stdin(Stdio::null()).current_dir("/").output();
    let output = output.map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The directories that match a pattern with at most one component of the form `before*after`.
fn expand(pattern: &str) -> Vec<PathBuf> {
    let Some((before, after)) = pattern.split_once('*') else { return vec![PathBuf::from(pattern)] };
    let (parent, prefix) = before.rsplit_once('/').unwrap_or(("", before));
    let (suffix, rest) = after.split_once('/').unwrap_or((after, ""));
    let Ok(entries) = fs::read_dir(parent) else { return Vec::new() };
    let mut matching: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| {
            let name = entry.file_name();
            let middle = name.to_str().and_then(|name| name.strip_prefix(prefix));
            middle.is_some_and(|middle| middle.ends_with(suffix))
        })
        .map(|entry| entry.path().join(rest))
        .collect();
    matching.sort();
    matching
}

fn not_found(too_old: &[Installation], install: &str) -> String {
    let advice =
        format!("Install it ({install}; or see https://www.postgresql.org/download/), or set its directory");
    if too_old.is_empty() {
        return format!("PostgreSQL {OLDEST_MAJOR} or newer is needed and none was found. {advice}");
    }
    let seen: Vec<String> =
        too_old.iter().map(|one| format!("{} in {}", one.version, one.bin_dir.display())).collect();
    format!(
        "PostgreSQL {OLDEST_MAJOR} or newer is needed and only older ones were found: {}. {advice}",
        seen.join(", ")
    )
}

#[cfg(test)]
#[path = "find_tests.rs"]
mod tests;
