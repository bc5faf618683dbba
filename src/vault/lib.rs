//! What must be kept: keys and objects.
//!
//! Owns the key store (schema `keystore`): one wrapping key per MSP and per customer, sealed under the installation's
//! master key (in a file, the environment or a KMS), which wraps one random key per file; and the object store, under names that are never used twice.
//!
//! Invariants: no key is written in the clear, no key prints, a wrapped key opens only under the name it was wrapped for,
//! and an object is created, never overwritten. Destroying an owner's keys makes its files unreadable for ever.
//!
//! Not done here: what the files say (`lake`), who may read them (`access`).

mod audit;
mod backup;
mod column;
mod error;
mod escrow;
mod keys;
mod kms;
mod master;
mod masters;
mod objects;
mod regions;
mod seal;
mod signature;
mod store;

pub use backup::{BackupEnvelope, BackupKey, backup_envelope};
pub use column::Cell;
pub use error::VaultError;
pub use escrow::Escrow;
pub use keys::{FileKey, Keys, Owner, Wrapped};
pub use kms::{AwsKms, Kms, MadeKey};
pub use master::MasterKey;
pub use masters::{MasterStanding, Rotation};
pub use objects::Objects;
pub use signature::Signature;
