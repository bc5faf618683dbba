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
mod error;
#[cfg(test)]
mod fences;
#[cfg(test)]
mod fixture;
mod functions;
mod furnishing;
mod guard;
mod keys;
#[cfg(test)]
mod limits;
mod materialise;
mod model;
mod models;
#[cfg(test)]
mod movements;
mod queries;
mod question;
mod rows;
mod runtime;
mod session;
mod table;
mod view;
mod warehouse;
mod yaml;

pub use granary_lake::AsOf;

pub use answer::{AnswerFormat, AnswerStream};
pub use budget::Budget;
pub use checks::TestOutcome;
pub use error::WarehouseError;
pub use furnishing::{Furnishing, Shown};
pub use materialise::{BuildReport, BuiltModel};
pub use model::{ColumnDescription, ColumnTest, Description, Materialised, Model, Need};
pub use models::{Check, Models};
pub use question::Question;
pub use rows::RowStream;
pub use session::Session;
pub use warehouse::Warehouse;
