//! Arrow Flight SQL: questions in SQL, and answers as Arrow batches, for whoever reads many rows.
//!
//! The door keeps nothing between two calls but the answers that are being read. A ticket and a prepared statement's handle say what
//! was asked and nothing else: whoever brings one is looked up anew and asks within a grant of their own, so that a ticket that
//! somebody else was given, or made up, opens nothing.

mod facts;
mod front;
mod handle;
mod listener;
mod listing;
mod rows;
mod running;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod values;
mod visitor;

pub use listener::{FlightDoor, TlsSource};

/// What the door is called in the configuration and in the audit log.
const NAME: &str = "flight";
/// The longest message that is taken, and the longest that is sent.
const MOST_IN_BYTES: usize = 4 << 20;
const MOST_OUT_BYTES: usize = 16 << 20;
