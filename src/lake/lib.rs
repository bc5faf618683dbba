//! The room `lake`: tables become encrypted, immutable Parquet files, and a manifest says which files are which version.
//!
//! It owns the manifest (control tables `lake_*`, `nights`, and what is `dirty`), the nightly export of every silo and of the
//! control data of every MSP, what other rooms publish ([`Lake::publish_all`]), and the checks that lake and Postgres agree.
//!
//! Invariants: a file is written once, sealed with a random key of its own that its owner's key wraps, and opens only under
//! its own name; a version becomes visible whole, under the MSP's head row; whoever is killed and starts again loses nothing
//! and repeats nothing; a month whose rows are the same is not written again; months are UTC.
//!
//! Not here: what the tables mean (rooms describe them as [`Dataset`](granary_types::Dataset)s) and how files are queried
//! (`warehouse`).

mod archive;
mod backfill;
mod checksum;
mod collect;
mod copy;
mod encode;
mod erase;
mod error;
mod export;
#[cfg(test)]
mod export_tests;
mod file;
mod hyphenated;
mod lake;
mod loose;
mod manifest;
mod month;
mod night;
mod numeric;
mod plan;
mod publish;
mod read;
mod retention;
mod schema;
mod snapshot;
mod sort;
mod statistics;
mod step;
mod store;
mod tar;
mod verify;
mod version;

pub use archive::{Archive, ArchivedFile};
pub use collect::Collected;
pub use erase::{EraseFiles, EraseRows};
pub use error::LakeError;
pub use file::decryption;
pub use lake::{Lake, Tuning};
pub use loose::LooseFiles;
pub use manifest::LakeFile;
pub use night::{NightReport, OwnerNight, OwnerOutcome};
pub use publish::Publication;
pub use retention::{Kept, Letting, Retention, WentOrHeld};
pub use schema::{arrow_schema, published_schema};
pub use snapshot::{FilesOf, Snapshot};
pub use statistics::{ColumnStatistics, FileStatistics, statistics_of};
pub use step::{AtStep, Step};
pub use verify::{Verified, VerifyOutcome, VerifyReport};
pub use version::{AsOf, Holding, LetGoOf, Version};
