//! A physical backup of the whole server, as `pg_basebackup` sends it: one tar, while others write.

use std::fmt;
use std::process::Stdio;

use granary_foundation::Secret;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout};
use tokio::task::JoinHandle;

use crate::dump::{client, connect, end, failed, listen};
use crate::error::DbError;
use crate::owner::owner_config;

/// Whether the write-ahead log that the backup needs comes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Included {
    /// It does: the backup stands for itself, at the instant of its end.
    Log,
    /// Somebody archives it.
    Nothing,
}

/// A backup on its way. Dropped it ends `pg_basebackup`.
pub struct BaseBackup {
    child: Child,
    said: ChildStdout,
    complaint: JoinHandle<String>,
}

impl fmt::Debug for BaseBackup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BaseBackup").finish_non_exhaustive()
    }
}

impl BaseBackup {
    /// Begins a backup of the server that a URL leads to. The server checks every page while it sends it.
    ///
    /// # Errors
    /// When the machine has no `pg_basebackup`.
    pub fn begin(url: &Secret, included: Included) -> Result<Self, DbError> {
        let config = owner_config(url)?;
        let mut command = client("pg_basebackup")?;
        command.args(["--pgdata=-", "--format=tar", "--checkpoint=fast", "--label=granary", "--no-password", "--no-estimate-size"]);
        command.arg(match included {
            Included::Log => "--wal-method=fetch",
            Included::Nothing => "--wal-method=none",
        });
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        connect(&mut command, &config);
        let mut child = command.kill_on_drop(true).spawn().map_err(|error| failed("pg_basebackup", error))?;
        let complaint = listen(child.stderr.take());
        let said = child.stdout.take().ok_or_else(|| failed("pg_basebackup", "it says nothing"))?;
        Ok(Self { child, said, complaint })
    }

    /// Reads what comes next, up to `most` bytes; nothing at the end, which [`Self::finish`] must confirm.
    ///
    /// # Errors
    /// When the stream breaks.
    pub async fn read(&mut self, most: usize) -> Result<Vec<u8>, DbError> {
        let mut chunk = Vec::with_capacity(most);
        let mut limited = (&mut self.said).take(most as u64);
        limited.read_to_end(&mut chunk).await.map_err(|error| failed("pg_basebackup", error))?;
        Ok(chunk)
    }

    /// Confirms that the backup is whole.
    ///
    /// # Errors
    /// When it is not: the server refused, a page is damaged, or the stream broke.
    pub async fn finish(self) -> Result<(), DbError> {
        drop(self.said);
        end("pg_basebackup", self.child, self.complaint).await
    }
}
