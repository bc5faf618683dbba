//! What can go wrong in billing.

use granary_types::{Classify, ErrorKind, MoneyError, PaymentId, Period};
use jiff::civil::Date;

use crate::Item;

/// A failure of billing.
#[derive(Debug, thiserror::Error)]
pub enum BillingError {
    #[error("no price for {item} in {currency} is in force on {on}: set one in the price book")]
    NoPrice { item: Item, currency: String, on: Date },
    #[error("prices change on the first of a month, not on {0}")]
    NotAFirst(Date),
    #[error("period {period} cannot be billed before {from}, 72 hours after its end")]
    TooEarly { period: Period, from: jiff::Timestamp },
    #[error("{period} cannot be closed: {reasons}")]
    Blocked { period: Period, reasons: String },
    #[error("{count} of the drafts of {period} are not approved, or changed since: approve them")]
    NotApproved { period: Period, count: usize },
    #[error("whoever drafted {0} or accepted something in it does not approve it: somebody else has to, or the MSP allows it")]
    OwnWork(Period),
    #[error("{customer} has no open finding '{finding}' in {period}")]
    NothingToAccept { customer: String, finding: &'static str, period: Period },
    #[error("an invoice for {period} cannot be issued on {issued_on}, before the period is over")]
    IssueDay { period: Period, issued_on: Date },
    #[error("{0}'s lines add up to {1}, its draft says {2}: draft the period again, and approve it")]
    StaleDraft(String, i64, i64),
    #[error("{0} are finalised and cannot change: write a credit or debit note")]
    Finalised(&'static str),
    #[error("{0} has no drafts for {1}: draft the period first")]
    NotDrafted(String, Period),
    #[error("an amount of {0} is not a payment")]
    NotAPayment(i64),
    #[error("a payment in {paid} cannot settle an invoice in {invoiced}")]
    WrongCurrency { paid: String, invoiced: String },
    #[error("{item} has another price from {on} already: versions are added, never changed")]
    PriceStands { item: Item, on: Date },
    #[error("{0} is no price: it lies between 0 and 1,000,000 with at most eight decimals")]
    NotAPrice(rust_decimal::Decimal),
    #[error("{0} is no opening balance: it lies within 1,000,000,000,000 minor units")]
    NotABalance(granary_types::Money),
    #[error("the account opened with {standing} already; what came later is a payment or an invoice")]
    AccountIsOpen { standing: granary_types::Money },
    #[error("payment {0} settles another invoice already")]
    AlreadyApplied(PaymentId),
    #[error("there is no such {0}")]
    NotFound(&'static str),
    #[error(transparent)]
    Money(#[from] MoneyError),
    #[error("the store holds something that is not a {0}: '{1}'")]
    Corrupt(&'static str, String),
    #[error(transparent)]
    Database(granary_db::DbError),
    #[error(transparent)]
    Tenants(#[from] granary_tenants::TenantsError),
    #[error(transparent)]
    Vault(#[from] granary_vault::VaultError),
    #[error(transparent)]
    Metering(#[from] granary_metering::MeteringError),
}

impl From<granary_db::DbError> for BillingError {
    /// A refusal of a named trigger or constraint is what the name says.
    fn from(error: granary_db::DbError) -> Self {
        match error.constraint() {
            Some("rated_lines_finalised") => Self::Finalised("the period's lines"),
            Some("invoices_finalised") => Self::Finalised("invoices of the period"),
            Some("invoice_items_finalised") => Self::Finalised("items of the period's invoices"),
            Some("correction_entries_settled") => Self::Finalised("corrections of the period"),
            Some("statements_finalised") => Self::Finalised("statements of the period"),
            _ => Self::Database(error),
        }
    }
}

impl Classify for BillingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotAPrice(_) | Self::NotABalance(_) => ErrorKind::Invalid,
            Self::NoPrice { .. } | Self::NotAFirst(_) | Self::IssueDay { .. } | Self::NotAPayment(_) | Self::WrongCurrency { .. } => {
                ErrorKind::Invalid
            }
            Self::OwnWork(_) => ErrorKind::Denied,
            Self::TooEarly { .. }
            | Self::Blocked { .. }
            | Self::NotApproved { .. }
            | Self::NothingToAccept { .. }
            | Self::StaleDraft(..)
            | Self::Finalised(_)
            | Self::NotDrafted(..)
            | Self::PriceStands { .. }
            | Self::AccountIsOpen { .. }
            | Self::AlreadyApplied(_) => ErrorKind::Conflict,
            Self::NotFound(_) => ErrorKind::NotFound,
            Self::Money(_) | Self::Corrupt(..) => ErrorKind::Internal,
            Self::Database(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Vault(error) => error.kind(),
            Self::Metering(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NoPrice { .. } => "price_missing",
            Self::NotAFirst(_) => "price_not_on_a_first",
            Self::TooEarly { .. } => "period_not_over",
            Self::Blocked { .. } => "close_blocked",
            Self::NotApproved { .. } => "not_approved",
            Self::OwnWork(_) => "own_work",
            Self::NothingToAccept { .. } => "nothing_to_accept",
            Self::IssueDay { .. } => "issue_day_invalid",
            Self::StaleDraft(..) => "draft_stale",
            Self::Finalised(_) => "document_finalised",
            Self::NotDrafted(..) => "draft_missing",
            Self::NotAPayment(_) => "payment_amount_invalid",
            Self::WrongCurrency { .. } => "payment_currency_differs",
            Self::PriceStands { .. } => "price_stands",
            Self::AccountIsOpen { .. } => "account_open",
            Self::NotAPrice(_) => "price_invalid",
            Self::NotABalance(_) => "balance_invalid",
            Self::AlreadyApplied(_) => "payment_applied",
            Self::NotFound(_) => "billing_not_found",
            Self::Money(_) => "amount_overflow",
            Self::Corrupt(..) => "billing_corrupt",
            Self::Database(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Vault(error) => error.code(),
            Self::Metering(error) => error.code(),
        }
    }
}
