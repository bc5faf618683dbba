//! Where silos lie: clusters, how a silo comes from one place to another, copies of silos, and silos out of dumps.
//!
//! A customer's row names its cluster. A transaction enters a silo through its gate ([`GATE`]): it takes the gate's shared
//! lock, and where schema or gate have gone it does not begin. Whoever moves a silo closes the gate (holds its exclusive
//! lock), fences the old place for good (renames the schema) and opens the new one (renames its schema), in this order:
//! there is never an instant at which two places take writes. A transaction that meets a fence asks the catalog again.

mod clones;
mod cloning;
mod clusters;
mod copying;
mod moving;
mod restoring;
mod swapping;

pub use clones::{CloneAnswer, CloneSource, Drops, SiloClone};
pub use cloning::{NewClone, PersonalData};
pub use clusters::{Cluster, ClusterStanding, Clusters, HOME};
pub use moving::{MoveReport, Residency};
pub use restoring::Restored;
pub use swapping::Swap;

/// The table through whose shared lock every transaction enters a silo.
pub(crate) const GATE: &str = "machines";
