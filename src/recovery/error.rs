//! What can go wrong with backups of the installation.

use std::path::PathBuf;

use granary_db::DbError;
use granary_db::embedded::EmbeddedError;
use granary_types::{Classify, ErrorKind};
use granary_vault::VaultError;
use jiff::Timestamp;
use uuid::Uuid;

/// Why there is no backup, or no way back from it.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Embedded(#[from] EmbeddedError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the database is not a house of granary yet: there is nothing to back up")]
    NoHouse,
    #[error("another backup of this installation is running; wait until it is done")]
    Busy,
    #[error(
        "the server runs without archiving its log: it was started by an older program; stop what uses it (granary serve, granary \
         worker), and back up again"
    )]
    NotArchiving,
    #[error("the server does not lay out segment {0} of its log: see postgres/log of the data directory, and whether its disk is full")]
    SegmentNotArchived(String),
    #[error(
        "the server does not let {user} make a base backup{why}: give the role the right (alter role {user} replication) and the \
         connection (host replication {user} … in pg_hba.conf), or back the server up by its own means"
    )]
    NotAllowed { user: String, why: String },
    #[error("{url} holds the backups of installation {found}, and this is {ours}: name another place")]
    OtherInstallation { url: String, found: Uuid, ours: Uuid },
    #[error("{0} holds no backup; make one with granary backup --to {0}")]
    NoBackup(String),
    #[error("{0} does not hold the backups any more that the log goes to: bring them back, or begin anew with granary backup --to {0}")]
    Gone(String),
    #[error("no backup covers {at}; covered is {covered}")]
    NotCovered { at: Timestamp, covered: String },
    #[error("the backup cannot be used: {name} {what}")]
    Damaged { name: String, what: &'static str },
    #[error("{name} cannot be opened: {source}")]
    Sealed { name: String, source: VaultError },
    #[error("{0} is not empty; name a new directory")]
    NotEmpty(PathBuf),
    #[error("{0} is held by another restoration; wait until it is done, or name another directory")]
    Restoring(PathBuf),
    #[error("cannot {doing} {path}: {source}")]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("a backup cannot be packed or unpacked: {0}")]
    Packing(String),
    #[error("the master key that seals the backup is not here: name its file with --master-key, set GRANARY_MASTER_KEY or [keys.kms] as \
             it was, or take it out of escrow with granary key import-escrow --data-dir {}", .0.display())]
    NoMaster(PathBuf),
}

impl RecoveryError {
    pub(crate) fn damaged(name: &str, what: &'static str) -> Self {
        Self::Damaged { name: name.to_owned(), what }
    }

    pub(crate) fn sealed(name: &str) -> impl FnOnce(VaultError) -> Self {
        move |source| Self::Sealed { name: name.to_owned(), source }
    }

    pub(crate) fn file(doing: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { doing, path, source }
    }
}

impl Classify for RecoveryError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.kind(),
            Self::Embedded(error) => error.kind(),
            Self::Vault(error) | Self::Sealed { source: error, .. } => error.kind(),
            Self::NoHouse | Self::NoBackup(_) | Self::Gone(_) | Self::NotCovered { .. } => ErrorKind::NotFound,
            Self::Busy | Self::Restoring(_) | Self::NotArchiving | Self::OtherInstallation { .. } => ErrorKind::Conflict,
            Self::NotAllowed { .. } => ErrorKind::Denied,
            Self::NotEmpty(_) | Self::NoMaster(_) => ErrorKind::Invalid,
            Self::SegmentNotArchived(_) | Self::File { .. } => ErrorKind::Unavailable,
            Self::Damaged { .. } | Self::Packing(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::Embedded(error) => error.code(),
            Self::Vault(error) | Self::Sealed { source: error, .. } => error.code(),
            Self::NoHouse => "no_house",
            Self::NoBackup(_) => "no_backup",
            Self::Gone(_) => "backups_gone",
            Self::NotCovered { .. } => "instant_not_covered",
            Self::Busy => "backup_running",
            Self::Restoring(_) => "restore_running",
            Self::NotArchiving => "archiving_off",
            Self::OtherInstallation { .. } => "other_installation",
            Self::NotAllowed { .. } => "backup_not_allowed",
            Self::NotEmpty(_) => "directory_not_empty",
            Self::NoMaster(_) => "wrong_master_key",
            Self::SegmentNotArchived(_) => "segment_not_archived",
            Self::File { .. } => "file_unusable",
            Self::Damaged { .. } => "backup_damaged",
            Self::Packing(_) => "packing_failed",
        }
    }
}
