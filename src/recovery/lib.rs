//! The room `recovery`: backups of the whole installation, and the way back.
//!
//! A backup is a base (all files of Postgres, as `pg_basebackup` sends them) and the write-ahead log from then on, both sealed under keys
//! that the master wraps, in an object store. What belongs together is a *series*: one unbroken log of one server, and the bases in it.
//!
//! ```text
//! <url>/installation                          whose backups these are
//! <url>/<series>/base/<base>/part-000000 …    the base: a tar, compressed, in pieces
//! <url>/<series>/base/<base>/manifest         written last: without it the base is none
//! <url>/<series>/wal/<segment>                the log, piece by piece
//! <url>/<series>/covered/<instant>-<segment>  up to here every instant can be restored
//! ```
//!
//! Invariants: nothing lies there in the clear but names, sizes and instants; no object is overwritten; an object opens only under its own
//! name; a base without manifest is a leftover; a restored server begins a series of its own when it is backed up, so that two servers
//! that came of one backup never mix their logs.
//!
//! Not done here: the lake, which is immutable and stays where it is; opening the house that was restored (the root).

mod error;
mod golden;
mod make;
mod manifest;
mod parts;
mod place;
mod prune;
mod restore;
mod ship;
mod store;

pub use error::RecoveryError;
pub use golden::{GoldenLine, current_lines};
pub use make::{Made, Making, make};
pub use manifest::{Kept, Manifest};
pub use place::{Backups, Base};
pub use prune::{Keep, Pruned};
pub use restore::{Restored, Restoring, UNFINISHED, restore};
pub use ship::{Shipped, Shipping, ship};
