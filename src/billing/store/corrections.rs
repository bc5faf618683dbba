//! Corrections of closed months, in the control schema.

use granary_db::{Row, ToSql, Tx};
use granary_tenants::MspTx;
use granary_types::{Currency, CustomerId, InvoiceId, Period};
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::{currency, period, stored};
use crate::correction::CorrectionEntry;
use crate::{BillingError, RatedLine, Totals};

macro_rules! select_entries {
    ($condition:literal) => {
        concat!(
            "select id, customer_id, period, item, description, quantity, unit_price, amount_minor, currency, tax_percent, found_at, ",
            "chosen_for, document_id from correction_entries where ",
            $condition,
            " order by customer_id, period, item, id"
        )
    };
}

const LIST: &str = select_entries!("customer_id = $1 and period = $2");
const LIST_ALL: &str = select_entries!("msp_id = $1 and ($2::text is null or period = $2)");
const LIST_PENDING: &str = select_entries!("msp_id = $1 and chosen_for is null");
const LIST_CHOSEN: &str = select_entries!("msp_id = $1 and chosen_for = $2 and document_id is null");

const DELETE_PENDING: &str = "delete from correction_entries where customer_id = $1 and period = $2 and chosen_for is null";

const INSERT: &str = "
    insert into correction_entries
        (id, msp_id, customer_id, period, item, description, quantity, unit_price, amount_minor, currency, tax_percent, found_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

/// What is compared, chosen and let go of does not change meanwhile. The first number is that of corrections.
const LOCK: &str = "select pg_advisory_xact_lock(7303, hashtext($1::uuid::text))";

/// A month that is drafted again chooses again, but for customers whose lines are frozen.
const LET_GO: &str = "
    update correction_entries set chosen_for = null
    where msp_id = $1 and chosen_for = $2 and document_id is null and customer_id <> all ($3)";
const CHOOSE: &str = "update correction_entries set chosen_for = $2 where id = any ($1) and chosen_for is null";
const SETTLE: &str = "update correction_entries set document_id = $2 where id = any ($1) and document_id is null";

const INSERT_NOTE: &str = "
    insert into invoices (id, msp_id, customer_id, period, kind, state, number, currency, net_minor, tax_percent, tax_minor, total_minor,
        payment_terms_days, issued_on, due_on, created_at, finalised_at, cites)
    values ($1, $2, $3, $4, $5, 'finalised', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $15, $16)";

/// Lists the entries of a customer's closed month, by item.
pub(crate) async fn list_entries(tx: &Tx, customer: CustomerId, period: Period) -> Result<Vec<CorrectionEntry>, BillingError> {
    let mut entries: Vec<CorrectionEntry> =
        tx.query(LIST, &[&customer, &period.to_string()]).await?.iter().map(entry).collect::<Result<_, _>>()?;
    entries.sort_by_key(|entry| (entry.item, entry.id));
    Ok(entries)
}

/// Lists all entries of an MSP, or those of one closed period.
pub(crate) async fn list_all(tx: &MspTx, period: Option<Period>) -> Result<Vec<CorrectionEntry>, BillingError> {
    let period = period.map(|period| period.to_string());
    tx.query(LIST_ALL, &[&tx.msp().id, &period]).await?.iter().map(entry).collect()
}

/// Lists the entries that go out with no month yet.
pub(crate) async fn list_pending(tx: &MspTx) -> Result<Vec<CorrectionEntry>, BillingError> {
    tx.query(LIST_PENDING, &[&tx.msp().id]).await?.iter().map(entry).collect()
}

/// Lists the entries that were chosen for a month and stand on no document yet.
pub(crate) async fn list_chosen(tx: &MspTx, later: Period) -> Result<Vec<CorrectionEntry>, BillingError> {
    tx.query(LIST_CHOSEN, &[&tx.msp().id, &later.to_string()]).await?.iter().map(entry).collect()
}

/// Makes the pending entries of a closed month these.
pub(crate) async fn replace_pending(
    tx: &MspTx,
    customer: CustomerId,
    period: Period,
    found: &[RatedLine],
    tax_percent: Decimal,
    found_at: Timestamp,
) -> Result<(), BillingError> {
    let (msp, period) = (tx.msp().id, period.to_string());
    tx.execute(DELETE_PENDING, &[&customer, &period]).await?;
    for line in found {
        let (id, item, code) = (Uuid::now_v7(), line.item.as_str(), line.currency.code());
        let params: [&(dyn ToSql + Sync); 12] = [
            &id,
            &msp,
            &customer,
            &period,
            &item,
            &line.description,
            &line.quantity,
            &line.unit_price,
            &line.amount_minor,
            &code,
            &tax_percent,
            &found_at,
        ];
        tx.execute(INSERT, &params).await?;
    }
    Ok(())
}

/// Makes this transaction the only one that finds or chooses corrections of its MSP, until it ends.
pub(crate) async fn lock(tx: &MspTx) -> Result<(), BillingError> {
    tx.execute(LOCK, &[&tx.msp().id]).await?;
    Ok(())
}

/// Lets go of what was chosen for a month, but for some customers.
pub(crate) async fn let_go(tx: &MspTx, later: Period, without: &[CustomerId]) -> Result<(), BillingError> {
    tx.execute(LET_GO, &[&tx.msp().id, &later.to_string(), &without]).await?;
    Ok(())
}

/// Chooses entries for a month.
pub(crate) async fn choose(tx: &MspTx, ids: &[Uuid], later: Period) -> Result<(), BillingError> {
    tx.execute(CHOOSE, &[&ids, &later.to_string()]).await?;
    Ok(())
}

/// Says which document entries stand on.
pub(crate) async fn settle(tx: &MspTx, ids: &[Uuid], document: InvoiceId) -> Result<(), BillingError> {
    tx.execute(SETTLE, &[&ids, &document]).await?;
    Ok(())
}

/// A note on its way into the store.
pub(crate) struct NewNote<'a> {
    pub(crate) id: InvoiceId,
    pub(crate) customer: CustomerId,
    pub(crate) period: Period,
    pub(crate) kind: &'a str,
    pub(crate) number: &'a str,
    pub(crate) currency: Currency,
    pub(crate) tax_percent: Decimal,
    pub(crate) totals: Totals,
    pub(crate) payment_terms_days: i32,
    pub(crate) issued_on: Date,
    pub(crate) due_on: Option<Date>,
    pub(crate) cites: Option<InvoiceId>,
}

