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

mod account;
mod book;
mod closing;
mod context;
mod correction;
mod coverage;
mod datasets;
mod draft;
mod error;
mod finalise;
#[cfg(test)]
mod golden;
mod invoice;
mod item;
mod keeping;
mod limit;
mod note;
mod payment;
mod price;
mod rate;
mod run_rate;
mod statement;
mod store;
mod usage;
mod wholesale;

pub use account::{Account, list_accounts, open_account};
pub use book::{get_price_book, seed_list_prices, seed_price_book, set_price};
pub use closing::{
    ClosingReport, Completeness, CustomerStanding, Finding, PeriodStanding, Residual, accept_finding, approve_period, close,
    let_editor_approve, period_standing,
};
pub use correction::{CorrectionEntry, CorrectionReport, correct_period, list_entries};
pub use coverage::{Coverage, Standing};
pub use datasets::DATASETS;
pub use draft::{DraftFailure, DraftReport, draft_period, draft_period_as};
pub use error::BillingError;
pub use finalise::{FinaliseReport, finalise_period};
pub use granary_metering::MachineCounts;
pub use invoice::{Invoice, InvoiceFilter, InvoiceState, InvoiceView, PaymentState, get_invoice, invoice_view, list_invoices, list_lines};
pub use item::Item;
pub use keeping::{KeepInvoices, forget_kept, open_kept};
pub use limit::AverageLimit;
pub use note::{Note, list_notes};
pub use payment::{NewPayment, Payment, apply_payment, list_payments, record_payment};
pub use price::{Price, PriceBook, PriceOwner};
pub use rate::{RatedLine, RatingInput, Terms, Totals, margin_percent, overage_gib, rate, totals};
pub use run_rate::{RunRate, compute_run_rates, list_run_rates};
pub use statement::{PortfolioSubtotals, Statement, StatementView, TierSubtotal, get_statement, list_statements, portfolio_subtotals};
pub use wholesale::{StatementLine, WholesaleCustomer, wholesale};
