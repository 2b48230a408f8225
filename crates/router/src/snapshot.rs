//! The last that a router knew, on disk: with it a router starts while the registry is away.
//!
//! One file, sealed with the master key: who can write it could otherwise lead a subdomain to another company. It is
//! written beside the old one and put in its place, so there is always a whole one. A lock on the directory says that
//! one process uses it; a second one lives without.

use portero_registry::{Registry, RegistryError, RouteRow, SnapshotHead};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

/// Why there is no snapshot to start from.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// There is no file, or no directory for it.
    #[error("there is none")]
    None,
    /// It can't be read.
    #[error("it can't be read")]
    File(#[source] io::Error),
    /// It doesn't open: another master key, or a damaged file.
    #[error("it doesn't open")]
    Sealed(#[source] RegistryError),
}

/// Where the snapshot is kept.
pub(crate) struct Shelf {
    file: PathBuf,
    /// Held as long as this lives.
    _lock: File,
}

impl Shelf {
    /// Takes a directory for this process; nothing where another process has it.
    ///
    /// # Errors
    /// The directory can't be made, or written to.
    pub(crate) fn take(directory: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(directory)?;
        let lock = open_private(&directory.join("router.lock"))?;
        match lock.try_lock() {
            Ok(()) => Ok(Some(Self { file: directory.join("router.snapshot"), _lock: lock })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The snapshot as it lies there, to be opened by [`Registry::open_snapshot`].
    pub(crate) fn read(&self) -> Result<Vec<u8>, SnapshotError> {
        let read = || {
            // Anything else may be without an end.
            if !fs::symlink_metadata(&self.file)?.is_file() {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
            }
            fs::read(&self.file)
        };
        read().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SnapshotError::None,
            _ => SnapshotError::File(error),
        })
    }

    pub(crate) fn write(
        &self,
        registry: &Registry,
        head: &SnapshotHead,
        routes: impl ExactSizeIterator<Item = RouteRow>,
    ) -> io::Result<()> {
        let beside = self.file.with_extension("new");
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = open_private(&beside)?;
        let mut out = BufWriter::new(&mut file);
        registry.write_snapshot(head, routes, &mut out)?;
        out.flush()?;
        drop(out);
        file.sync_all()?;
        fs::rename(&beside, &self.file)?;
        // The name is on disk when its directory is.
        self.file.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
    }
}

/// For this user alone.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
