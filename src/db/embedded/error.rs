//! Why our own Postgres does not run.

use std::path::PathBuf;

use granary_types::{Classify, ErrorKind};

/// An error of the embedded Postgres.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error(
        "no Postgres binaries (15 or newer) were found in PATH or /usr/lib/postgresql; install them (Debian, Ubuntu: apt-get install \
         postgresql), name their directory in GRANARY_POSTGRES_BIN, or a running server in GRANARY_DATABASE_URL"
    )]
    NoBinaries,
    #[error(
        "GRANARY_POSTGRES_BIN names {0}, where there is no postgres (15 or newer) with initdb and pg_ctl, or the account that Postgres \
         runs as may not go there"
    )]
    NamedBinaries(PathBuf),
    #[error(
        "the data directory {data} was made by Postgres {wanted}, and the machine has {found}; install Postgres {wanted} (Debian, Ubuntu: \
         apt-get install postgresql-{wanted}), name its directory in GRANARY_POSTGRES_BIN, or a running server in GRANARY_DATABASE_URL"
    )]
    OtherVersion { data: PathBuf, wanted: String, found: String },
    #[error(
        "the backup is of Postgres {wanted}, and the machine has {found}: files of one version are of no use to another; install Postgres \
         {wanted} (Debian, Ubuntu: apt-get install postgresql-{wanted}), or name its directory in GRANARY_POSTGRES_BIN"
    )]
    OtherBackup { wanted: u32, found: String },
    #[error("Postgres does not run as root, and there is neither an account 'postgres' nor 'nobody' to run it as")]
    NoAccount,
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("{program} failed: {message}")]
    Program { program: &'static str, message: String },
    #[error("the disk is full: Postgres in {0} has no room left; make room and run the command again, it goes on where it was")]
    DiskFull(PathBuf),
    #[error("Postgres did not start: {0}")]
    NotStarted(String),
    #[error("Postgres does not answer: {0}")]
    NoAnswer(String),
}

impl EmbeddedError {
    pub(super) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl Classify for EmbeddedError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoBinaries | Self::NamedBinaries(_) | Self::OtherVersion { .. } | Self::OtherBackup { .. } | Self::NoAccount => {
                ErrorKind::Invalid
            }
            Self::File { .. } | Self::DiskFull(_) | Self::Program { .. } | Self::NotStarted(_) | Self::NoAnswer(_) => {
                ErrorKind::Unavailable
            }
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoBinaries | Self::NamedBinaries(_) => "postgres_not_installed",
            Self::OtherVersion { .. } | Self::OtherBackup { .. } => "postgres_version_differs",
            Self::NoAccount => "postgres_account_missing",
            Self::File { .. } => "postgres_files_unusable",
            Self::DiskFull(_) => "disk_full",
            Self::Program { .. } | Self::NotStarted(_) => "postgres_not_started",
            Self::NoAnswer(_) => "postgres_silent",
        }
    }
}
