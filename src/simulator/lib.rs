//! A portfolio with a past: an MSP, its customers and everything their control planes reported, made from a seed.
//!
//! Owns the hidden model of customers ([`Portfolio`], [`feature_rows`]) and the usage events it gives rise to, as the JSON
//! that the API takes. Customers have hidden states that move failures, tickets, payments, use and, with noise, departure; they
//! share no chance with one another, so that each can be generated on its own. Machines change as real ones do, by a sample of
//! a public trace. Events repeat, come late and in bursts, retry, and turn from failed to completed.
//!
//! It also makes [`Traffic`] for a server under test, by [`ControlPlane`]s with a bad line that know the truth to compare with.
//!
//! This room does no I/O, reads no clock and knows nothing of the rooms that take its events: the demo, tests and benches do
//! that. Nothing in the product depends on it.

mod chaos;
mod customer;
mod delivery;
mod events;
mod features;
mod grid;
mod life;
mod machine;
mod names;
mod nightly;
mod portfolio;
mod random;
mod terms;
mod trace;
mod traffic;

#[cfg(test)]
mod tests;

pub use chaos::{ControlPlane, Delivery, Fate, Mishap};
pub use customer::{Notice, PaymentHabit, PriceOverride, SimContract, SimCustomer, StatusChange};
pub use delivery::Batch;
pub use events::Batches;
pub use features::features_of;
pub use grid::{Grid, GridMonth, feature_rows};
pub use portfolio::{Portfolio, PortfolioSpec, SimMsp};
pub use traffic::{Traffic, Truth};
