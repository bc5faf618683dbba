//! What can go wrong with keys and objects.

use std::path::PathBuf;

use granary_db::DbError;
use granary_types::{Classify, ErrorKind};

use crate::Owner;

/// Why a key or an object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Database(#[from] DbError),
    #[error("{0} has no key")]
    NoKey(Owner),
    #[error("the key of {0} was destroyed")]
    KeyDestroyed(Owner),
    #[error("the master key does not open the key of {0}: is it the one that this database was created with?")]
    WrongMasterKey(Owner),
    #[error("the master key {0} is current, and this process does not have it: where is its file, its variable, or its KMS?")]
    UnknownMaster(String),
    #[error(
        "the backup is sealed under the master key {0}, and this process does not have it: name its file with --master-key, set \
         GRANARY_MASTER_KEY or [keys.kms] as it was, or take it out of escrow with granary key import-escrow"
    )]
    BackupMaster(String),
    #[error("GRANARY_MASTER_KEY does not hold keys of 64 hexadecimal digits, with commas between them")]
    MasterKeyText,
    #[error("there is no new master key: write the old and the new one into GRANARY_MASTER_KEY, with a comma between them")]
    NoNewMaster,
    #[error("the key management service failed: {0}")]
    Kms(String),
    #[error("the escrow file cannot be used: {0}")]
    Escrow(String),
    #[error("a key of {0} does not open what was given, or it was sealed for another name")]
    Sealed(Owner),
    #[error("cannot use the master key file {path}: {reason}")]
    MasterKeyFile { path: PathBuf, reason: String },
    #[error("'{url}' is not an object store: write file:///path or s3://bucket/prefix ({reason})")]
    StoreUrl { url: String, reason: String },
    #[error(
        "lake.s3.access_key_id and lake.s3.secret_access_key go together (or neither, for the machine's own role); the secret may come \
         from GRANARY_LAKE_S3_SECRET_ACCESS_KEY"
    )]
    HalfCredentials,
    #[error("there is already an object named {0}")]
    ObjectExists(String),
    #[error("there is no object named {0}")]
    ObjectMissing(String),
    #[error("the object store failed: {0}")]
    Store(#[source] object_store::Error),
    #[error("{0}")]
    Cipher(&'static str),
}

impl Classify for VaultError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(error) => error.kind(),
            Self::NoKey(_) | Self::KeyDestroyed(_) | Self::ObjectMissing(_) => ErrorKind::NotFound,
            Self::ObjectExists(_) => ErrorKind::Conflict,
            Self::MasterKeyFile { .. }
            | Self::StoreUrl { .. }
            | Self::HalfCredentials
            | Self::MasterKeyText
            | Self::NoNewMaster
            | Self::BackupMaster(_)
            | Self::Escrow(_) => ErrorKind::Invalid,
            Self::Store(_) | Self::Kms(_) => ErrorKind::Unavailable,
            Self::WrongMasterKey(_) | Self::UnknownMaster(_) | Self::Sealed(_) | Self::Cipher(_) => ErrorKind::Internal,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Database(error) => error.code(),
            Self::NoKey(_) => "key_not_found",
            Self::KeyDestroyed(_) => "key_destroyed",
            Self::WrongMasterKey(_) | Self::UnknownMaster(_) | Self::BackupMaster(_) => "wrong_master_key",
            Self::MasterKeyText | Self::NoNewMaster => "master_key_text",
            Self::Kms(_) => "kms_failed",
            Self::Escrow(_) => "escrow_invalid",
            Self::Sealed(_) => "seal_broken",
            Self::MasterKeyFile { .. } => "master_key_file",
            Self::StoreUrl { .. } => "object_store_url",
            Self::HalfCredentials => "object_store_credentials",
            Self::ObjectExists(_) => "object_exists",
            Self::ObjectMissing(_) => "object_not_found",
            Self::Store(_) => "object_store_failed",
            Self::Cipher(_) => "cipher_failed",
        }
    }
}

impl From<object_store::Error> for VaultError {
    fn from(error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::ObjectMissing(path),
            object_store::Error::AlreadyExists { path, .. } => Self::ObjectExists(path),
            other => Self::Store(other),
        }
    }
}
