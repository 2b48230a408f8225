//! Where things are kept, and where the cluster lives.
//!
//! The data directory is Portero's; the cluster within it belongs to the user who runs the server. As an ordinary user
//! these are the same person and the cluster is simply `<data_dir>/pg`. As root they are not, and two things follow:
//!
//! - A data directory made by root has mode 0711, not 0700: the server's user must pass through it to reach `pg`, but
//!   can't list it. What is secret in it has mode 0600 of its own, and `pg` is closed to everybody but its owner.
//! - Where the user can't pass (below /root, mostly), the cluster lives in `/var/lib/portero/dev-<hash of the data
//!   directory's path>`, and `cluster.location` remembers it: later starts go where the file says, whatever the
//!   permissions have become, and so never mistake a changed mode for a missing cluster.
//!
//! Root never writes inside a directory that the server's user owns, where a planted link could lead it astray: log and
//! pg_hba.conf stand beside `pg`, not in it. Who that user is, `user.rs` says.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::error::{DevPgError, io};
use crate::user::ServerUser;

pub(crate) const LOCK: &str = "lock";
pub(crate) const CLUSTER: &str = "pg";
pub(crate) const PASSWORD: &str = "superuser.password";
const LOCATION: &str = "cluster.location";
const PORT: &str = "cluster.port";
const LOG: &str = "server.log";
const OLD_LOG: &str = "server.log.1";
const HBA: &str = "pg_hba.conf";
const WORKSHOP: &str = "initdb";

/// Clusters of data directories that the server's user can't reach.
pub(crate) const ELSEWHERE: &str = "/var/lib/portero";

/// The places of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// The data directory, resolved.
    pub(crate) data_dir: PathBuf,
    /// The directory that holds `pg` and what goes with it: the data directory, or one elsewhere.
    pub(crate) root: PathBuf,
}

impl Home {
    /// Decides where the cluster of `data_dir` (there already, resolved) lives, and who runs it. Makes the directory
    /// elsewhere if it takes one, but doesn't claim it: that is [`Home::claim`], under the lock.
    pub(crate) fn settle(data_dir: PathBuf, elsewhere: &Path) -> Result<(Self, ServerUser), DevPgError> {
        if let Some(root) = pointed_to(&data_dir)? {
            let user = ServerUser::for_cluster(&root.join(CLUSTER))?;
            make_dir(&root, open_to_passers())?;
            return reachable(Self { data_dir, root }, user);
        }
        let here = Self { root: data_dir.clone(), data_dir };
        let user = ServerUser::for_cluster(&here.cluster())?;
        if here.cluster().exists() || user.can_reach(&here.root) {
            return reachable(here, user);
        }
        let name = format!("dev-{:016x}", fnv1a(here.data_dir.as_os_str().as_bytes()));
        let root = elsewhere.join(name);
        make_dir(elsewhere, open_to_passers())?;
        make_dir(&root, open_to_passers())?;
        reachable(Self { root, ..here }, user)
    }

    /// Does the cluster live outside the data directory?
    pub(crate) fn is_elsewhere(&self) -> bool {
        self.root != self.data_dir
    }

