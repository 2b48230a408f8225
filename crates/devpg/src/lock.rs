//! One owner at a time: the lock on a directory, and what the others can read in it.
//!
//! The lock is the kernel's (flock), so it goes with its process however that ends; the file's text is for the eye and
//! means nothing unless the lock is held. Knows nothing of servers.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{DevPgError, io};
use crate::home;

/// Somebody who only looks ([`running`]) holds the lock for an instant too: wait that long before believing in an owner.
const GLANCE: Duration = Duration::from_millis(200);

/// The right to the cluster of a directory, until dropped.
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Takes the lock of `dir`, or says who has it. `data_dir` is for the message.
    pub(crate) fn acquire(dir: &Path, data_dir: &Path) -> Result<Self, DevPgError> {
        let path = dir.join(home::LOCK);
        let deadline = Instant::now() + GLANCE;
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).mode(0o644).open(&path);
            let file = file.map_err(io("open", &path))?;
            match file.try_lock() {
                // A wipe may have deleted the file between our opening and our locking: then it locks nothing.
                Ok(()) if is_still(&file, &path) => {
                    let lock = Self { file };
                    lock.announce(None).map_err(io("write", &path))?;
                    return Ok(lock);
                }
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if Instant::now() < deadline => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let pid = read(&file).ok().and_then(|(pid, _)| pid);
                    return Err(DevPgError::InUse { data_dir: data_dir.into(), pid });
                }
                Err(TryLockError::Error(source)) => return Err(io("lock", &path)(source)),
            }
        }
    }

    /// Writes who we are and on which port the server listens, if it does. Of constant length, so that a reader never
    /// sees half of it.
    pub(crate) fn announce(&self, port: Option<u16>) -> io::Result<()> {
        let text = format!("{:<10}\n{:<5}\n", std::process::id(), port.unwrap_or(0));
        self.file.write_all_at(text.as_bytes(), 0)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Not only closed: a child between fork and exec has a copy of the descriptor, which would keep the lock.
        let _ = self.file.unlock();
    }
}

/// A cluster that a process has in its hands just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningCluster {
    /// The process that started it, such as `portero dev`.
    pub owner_pid: Option<u32>,
    /// The port on 127.0.0.1; `None` while it is starting or stopping.
    pub port: Option<u16>,
    /// The cluster's directory.
    pub location: PathBuf,
    password_file: PathBuf,
}

impl RunningCluster {
    /// The superuser's password. Only the owner's user may read it.
    ///
    /// # Errors
    /// [`DevPgError::Io`] if the file can't be read.
    pub fn superuser_password(&self) -> Result<String, DevPgError> {
        let text = fs::read_to_string(&self.password_file).map_err(io("read", &self.password_file))?;
        Ok(text.trim().to_owned())
    }
}

/// Is a cluster in use in `data_dir`, and where? `None` when no process owns it, also when a server is still running
/// that a killed owner left behind.
///
/// # Errors
/// [`DevPgError::Io`] if the directory is there but can't be read.
pub fn running(data_dir: &Path) -> Result<Option<RunningCluster>, DevPgError> {
    let path = data_dir.join(home::LOCK);
    let file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(None);
        }
        Err(error) => return Err(io("open", &path)(error)),
    };
    match file.try_lock_shared() {
        Ok(()) => {
            let _ = file.unlock();
            Ok(None)
        }
        Err(TryLockError::WouldBlock) => {
            let (owner_pid, port) = read(&file).map_err(io("read", &path))?;
            let data_dir = data_dir.canonicalize().map_err(io("resolve", data_dir))?;
            let root = home::pointed_to(&data_dir)?.unwrap_or_else(|| data_dir.clone());
            let location = root.join(home::CLUSTER);
            Ok(Some(RunningCluster {
                owner_pid,
                port,
                location,
                password_file: data_dir.join(home::PASSWORD),
            }))
        }
        Err(TryLockError::Error(source)) => Err(io("lock", &path)(source)),
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

fn read(file: &File) -> io::Result<(Option<u32>, Option<u16>)> {
    let mut bytes = [0; 32];
    let length = file.read_at(&mut bytes, 0)?;
    let text = String::from_utf8_lossy(&bytes[..length]);
    let mut lines = text.lines().map(str::trim);
    let pid = lines.next().and_then(|line| line.parse().ok());
    let port = lines.next().and_then(|line| line.parse().ok()).filter(|&port| port != 0);
    Ok((pid, port))
}
