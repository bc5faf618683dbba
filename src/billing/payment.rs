//! Payments: received once, applied once, whole or in part.

use granary_foundation::Boxed;
use granary_tenants::MspTx;
use granary_types::{Currency, CustomerId, InvoiceId, PaymentId};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{BillingError, store};

/// A payment that has come in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPayment {
    pub customer: CustomerId,
    /// The finalised invoice that it settles; none to apply it later.
    pub invoice: Option<InvoiceId>,
    pub amount_minor: i64,
    pub currency: Currency,
    /// `ach`, `wire`, `card`, `check`, `paypal`.
    pub method: String,
    /// The payer's or the bank's; a second payment by the same method and reference is the same one.
    pub reference: Option<String>,
    pub received_on: Date,
}

/// A recorded payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    pub id: PaymentId,
    pub customer_id: CustomerId,
    pub invoice_id: Option<InvoiceId>,
    pub amount_minor: i64,
    pub currency: Currency,
    pub method: String,
    pub reference: Option<String>,
    pub received_on: Date,
}

/// Records a payment and applies it to its invoice. None when its reference was recorded before: nothing changes then.
///
/// # Errors
/// When the amount is not above zero, or the invoice is not the customer's, not finalised or of another currency.
pub fn record_payment<'a>(tx: &'a MspTx, new: &'a NewPayment) -> Boxed<'a, Result<Option<PaymentId>, BillingError>> {
    Box::pin(async move {
        if new.amount_minor <= 0 {
            return Err(BillingError::NotAPayment(new.amount_minor));
        }
        let id = PaymentId::new();
        if !store::payments::insert_payment(tx, tx.msp().id, id, new).await? {
            return Ok(None);
        }
        if let Some(invoice) = new.invoice {
            apply_payment(tx, id, invoice).await?;
        }
        Ok(Some(id))
    })
}

/// Applies a payment that was recorded without an invoice.
///
/// # Errors
/// When either is unknown, they do not belong together, or the payment settles another invoice already.
pub fn apply_payment<'a>(tx: &'a MspTx, payment: PaymentId, invoice: InvoiceId) -> Boxed<'a, Result<(), BillingError>> {
    Box::pin(async move {
        let msp = tx.msp().id;
        let (customer, currency, applied) =
            store::payments::find_payment(tx, msp, payment).await?.ok_or(BillingError::NotFound("payment"))?;
        let payable = store::payments::lock_invoice(tx, msp, invoice).await?;
        let payable = payable
            .filter(|payable| payable.customer == customer && payable.is_final)
            .ok_or(BillingError::NotFound("finalised invoice"))?;
        if payable.currency != currency {
            return Err(BillingError::WrongCurrency { paid: currency, invoiced: payable.currency });
        }
        if applied == Some(invoice) {
            return Ok(());
        }
        if !store::payments::apply_payment(tx, payment, invoice).await? {
            return Err(BillingError::AlreadyApplied(payment));
        }
        Ok(())
    })
}

/// Lists payments by the day they were received.
///
/// # Errors
/// When the store fails.
pub fn list_payments<'a>(tx: &'a MspTx, customer: Option<CustomerId>) -> Boxed<'a, Result<Vec<Payment>, BillingError>> {
    Box::pin(async move { store::payments::list_payments(tx, tx.msp().id, customer).await })
}
