//! The room `doors`: SQL endpoints for the tools that analysts have.
//!
//! It owns the protocols, and what their clients ask before the first question of their own. Every door opens onto the same desk
//! ([`Desk`]): it lets in whoever may ask, opens a session of the warehouse within that principal's grant, writes down what was asked,
//! and hands the rows on as they come.
//!
//! Invariants: a door opens no session but the desk's, so that no catalog holds more than a grant; whoever asks is looked up again with
//! every question, so that a key that was revoked, and a person who was let go, ask nothing more; no question about rows is answered that
//! is not in the audit log (what there is, and how it is called, is told without); a door holds no secret that opens anything.
//!
//! Not here: who may ask (`access`), what a question may cost and what it sees (`warehouse`), HTTP (`web`).

mod desk;
mod error;
mod flight;
pub mod postgres;

pub use desk::Desk;
pub use error::DoorError;
pub use flight::{FlightDoor, TlsSource};