/// Writes a note with its number.
pub(crate) async fn insert_note(tx: &MspTx, note: &NewNote<'_>) -> Result<(), BillingError> {
    let (msp, period, code, now) = (tx.msp().id, note.period.to_string(), note.currency.code(), tx.now());
    let params: [&(dyn ToSql + Sync); 16] = [
        &note.id,
        &msp,
        &note.customer,
        &period,
        &note.kind,
        &note.number,
        &code,
        &note.totals.net_minor,
        &note.tax_percent,
        &note.totals.tax_minor,
        &note.totals.total_minor,
        &note.payment_terms_days,
        &note.issued_on,
        &note.due_on,
        &now,
        &note.cites,
    ];
    tx.execute(INSERT_NOTE, &params).await?;
    Ok(())
}

fn entry(row: &Row) -> Result<CorrectionEntry, BillingError> {
    Ok(CorrectionEntry {
        id: row.get("id"),
        customer_id: row.get("customer_id"),
        period: period(row.get("period"))?,
        item: stored("billing item", row.get("item"))?,
        description: row.get("description"),
        quantity: row.get::<_, Decimal>("quantity").normalize(),
        unit_price: row.get::<_, Decimal>("unit_price").normalize(),
        amount_minor: row.get("amount_minor"),
        currency: currency(row.get("currency"))?,
        tax_percent: row.get("tax_percent"),
        found_at: row.get("found_at"),
        chosen_for: row.get::<_, Option<&str>>("chosen_for").map(period).transpose()?,
        document_id: row.get("document_id"),
    })
}
