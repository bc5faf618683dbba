//! What can go wrong with the lake.

use arrow::error::ArrowError;
use granary_db::DbError;
use granary_tenants::TenantsError;
use granary_types::{Classify, ErrorKind, MspId};
use granary_vault::VaultError;
use parquet::errors::ParquetError;

/// Why the lake cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("cannot handle rows: {0}")]
    Arrow(#[from] ArrowError),
    #[error("cannot seal or open a file: {0}")]
    Parquet(#[from] ParquetError),
    #[error("{dataset}.{column} cannot be exported: {reason}")]
    Value { dataset: &'static str, column: &'static str, reason: String },
    #[error("Postgres sent rows of {dataset} that are not in its binary format: {reason}")]
    Format { dataset: &'static str, reason: &'static str },
    #[error("the lake does not take values of type {0}")]
    UnsupportedType(String),
    #[error("'{0}' is not a part of a dataset: write a month such as 2025-10, or all")]
    InvalidPart(String),
    #[error("another export of the same owner began meanwhile; it carries on")]
    Overtaken,
    #[error("cannot write the archive: {0}")]
    Archive(#[from] std::io::Error),
    #[error("a customer was erased meanwhile; nothing was published, run it again")]
    ErasedMeanwhile,
    #[error("the lake of MSP {msp} has no version {version}")]
    NoVersion { msp: MspId, version: i64 },
    #[error(
        "the lake has no version as of '{0}': give an instant such as 2025-11-01T00:00:00Z, a number such as v12, or a name, as granary export versions lists them"
    )]
    NothingAsOf(String),
    #[error(
        "version {0} is no longer kept: its files went after their time, or with a customer that was erased; granary export versions lists what can be read"
    )]
    VersionGone(i64),
    #[error("customers have no dataset '{0}': one of {1}")]
    NoDataset(String, String),
    #[error("'{0}' cannot name a version: give at most 100 characters that are neither an instant nor a number such as v12")]
    InvalidLabel(String),
    #[error("there is no rule for '{0}': one of {1}")]
    NoRetention(String, String),
    #[error("{dataset} is kept for at least {least_days} days, not {keep_days}: {because}")]
    KeepsTooShort { dataset: &'static str, keep_days: i32, least_days: i32, because: &'static str },
    #[error("{dataset} cannot be kept for {keep_days} days: at most {most_days}; leave them out to keep it for ever")]
    KeepsTooLong { dataset: &'static str, keep_days: i32, most_days: i32 },
    #[error("the manifest is not readable: {0}")]
    Manifest(String),
    #[error("a worker thread of the export ended early")]
    WorkerEnded,
    #[error("the rows take more memory than they were given; they are read again in order")]
    Crowded,
}

impl Classify for LakeError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::UnsupportedType(_)
            | Self::InvalidPart(_)
            | Self::InvalidLabel(_)
            | Self::KeepsTooShort { .. }
            | Self::KeepsTooLong { .. } => ErrorKind::Invalid,
            Self::Overtaken | Self::ErasedMeanwhile => ErrorKind::Conflict,
            Self::NoVersion { .. } | Self::NothingAsOf(_) | Self::VersionGone(_) | Self::NoDataset(..) | Self::NoRetention(..) => {
                ErrorKind::NotFound
            }
            Self::Arrow(_)
            | Self::Parquet(_)
            | Self::Value { .. }
            | Self::Format { .. }
            | Self::Manifest(_)
            | Self::Archive(_)
            | Self::WorkerEnded
            | Self::Crowded => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Arrow(_) => "lake_rows",
            Self::Parquet(_) => "lake_file",
            Self::Value { .. } | Self::Format { .. } => "export_value",
            Self::UnsupportedType(_) => "unsupported_type",
            Self::InvalidPart(_) => "invalid_part",
            Self::Overtaken => "export_overtaken",
            Self::Archive(_) => "archive_not_written",
            Self::ErasedMeanwhile => "customer_erased_meanwhile",
            Self::NoVersion { .. } | Self::NothingAsOf(_) => "lake_version_not_found",
            Self::VersionGone(_) => "lake_version_gone",
            Self::InvalidLabel(_) => "lake_label_invalid",
            Self::NoDataset(..) => "dataset_not_found",
            Self::NoRetention(..) => "retention_unknown",
            Self::KeepsTooShort { .. } => "retention_too_short",
            Self::KeepsTooLong { .. } => "retention_too_long",
            Self::Manifest(_) => "manifest_malformed",
            Self::WorkerEnded => "export_worker_ended",
            Self::Crowded => "export_crowded",
        }
    }
}
