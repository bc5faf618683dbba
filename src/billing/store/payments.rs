//! Payments and what they settle.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, InvoiceId, MspId, PaymentId};

use super::currency;
use crate::{BillingError, NewPayment, Payment};

const INSERT: &str = "
    insert into payments (id, msp_id, customer_id, invoice_id, amount_minor, currency, method, reference, received_on, created_at)
    values ($1, $2, $3, null, $4, $5, $6, $7, $8, $9)
    on conflict (msp_id, method, reference) where reference is not null do nothing";

const APPLY: &str = "
    update payments set invoice_id = $2
    where id = $1 and invoice_id is null
    returning amount_minor";

const COUNT: &str = "update invoices set paid_minor = paid_minor + $2 where id = $1";

const LOCK_INVOICE: &str = "select customer_id, state, currency from invoices where msp_id = $1 and id = $2 for update";

const FIND: &str = "select customer_id, currency, invoice_id from payments where msp_id = $1 and id = $2";

const LIST: &str = "
    select id, customer_id, invoice_id, amount_minor, currency, method, reference, received_on
    from payments
    where msp_id = $1 and ($2::uuid is null or customer_id = $2)
    order by received_on, id";

/// What a payment must fit.
#[derive(Debug)]
pub(crate) struct Payable {
    pub(crate) customer: CustomerId,
    pub(crate) is_final: bool,
    pub(crate) currency: String,
}

/// Inserts a payment that is not applied to anything; false when its reference has been recorded before.
pub(crate) async fn insert_payment(tx: &Tx, msp: MspId, id: PaymentId, new: &NewPayment) -> Result<bool, BillingError> {
    let code = new.currency.code();
    let inserted = tx
        .execute(INSERT, &[&id, &msp, &new.customer, &new.amount_minor, &code, &new.method, &new.reference, &new.received_on, &tx.now()])
        .await?;
    Ok(inserted == 1)
}

/// Finds whose payment it is, its currency, and the invoice that it settles already.
pub(crate) async fn find_payment(
    tx: &Tx,
    msp: MspId,
    id: PaymentId,
) -> Result<Option<(CustomerId, String, Option<InvoiceId>)>, BillingError> {
    let row = tx.query_opt(FIND, &[&msp, &id]).await?;
    Ok(row.map(|row| (row.get("customer_id"), row.get("currency"), row.get("invoice_id"))))
}

/// Locks an invoice that is to be paid.
pub(crate) async fn lock_invoice(tx: &Tx, msp: MspId, id: InvoiceId) -> Result<Option<Payable>, BillingError> {
    let row = tx.query_opt(LOCK_INVOICE, &[&msp, &id]).await?;
    Ok(row.map(|row| Payable {
        customer: row.get("customer_id"),
        is_final: row.get::<_, &str>("state") == "finalised",
        currency: row.get("currency"),
    }))
}

/// Applies an unapplied payment to a locked invoice; tells whether it was unapplied.
pub(crate) async fn apply_payment(tx: &Tx, id: PaymentId, invoice: InvoiceId) -> Result<bool, BillingError> {
    let Some(row) = tx.query_opt(APPLY, &[&id, &invoice]).await? else { return Ok(false) };
    tx.execute(COUNT, &[&invoice, &row.get::<_, i64>("amount_minor")]).await?;
    Ok(true)
}

/// Lists payments by the day they were received.
pub(crate) async fn list_payments(tx: &Tx, msp: MspId, customer: Option<CustomerId>) -> Result<Vec<Payment>, BillingError> {
    tx.query(LIST, &[&msp, &customer]).await?.iter().map(payment).collect()
}

fn payment(row: &Row) -> Result<Payment, BillingError> {
    Ok(Payment {
        id: row.get("id"),
        customer_id: row.get("customer_id"),
        invoice_id: row.get("invoice_id"),
        amount_minor: row.get("amount_minor"),
        currency: currency(row.get("currency"))?,
        method: row.get("method"),
        reference: row.get("reference"),
        received_on: row.get("received_on"),
    })
}
