//! All SQL of this room.

pub(crate) mod accounts;
pub(crate) mod closing;
pub(crate) mod corrections;
pub(crate) mod invoices;
pub(crate) mod keeping;
pub(crate) mod lines;
pub(crate) mod payments;
pub(crate) mod prices;
pub(crate) mod run_rates;
pub(crate) mod statements;

use granary_types::{Currency, Period};

use crate::BillingError;

/// Parses a word that a constraint or this room itself has written.
fn stored<T: std::str::FromStr>(noun: &'static str, text: &str) -> Result<T, BillingError> {
    text.parse().map_err(|_| BillingError::Corrupt(noun, text.to_owned()))
}

fn currency(text: &str) -> Result<Currency, BillingError> {
    stored("currency", text)
}

fn period(text: &str) -> Result<Period, BillingError> {
    stored("period", text)
}
