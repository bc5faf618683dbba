//! The warehouse: SQL models over the lake, and sessions that see exactly what a grant allows.
//!
//! It owns the table provider over a snapshot of the lake, the keys of a session, the budgets of queries and the model
//! graph of `warehouse/`. Its invariants: a session's catalog holds only what its grant may see, its factory holds only
//! the granted files' keys, rows of files that belong to an MSP pass a filter on the granted customers, and no SQL is
//! ever rewritten. A session belongs to one version of the lake, so that its answers never change while it lives.
//!
//! What is *not* done here: the lake's files are written by `granary_lake`; invoices never come from here; nothing
//! speaks to a network; who holds which grant is decided elsewhere.

mod answer;
mod budget;
mod catalog;
mod checks;
#[cfg(test)]
mod endless;
mod error;
mod extent;
#[cfg(test)]
mod fences;
mod files;
#[cfg(test)]
mod fixture;
mod footers;
mod functions;
mod furnishing;
mod guard;
#[cfg(test)]
mod hostile;
mod inventory;
mod keys;
mod leash;
mod led;
mod ledger;
#[cfg(test)]
mod limits;
mod lineage;
mod loose;
#[cfg(test)]
mod manifest;
mod materialise;
#[cfg(test)]
mod metrics;
mod model;
mod models;
mod months;
#[cfg(test)]
mod movements;
mod own;
mod pairs;
mod patience;
mod pool;
mod queries;
mod question;
mod rows;
mod runtime;
mod session;
mod shown;
mod statistics;
mod store;
mod table;
mod view;
mod warehouse;
mod watchdog;
#[cfg(test)]
mod watched;
mod yaml;

pub use granary_lake::AsOf;

pub use answer::{AnswerFormat, AnswerStream};
pub use budget::{Budget, Tuning};
pub use checks::{Severity, TestOutcome};
pub use error::WarehouseError;
pub use furnishing::{Furnishing, NamedTables};
pub use lineage::Lineage;
pub use loose::Seal;
pub use materialise::{BuildReport, BuiltModel};
pub use model::{ColumnDescription, ColumnTest, Description, Freshness, Increment, Materialised, Model, Need};
pub use models::{Check, Models};
pub use own::{OwnVersion, Trial};
pub use question::Question;
pub use rows::RowStream;
pub use session::Session;
pub use shown::Shown;
pub use warehouse::Warehouse;