    /// Remembers a place elsewhere. A cluster that is there although nothing pointed to it is of a data directory that
    /// was deleted: its password is gone, and whoever deletes the directory means to begin anew. It is set aside, not
    /// deleted. The caller has taken its server down by then.
    pub(crate) fn claim(&self) -> Result<(), DevPgError> {
        if !self.is_elsewhere() || pointed_to(&self.data_dir)?.is_some() {
            return Ok(());
        }
        let cluster = self.cluster();
        if cluster.exists() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let aside = self.root.join(format!("{CLUSTER}.abandoned-{now}"));
            fs::rename(&cluster, aside).map_err(io("set aside", &cluster))?;
        }
        let text = [self.root.as_os_str().as_bytes(), b"\n"].concat();
        write_file(&self.data_dir.join(LOCATION), &text, 0o644)
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        self.root.join(CLUSTER)
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.root.join(LOG)
    }

    pub(crate) fn hba(&self) -> PathBuf {
        self.root.join(HBA)
    }

    /// Where a cluster is made before it is moved into its place.
    pub(crate) fn workshop(&self) -> PathBuf {
        self.root.join(WORKSHOP)
    }

    pub(crate) fn password_file(&self) -> PathBuf {
        self.data_dir.join(PASSWORD)
    }

    /// The port of last time.
    pub(crate) fn last_port(&self) -> Option<u16> {
        fs::read_to_string(self.data_dir.join(PORT)).ok()?.trim().parse().ok()
    }

    pub(crate) fn remember_port(&self, port: u16) -> Result<(), DevPgError> {
        write_file(&self.data_dir.join(PORT), format!("{port}\n").as_bytes(), 0o644)
    }

    /// Starts a new log and keeps the one before.
    pub(crate) fn turn_log(&self) -> Result<(), DevPgError> {
        match fs::rename(self.log(), self.root.join(OLD_LOG)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(io("rename", &self.log())(error)),
            _ => Ok(()),
        }
    }

    /// Everything of a cluster's, to be deleted with it. The lock comes last: it guards the rest.
    pub(crate) fn belongings(&self) -> Vec<PathBuf> {
        let in_root = [CLUSTER, WORKSHOP, LOG, OLD_LOG, HBA].map(|name| self.root.join(name));
        let in_data_dir = [PASSWORD, PORT, LOCATION].map(|name| self.data_dir.join(name));
        let locks = [self.root.join(LOCK), self.data_dir.join(LOCK)];
        in_root.into_iter().chain(in_data_dir).chain(locks).collect()
    }

    /// Deletes all that, and the directories if nothing else is in them.
    pub(crate) fn wipe(&self) -> Result<(), DevPgError> {
        for path in self.belongings() {
            remove(&path).map_err(io("delete", &path))?;
        }
        // Not empty means that somebody else keeps something there.
        let _ = fs::remove_dir(&self.root);
        let _ = fs::remove_dir(&self.data_dir);
        Ok(())
    }
}

/// Makes the data directory if it isn't there, and resolves its path. The mode of one that is there is left as it is.
pub(crate) fn open_data_dir(data_dir: &Path) -> Result<PathBuf, DevPgError> {
    let mode = if rustix::process::geteuid().is_root() { open_to_passers() } else { 0o700 };
    make_dir(data_dir, mode)?;
    data_dir.canonicalize().map_err(io("resolve", data_dir))
}

/// Where the cluster of a data directory lives, if that is elsewhere.
pub(crate) fn pointed_to(data_dir: &Path) -> Result<Option<PathBuf>, DevPgError> {
    let path = data_dir.join(LOCATION);
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes.trim_ascii_end())))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io("read", &path)(error)),
    }
}

/// Writes a file whole or not at all, with this mode whatever the umask.
pub(crate) fn write_file(path: &Path, content: &[u8], mode: u32) -> Result<(), DevPgError> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    let write = || -> io::Result<()> {
        remove(&new)?;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)
    };
    write().map_err(io("write", path))
}

/// Deletes a file or a directory with all in it; what isn't there is deleted already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    let result = match fs::symlink_metadata(path) {
        Ok(meta) if meta.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes a directory, and those above it, if it isn't there; this mode is for the last only.
pub(crate) fn make_dir(path: &Path, mode: u32) -> Result<(), DevPgError> {
    if path.is_dir() {
        return Ok(());
    }
    let make = || -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        DirBuilder::new().mode(0o700).create(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    };
    make().map_err(io("make", path))
}

/// Makes the names in a directory last through a crash of the system.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DevPgError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(io("sync", dir))
}

fn open_to_passers() -> u32 {
    0o711
}

fn reachable(home: Home, user: ServerUser) -> Result<(Home, ServerUser), DevPgError> {
    if user.can_reach(&home.root) {
        return Ok((home, user));
    }
    Err(DevPgError::Unreachable { path: home.root, user: user.name().to_owned() })
}

/// FNV-1a of 64 bits (isthe.com/chongo/tech/comp/fnv): stable across builds, which std's hasher doesn't promise. Not
/// against malice.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
#[path = "home_tests.rs"]
mod tests;
