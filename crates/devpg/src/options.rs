//! What a caller may choose about a cluster.

use std::path::PathBuf;
use std::time::Duration;

use crate::find::Binaries;

/// How to run a cluster. [`ClusterOptions::new`] has the values that suit development.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The PostgreSQL to use.
    pub binaries: Binaries,
    /// A directory of Portero's own, such as `.portero`; made if it isn't there. Files of others in it are left alone,
    /// also by [`Cluster::wipe`](crate::Cluster::wipe).
    pub data_dir: PathBuf,
    /// Settings of postgresql.conf, such as `("max_connections", "300")`; the later of two wins. They go on the
    /// server's command line, so they also win over `ALTER SYSTEM`. Address, port, sockets and the place of
    /// pg_hba.conf are decided here and can't be set.
    pub settings: Vec<(String, String)>,
    /// The lines of pg_hba.conf, written at every start. None means: everybody, with a password, over 127.0.0.1. Lines
    /// of one's own should let `postgres` in, or the superuser's password is of no use.
    pub hba: Vec<String>,
    /// What becomes of the cluster when its owner ends.
    pub lifetime: Lifetime,
    /// How long the server may take until it accepts connections, crash recovery included.
    pub start_timeout: Duration,
    /// How long an orderly end may take before the server is made to stop at once.
    pub stop_timeout: Duration,
}

impl ClusterOptions {
    /// Options without extra settings: the cluster stays, the server ends with its owner, a minute to start and ten
    /// seconds to stop.
    pub fn new(binaries: Binaries, data_dir: impl Into<PathBuf>) -> Self {
        Self {
            binaries,
            data_dir: data_dir.into(),
            settings: Vec::new(),
            hba: Vec::new(),
            lifetime: Lifetime::WithOwner,
            start_timeout: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
        }
    }
}

/// What becomes of a cluster when the process that owns it ends. The end of a [`Cluster`](crate::Cluster) value always
/// stops the server; this is about an owner that had no time for it, such as one killed with SIGKILL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lifetime {
    /// The server of a killed owner goes on until the next start on its directory takes it down.
    Lasting,
    /// A watchdog process stops the server in an orderly way; the data stay.
    #[default]
    WithOwner,
    /// A watchdog process stops the server and deletes the cluster; so does the end of the value. For tests.
    Throwaway,
}

/// How to end a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopMode {
    /// Ends the sessions, writes everything, and goes (SIGINT to the postmaster).
    Fast,
    /// Goes at once; the next start recovers from the log (SIGQUIT).
    Immediate,
    /// Doesn't even let the postmaster know (SIGKILL): what a crash looks like, for tests of one.
    Kill,
}
