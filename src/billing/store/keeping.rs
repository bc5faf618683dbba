//! What the law keeps of a customer that is erased.

use granary_db::Tx;
use granary_types::{CustomerId, InvoiceId, MspId};
use granary_vault::Wrapped;
use jiff::civil::Date;
use serde_json::Value;

use crate::BillingError;

const LOCK_ERASURE: &str = "select findings ? 'billing' from erasures where customer_id = $1 for update";
const NOTE: &str = "update erasures set findings = findings || jsonb_build_object('billing', $2::jsonb) where customer_id = $1";
const INSERT_KEPT: &str = "
    insert into kept_invoices (id, msp_id, customer_id, number, period, sealed, wrapped_key, key_version, keep_until, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
    on conflict (id) do nothing";
/// Totals without a name: what the customer's finalised invoices billed is added to what others had billed.
const ADD_TOTALS: &str = "
    insert into erased_totals (id, msp_id, period, period_start_on, item, is_recurring, currency, amount_minor)
    select gen_random_uuid(), n.msp_id, n.period, to_date(n.period || '-01', 'YYYY-MM-DD'), n.item, n.is_recurring, n.currency, sum(n.amount_minor)
    from invoice_items n join invoices i on i.id = n.invoice_id
    where n.customer_id = $1 and i.state = 'finalised'
    group by n.msp_id, n.period, n.item, n.is_recurring, n.currency
    on conflict (msp_id, period, item, is_recurring, currency) do update set amount_minor = erased_totals.amount_minor + excluded.amount_minor";
const DELETE_ITEMS: &str = "delete from invoice_items where customer_id = $1";
const DELETE_DRAFTS: &str = "delete from invoices where customer_id = $1 and state <> 'finalised'";
const FIND_KEPT: &str = "select id, sealed, wrapped_key, key_version from kept_invoices where msp_id = $1 and number = $2";

const DELETE_KEPT: &str = "delete from kept_invoices where keep_until < $1";

/// A sealed invoice.
pub(crate) struct Kept {
    pub(crate) id: InvoiceId,
    pub(crate) sealed: Vec<u8>,
    pub(crate) wrapped: Wrapped,
}

/// Locks the record of an erasure; tells whether this room has done its part.
pub(crate) async fn lock_erasure(tx: &Tx, customer: CustomerId) -> Result<bool, BillingError> {
    let row = tx.query_opt(LOCK_ERASURE, &[&customer]).await?;
    row.map(|row| row.get(0)).ok_or(BillingError::NotFound("erasure"))
}

pub(crate) async fn note(tx: &Tx, customer: CustomerId, found: &Value) -> Result<(), BillingError> {
    tx.execute(NOTE, &[&customer, found]).await?;
    Ok(())
}

pub(crate) async fn insert_kept(
    tx: &Tx,
    (msp, customer): (MspId, CustomerId),
    kept: &Kept,
    (number, period): (&str, &str),
    keep_until: Date,
) -> Result<(), BillingError> {
    let Kept { id, sealed, wrapped } = kept;
    let params: [&(dyn granary_db::ToSql + Sync); 10] =
        [id, &msp, &customer, &number, &period, sealed, &wrapped.bytes, &wrapped.key_version, &keep_until, &tx.now()];
    tx.execute(INSERT_KEPT, &params).await?;
    Ok(())
}

/// Adds to the nameless totals and lets go of what had a name.
pub(crate) async fn anonymise(tx: &Tx, customer: CustomerId) -> Result<(), BillingError> {
    tx.execute(ADD_TOTALS, &[&customer]).await?;
    tx.execute(DELETE_ITEMS, &[&customer]).await?;
    tx.execute(DELETE_DRAFTS, &[&customer]).await?;
    Ok(())
}

pub(crate) async fn find_kept(tx: &Tx, msp: MspId, number: &str) -> Result<Option<Kept>, BillingError> {
    let row = tx.query_opt(FIND_KEPT, &[&msp, &number]).await?;
    Ok(row.map(|row| Kept { id: row.get(0), sealed: row.get(1), wrapped: Wrapped { bytes: row.get(2), key_version: row.get(3) } }))
}

/// Deletes what need not be kept on a day any more.
pub(crate) async fn delete_kept(tx: &Tx, today: Date) -> Result<u64, BillingError> {
    Ok(tx.execute(DELETE_KEPT, &[&today]).await?)
}
