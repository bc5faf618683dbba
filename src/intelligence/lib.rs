//! What the numbers mean for a customer: health, and who is about to leave.
//!
//! Owns the health score ([`health`]), the churn models ([`churn`]) with their metrics ([`metrics`]), and the two datasets
//! that they publish. The arithmetic is pure: histories in, scores out. Every number explains itself: points add up to the
//! health score, reasons add up to the log-odds.
//!
//! Not done here: the marts over what is published, expansion among them (`warehouse/`), pages and charts (`reports`, `web`).
//! A probability ranks customers for a conversation; nothing is ever priced or suspended by it.

pub mod churn;
mod datasets;
mod error;
pub mod health;
pub mod metrics;
mod observation;
mod portfolio;
mod publication;
mod scoring;
mod store;

pub use datasets::DATASETS;
pub use error::IntelligenceError;
pub use observation::{CustomerHistory, MonthSeen};
pub use scoring::{Summary, score_msp, train_msp};
