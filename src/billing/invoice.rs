//! Invoices as people see them.

use granary_foundation::Boxed;
use std::fmt;
use std::str::FromStr;

use granary_tenants::{MspTx, TenantTx};
use granary_types::{Currency, CustomerId, InvoiceId, Period};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::{BillingError, RatedLine, store};

/// How far an invoice has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvoiceState {
    /// Rewritten whenever the period is drafted again.
    Draft,
    /// Approved by finance, without a number yet.
    Approved,
    /// Numbered; never changes again.
    Finalised,
}

impl fmt::Display for InvoiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Draft => "draft",
            Self::Approved => "approved",
            Self::Finalised => "finalised",
        })
    }
}

impl FromStr for InvoiceState {
    type Err = BillingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let states = [Self::Draft, Self::Approved, Self::Finalised];
        states.into_iter().find(|state| state.to_string() == text).ok_or_else(|| BillingError::Corrupt("invoice state", text.to_owned()))
    }
}

/// How much of a finalised invoice has been paid, on some day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentState {
    /// Not finalised, nothing to pay.
    NotIssued,
    Open,
    PartlyPaid,
    Paid,
    /// Not fully paid after its due day.
    Overdue,
}

/// An invoice without its lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invoice {
    pub id: InvoiceId,
    pub customer_id: CustomerId,
    pub customer_code: String,
    pub customer_name: String,
    pub period: Period,
    pub state: InvoiceState,
    /// `NORTH-2025-00001`; none before it is finalised.
    pub number: Option<String>,
    pub currency: Currency,
    pub net_minor: i64,
    pub tax_percent: Decimal,
    pub tax_minor: i64,
    pub total_minor: i64,
    /// May exceed the total: the rest is the customer's credit.
    pub paid_minor: i64,
    pub payment_terms_days: i32,
    pub is_estimated: bool,
    pub issued_on: Option<Date>,
    pub due_on: Option<Date>,
}

impl Invoice {
    /// Returns what is still to be paid; never less than zero.
    pub fn open_minor(&self) -> i64 {
        (self.total_minor - self.paid_minor).max(0)
    }

    /// Returns how much of it has been paid, seen on a day.
    pub fn payment_state(&self, today: Date) -> PaymentState {
        match (self.due_on, self.open_minor()) {
            (None, _) => PaymentState::NotIssued,
            (Some(_), 0) => PaymentState::Paid,
            (Some(due_on), _) if due_on < today => PaymentState::Overdue,
            (Some(_), _) if self.paid_minor > 0 => PaymentState::PartlyPaid,
            (Some(_), _) => PaymentState::Open,
        }
    }
}

/// Which invoices are asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct InvoiceFilter {
    pub period: Option<Period>,
    pub customer: Option<CustomerId>,
}

/// An invoice with its lines, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceView {
    pub invoice: Invoice,
    pub lines: Vec<RatedLine>,
}

/// Lists an MSP's invoices, the latest period first, by customer code.
///
/// # Errors
/// When the store fails.
pub fn list_invoices<'a>(tx: &'a MspTx, filter: &'a InvoiceFilter) -> Boxed<'a, Result<Vec<Invoice>, BillingError>> {
    Box::pin(async move { store::invoices::list_invoices(tx, tx.msp().id, filter).await })
}

/// Returns an invoice by its id.
///
/// # Errors
/// When the MSP has no such invoice.
pub fn get_invoice<'a>(tx: &'a MspTx, id: InvoiceId) -> Boxed<'a, Result<Invoice, BillingError>> {
    Box::pin(async move { store::invoices::find_invoice(tx, tx.msp().id, id).await?.ok_or(BillingError::NotFound("invoice")) })
}

/// Returns a customer's invoice of a period with its lines: the header lies with the MSP, the lines with the customer.
///
/// # Errors
/// When there is none.
pub fn invoice_view<'a>(msp: &'a MspTx, tenant: &'a TenantTx, period: Period) -> Boxed<'a, Result<InvoiceView, BillingError>> {
    Box::pin(async move {
        let filter = InvoiceFilter { period: Some(period), customer: Some(tenant.customer().id) };
        let invoice = list_invoices(msp, &filter).await?.into_iter().next().ok_or(BillingError::NotFound("invoice"))?;
        Ok(InvoiceView { invoice, lines: list_lines(tenant, period).await? })
    })
}

/// Lists a customer's lines of a period, in the order of the invoice.
///
/// # Errors
/// When the store fails.
pub fn list_lines<'a>(tx: &'a TenantTx, period: Period) -> Boxed<'a, Result<Vec<RatedLine>, BillingError>> {
    Box::pin(async move { Ok(store::lines::list_lines(tx, period).await?.lines) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_payment_follows_amounts_and_days() {
        let mut invoice = Invoice {
            id: InvoiceId::new(),
            customer_id: CustomerId::new(),
            customer_code: "ACME".to_owned(),
            customer_name: "Acme".to_owned(),
            period: "2025-10".parse().unwrap(),
            state: InvoiceState::Finalised,
            number: Some("NORTH-2025-00001".to_owned()),
            currency: Currency::USD,
            net_minor: 1_000,
            tax_percent: Decimal::ZERO,
            tax_minor: 0,
            total_minor: 1_000,
            paid_minor: 0,
            payment_terms_days: 30,
            is_estimated: false,
            issued_on: Some("2025-11-04".parse().unwrap()),
            due_on: Some("2025-12-04".parse().unwrap()),
        };
        let (due, after) = ("2025-12-04".parse().unwrap(), "2025-12-05".parse().unwrap());
        assert_eq!((invoice.payment_state(due), invoice.payment_state(after)), (PaymentState::Open, PaymentState::Overdue));
        invoice.paid_minor = 400;
        assert_eq!((invoice.payment_state(due), invoice.open_minor()), (PaymentState::PartlyPaid, 600));
        invoice.paid_minor = 1_100;
        assert_eq!((invoice.payment_state(after), invoice.open_minor()), (PaymentState::Paid, 0));
    }
}
