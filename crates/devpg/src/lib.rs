//! A PostgreSQL cluster of one's own, for `portero dev` and for the tests.
//!
//! [`Binaries::find`] looks for an installed PostgreSQL, [`Cluster::start`] makes a private cluster with it (or opens
//! the one made last time) and runs it on a free port of 127.0.0.1, and [`running`] tells another process whether one
//! is up. Everything here blocks: call it from `spawn_blocking` where a runtime is about. Unix only.
//!
//! This room knows nothing of Portero's databases, roles or tables, and has no client: it hands out a port and the
//! superuser's password, and the caller does the rest.
//!
//! What lives in the data directory (`home.rs` explains when `pg` and its log live elsewhere):
//!
//! | name | what it is |
//! |---|---|
//! | `lock` | held by the one owner; its pid and port, for the others |
//! | `superuser.password` | made at random with the cluster, mode 0600 |
//! | `cluster.port` | the port used last time, preferred the next |
//! | `cluster.location` | only when the cluster lives elsewhere: where |
//! | `pg/` | the cluster |
//! | `pg_hba.conf` | the caller's lines, written at every start |
//! | `server.log`, `server.log.1` | the server's words since its last start, and before it |
//! | `initdb/` | a cluster being made; what an interrupted start left in it is swept at the next |
//!
//! Next: `cluster.rs` for the order in which it all happens.

mod cluster;
mod error;
mod find;
mod home;
mod initdb;
mod install;
mod lock;
mod options;
mod orphans;
mod port;
mod server;
mod user;
mod version;
mod watchdog;

pub use cluster::Cluster;
pub use error::DevPgError;
pub use find::{Binaries, FindError, Installation, OLDEST_MAJOR};
pub use lock::{RunningCluster, running};
pub use options::{ClusterOptions, Lifetime, StopMode};
pub use version::Version;
