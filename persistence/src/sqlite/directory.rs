//! The data directory: made private, and taken by one process at a time.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::StoreError;

/// The journal and everything small.
pub(super) const JOURNAL: &str = "avvyland.sqlite";
/// The parts of snapshots, apart so that they never hold up a commit.
pub(super) const PARTS: &str = "snapshots.sqlite";
const LOCK: &str = "avvyland.lock";

/// A data directory that this process has, until it is dropped.
pub(super) struct Directory {
    path: PathBuf,
    /// Holds an advisory lock of the whole file, which the system lets go
    /// when the process ends, however it ends.
    _lock: File,
}

impl Directory {
    /// Takes a data directory.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Io(format!("{}: {error}", path.display()));
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
        let lock = private(&path.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        for name in [JOURNAL, PARTS] {
            // SQLite gives its logs the mode of the database, so that is set first.
            private(&path.join(name)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The path of a file in it.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The length of all files in it, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.path)
    }
}

/// A data directory that this process looks at, until it is dropped.
pub(super) struct Lookout {
    path: PathBuf,
    /// Shared with others that look, so that nobody takes the directory.
    _lock: Option<File>,
}

impl Lookout {
    /// Looks at a data directory that no process has.
    pub(super) fn over(path: &Path) -> Result<Self, StoreError> {
        let failed = |error: io::Error| StoreError::Io(format!("{}: {error}", path.display()));
        let lock = match File::open(path.join(LOCK)) {
            Ok(lock) => Some(lock),
            // A copy of a directory need not have it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(failed(error)),
        };
        match lock.as_ref().map_or(Ok(()), File::try_lock_shared) {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::InUse(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    /// The length of all files in it, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        bytes(&self.path)
    }
}

fn bytes(directory: &Path) -> u64 {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}
