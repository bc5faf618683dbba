//! Prices, rating, invoices, statements, payments and run rates.
//!
//! Two sides, both from the same usage in Postgres: *retail*, what an MSP charges its customers ([`rate`]), and *wholesale*,
//! what the operator charges the MSP ([`wholesale()`]). The arithmetic is pure and lives here; usage comes from `metering`,
//! contracts and transactions from `tenants`.
//!
//! What holds: a rated line is the only thing that an invoice is made of, and quantity × unit price gives its amount; drafting
//! twice gives the same rows; numbers are gapless per MSP and series; a finalised invoice, its lines and its statement never
//! change, which triggers enforce as well. Billing never reads the lake: `reconciliation` comes to the same cent on another road.
//!
//! Not done here: counting machines (`metering`), checking invoices against runs (`reconciliation`), documents (`reports`).

mod coverage;
mod error;
#[cfg(test)]
mod golden;
mod item;
mod price;
mod rate;
mod wholesale;

pub use coverage::{Coverage, Standing};
pub use error::BillingError;
pub use item::Item;
pub use price::{Price, PriceBook, PriceOwner};
pub use rate::{MachineCounts, RatedLine, RatingInput, Terms, Totals, margin_percent, overage_gib, rate, totals};
pub use wholesale::{StatementLine, WholesaleCustomer, wholesale};
