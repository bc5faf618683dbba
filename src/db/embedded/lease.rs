//! Who uses the server: a file lock that every user shares, and another that orders starting and stopping.
//!
//! Locks end with their process, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use super::error::EmbeddedError;

/// The right to start or stop; held by one process at a time.
#[derive(Debug)]
pub(super) struct Turn {
    _file: File,
    users: PathBuf,
}

/// The sign that this process uses the server.
#[derive(Debug)]
pub(super) struct Lease(File);

impl Turn {
    /// Waits for the turn. The lock files lie in the data directory and belong to whoever made them first.
    pub(super) fn wait(data_dir: &Path) -> Result<Self, EmbeddedError> {
        let path = data_dir.join("postgres.turn.lock");
        let file = open(&path)?;
        file.lock().map_err(EmbeddedError::file("lock", path))?;
        Ok(Self { _file: file, users: data_dir.join("postgres.lock") })
    }

    /// Joins the users of the server.
    pub(super) fn join(&self) -> Result<Lease, EmbeddedError> {
        let file = open(&self.users)?;
        file.lock_shared().map_err(EmbeddedError::file("lock", &self.users))?;
        Ok(Lease(file))
    }

    /// Leaves the users of the server; tells whether nobody is left.
    pub(super) fn leave(&self, lease: Lease) -> Result<bool, EmbeddedError> {
        drop(lease.0);
        let file = open(&self.users)?;
        match file.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(source)) => Err(EmbeddedError::file("lock", &self.users)(source)),
        }
    }
}

fn open(path: &Path) -> Result<File, EmbeddedError> {
    OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path).map_err(EmbeddedError::file("open", path))
}
