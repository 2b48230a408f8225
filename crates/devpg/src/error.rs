//! What can go wrong with a cluster, and what one does next.
//!
//! Finding PostgreSQL has its own error, [`FindError`](crate::FindError).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Why a cluster couldn't be started, stopped or looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevPgError {
    /// Another process owns the data directory.
    #[error("{} is in use by {}: stop it first, or use another directory", .data_dir.display(), owner(*.pid))]
    InUse {
        /// The data directory as resolved.
        data_dir: PathBuf,
        /// The owner's process id, where it could be read.
        pid: Option<u32>,
    },
    /// Run as root, and there is neither a user `postgres` nor `nobody` to run the server as.
    #[error(
        "PostgreSQL doesn't run as root, and there is no user `postgres` or `nobody`: create one (useradd -r postgres)"
    )]
    NoServerUser,
    /// The cluster is where the server's user can't get to it.
    #[error(
        "the user `{user}`, who runs the server, can't get to {}: give others search permission (chmod o+x) on it and \
         on the directories above it",
        .path.display()
    )]
    Unreachable {
        /// The directory that can't be reached.
        path: PathBuf,
        /// The user's name, or its number.
        user: String,
    },
    /// The cluster was made by a major version that isn't installed.
    #[error(
        "the cluster in {} was made by PostgreSQL {cluster}, and only {found} can be used: install PostgreSQL \
         {cluster}, or move the directory away to begin anew",
        .location.display()
    )]
    WrongMajor {
        /// The cluster's directory.
        location: PathBuf,
        /// The major that made it.
        cluster: u32,
        /// The versions that are there, for the eye.
        found: String,
    },
    /// There is a directory in the cluster's place that isn't a cluster.
    #[error("{} isn't a PostgreSQL cluster (no readable PG_VERSION): move it away", .location.display())]
    NotACluster {
        /// The directory.
        location: PathBuf,
    },
    /// A program of PostgreSQL couldn't be run.
    #[error("can't run {}", .program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `initdb` failed, or the single-user server that gives a cluster a new password.
    #[error("{} failed:\n{output}", .program.display())]
    ProgramFailed {
        /// The program.
        program: PathBuf,
        /// What it said.
        output: String,
    },
    /// The server ended while starting.
    #[error("PostgreSQL didn't start. The end of {}:\n{tail}", .log.display())]
    StartFailed {
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server wasn't ready in time, and was stopped again.
    #[error("PostgreSQL wasn't ready after {} s. The end of {}:\n{tail}", .after.as_secs(), .log.display())]
    StartTimeout {
        /// How long was waited.
        after: Duration,
        /// The server's log.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// Every port tried on 127.0.0.1 was taken.
    #[error("no free port on 127.0.0.1 after {tried} tries")]
    NoFreePort {
        /// How many were tried.
        tried: usize,
    },
    /// A server process of this cluster outlives every signal.
    #[error("process {pid} of the cluster in {} doesn't end: look at it, and end it by hand", .location.display())]
    WontEnd {
        /// The process.
        pid: u32,
        /// The cluster's directory.
        location: PathBuf,
    },
    /// The system refused something on a file, a process or the random source.
    #[error("can't {doing} {}", .path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
}

/// For `map_err`: an I/O error with what was being done, and to what.
pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DevPgError {
    let path = path.to_path_buf();
    move |source| DevPgError::Io { doing, path, source }
}

fn owner(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
}
