//! Credit and debit notes: the only way to correct a finalised invoice.

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{Currency, CustomerId, InvoiceId, Period};
use jiff::ToSpan;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::correction::CorrectionEntry;
use crate::store::corrections::{self, NewNote};
use crate::{BillingError, Invoice, InvoiceFilter, RatedLine, list_invoices, store, totals};

/// A note; its lines are the correction entries that stand on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    pub id: InvoiceId,
    pub customer_id: CustomerId,
    pub customer_code: String,
    /// The month that it corrects.
    pub period: Period,
    /// A credit note, which takes from what is owed; else a debit note.
    pub is_credit: bool,
    /// `NORTH-CN-2025-00001`, gapless in its series.
    pub number: Option<String>,
    pub currency: Currency,
    /// Never below zero, like tax and total.
    pub net_minor: i64,
    pub tax_percent: Decimal,
    pub tax_minor: i64,
    pub total_minor: i64,
    pub issued_on: Option<Date>,
    /// The number of the invoice that it corrects.
    pub cited: Option<String>,
}

/// Lists the notes of an MSP, by the month that they correct.
///
/// # Errors
/// When the store fails.
pub fn list_notes<'a>(tx: &'a MspTx, filter: &'a InvoiceFilter) -> Boxed<'a, Result<Vec<Note>, BillingError>> {
    Box::pin(async move { store::invoices::list_notes(tx, filter).await })
}

/// Settles what was chosen for a month, once its invoices have their numbers: charges that stand on an invoice of it, and a note
/// for each customer, corrected month and direction of what does not.
pub(crate) async fn settle(tx: &MspTx, later: Period, issued_on: Date) -> Result<(), BillingError> {
    let invoices = list_invoices(tx, &InvoiceFilter { period: Some(later), customer: None }).await?;
    let mut rest: Vec<CorrectionEntry> = Vec::new();
    for entry in corrections::list_chosen(tx, later).await? {
        match invoices.iter().find(|invoice| entry.amount_minor > 0 && carries(invoice, &entry)) {
            Some(invoice) => corrections::settle(tx, &[entry.id], invoice.id).await?,
            None => rest.push(entry),
        }
    }
    for group in rest.chunk_by(|one, other| (one.customer_id, one.period) == (other.customer_id, other.period)) {
        let (charges, credits): (Vec<_>, Vec<_>) = group.iter().partition(|entry| entry.amount_minor > 0);
        for entries in [charges, credits] {
            write_note(tx, &entries, issued_on).await?;
        }
    }
    Ok(())
}

/// Tells whether an invoice has a line for an entry: of the same customer, currency and tax.
fn carries(invoice: &Invoice, entry: &CorrectionEntry) -> bool {
    (invoice.customer_id, invoice.currency, invoice.tax_percent) == (entry.customer_id, entry.currency, entry.tax_percent)
}

async fn write_note(tx: &MspTx, entries: &[&CorrectionEntry], issued_on: Date) -> Result<(), BillingError> {
    let Some(first) = entries.first() else { return Ok(()) };
    let is_credit = first.amount_minor < 0;
    let cited = store::invoices::find_invoice_of(tx, first.customer_id, first.period).await?;
    let lines: Vec<RatedLine> =
        entries.iter().map(|entry| RatedLine { amount_minor: entry.amount_minor.saturating_abs(), ..entry.line() }).collect();
    let (kind, word) = if is_credit { ("credit_note", "CN") } else { ("debit_note", "DN") };
    let series = format!("{word}-{}", issued_on.year());
    let next = store::invoices::lock_series(tx, tx.msp().id, &series).await?;
    let payment_terms_days = cited.as_ref().map_or(30, |invoice| invoice.payment_terms_days);
    let note = NewNote {
        id: InvoiceId::new(),
        customer: first.customer_id,
        period: first.period,
        kind,
        number: &format!("{}-{series}-{next:05}", tx.msp().code),
        currency: first.currency,
        tax_percent: first.tax_percent,
        totals: totals(&lines, first.tax_percent, first.currency)?,
        payment_terms_days,
        issued_on,
        due_on: (!is_credit).then(|| issued_on.checked_add(payment_terms_days.days()).unwrap_or(Date::MAX)),
        cites: cited.map(|invoice| invoice.id),
    };
    corrections::insert_note(tx, &note).await?;
    store::invoices::update_series(tx, tx.msp().id, &series, next + 1).await?;
    let ids: Vec<Uuid> = entries.iter().map(|entry| entry.id).collect();
    corrections::settle(tx, &ids, note.id).await
}
