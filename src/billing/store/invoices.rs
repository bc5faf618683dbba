//! Invoices, their subtotals by item, and their numbers.

use granary_db::{Row, Tx};
use granary_tenants::MspTx;
use granary_types::{CustomerId, InvoiceId, MspId, Period};
use jiff::civil::Date;
use rust_decimal::Decimal;

use super::{currency, period, stored};
use crate::draft::InvoiceDraft;
use crate::{BillingError, Invoice, InvoiceFilter, InvoiceState, Item, Note};

macro_rules! select_invoices {
    ($condition:literal) => {
        concat!(
            "select i.id, i.customer_id, c.code as customer_code, c.name as customer_name, i.period, i.state, i.number, i.currency, i.net_minor, ",
            "i.tax_percent, i.tax_minor, i.total_minor, i.paid_minor, i.payment_terms_days, i.is_estimated, i.issued_on, i.due_on ",
            "from invoices i join customers c on c.id = i.customer_id where ",
            $condition
        )
    };
}

const LIST: &str = select_invoices!(
    "i.msp_id = $1 and i.kind = 'invoice' and ($2::text is null or i.period = $2) and ($3::uuid is null or i.customer_id = $3)
     order by i.period desc, c.code"
);

const FIND: &str = select_invoices!("i.msp_id = $1 and i.id = $2");

const FIND_OF: &str =
    select_invoices!("i.msp_id = $1 and i.customer_id = $2 and i.period = $3 and i.kind = 'invoice' and i.state = 'finalised'");

const LIST_NOTES: &str = "
    select n.id, n.customer_id, c.code, n.period, n.kind, n.number, n.currency, n.net_minor, n.tax_percent, n.tax_minor, n.total_minor,
        n.issued_on, i.number as cited
    from invoices n join customers c on c.id = n.customer_id left join invoices i on i.id = n.cites
    where n.msp_id = $1 and n.kind <> 'invoice' and ($2::text is null or n.period = $2) and ($3::uuid is null or n.customer_id = $3)
    order by n.period desc, c.code, n.number";

const APPROVE: &str = "
    update invoices set state = 'approved' where msp_id = $1 and period = $2 and kind = 'invoice' and state = 'draft'";

const UPSERT: &str = "
    insert into invoices (id, msp_id, customer_id, period, state, currency, net_minor, tax_percent, tax_minor, total_minor, payment_terms_days,
        is_estimated, created_at)
    values ($1, $2, $3, $4, 'draft', $5, $6, $7, $8, $9, $10, $11, $12)
    on conflict (customer_id, period) where kind = 'invoice' do update set
        state = 'draft', currency = excluded.currency, net_minor = excluded.net_minor, tax_percent = excluded.tax_percent,
        tax_minor = excluded.tax_minor, total_minor = excluded.total_minor, payment_terms_days = excluded.payment_terms_days,
        is_estimated = excluded.is_estimated
    where invoices.state <> 'finalised'
        and (invoices.currency, invoices.net_minor, invoices.tax_percent, invoices.tax_minor, invoices.total_minor,
            invoices.payment_terms_days, invoices.is_estimated)
        is distinct from (excluded.currency, excluded.net_minor, excluded.tax_percent, excluded.tax_minor, excluded.total_minor,
            excluded.payment_terms_days, excluded.is_estimated)";

const DELETE_ITEMS: &str = "delete from invoice_items where invoice_id = $1";

const INSERT_ITEMS: &str = "
    insert into invoice_items (invoice_id, msp_id, customer_id, period, item, is_recurring, quantity, amount_minor, currency)
    select $1, $2, $3, $4, line.item, line.is_recurring, sum(line.quantity), sum(line.amount_minor)::bigint, $5
    from unnest($6::text[], $7::boolean[], $8::numeric[], $9::bigint[]) as line (item, is_recurring, quantity, amount_minor)
    group by line.item, line.is_recurring";

const DELETE_DRAFT: &str =
    "delete from invoices where customer_id = $1 and period = $2 and kind = 'invoice' and state <> 'finalised' returning id";

const LOCK_SERIES: &str = "
    insert into invoice_series (msp_id, series, next_number) values ($1, $2, 1)
    on conflict (msp_id, series) do update set next_number = invoice_series.next_number
    returning next_number";

const UPDATE_SERIES: &str = "update invoice_series set next_number = $3 where msp_id = $1 and series = $2";

const FINALISE: &str = "
    update invoices set state = 'finalised', number = $2, issued_on = $3, due_on = $4, finalised_at = $5
    where id = $1 and state <> 'finalised'";

const ITEM_TOTALS: &str = "
    select item, sum(quantity) as quantity, sum(amount_minor)::bigint as amount_minor
    from invoice_items
    where msp_id = $1 and period = $2 and currency = $3
    group by item
    order by item";

/// What an item adds up to over many documents.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ItemTotal {
    pub(crate) item: Item,
    pub(crate) quantity: Decimal,
    pub(crate) amount_minor: i64,
}

/// Lists an MSP's invoices, the latest period first.
pub(crate) async fn list_invoices(tx: &Tx, msp: MspId, filter: &InvoiceFilter) -> Result<Vec<Invoice>, BillingError> {
    let period = filter.period.map(|period| period.to_string());
    tx.query(LIST, &[&msp, &period, &filter.customer]).await?.iter().map(invoice).collect()
}

/// Finds an invoice by its id.
pub(crate) async fn find_invoice(tx: &Tx, msp: MspId, id: InvoiceId) -> Result<Option<Invoice>, BillingError> {
    tx.query_opt(FIND, &[&msp, &id]).await?.as_ref().map(invoice).transpose()
}

/// Finds a customer's finalised invoice of a period.
pub(crate) async fn find_invoice_of(tx: &MspTx, customer: CustomerId, period: Period) -> Result<Option<Invoice>, BillingError> {
    tx.query_opt(FIND_OF, &[&tx.msp().id, &customer, &period.to_string()]).await?.as_ref().map(invoice).transpose()
}

/// Lists credit and debit notes by the period that they correct.
pub(crate) async fn list_notes(tx: &MspTx, filter: &InvoiceFilter) -> Result<Vec<Note>, BillingError> {
    let read = |row: &Row| {
        Ok(Note {
            id: row.get("id"),
            customer_id: row.get("customer_id"),
            customer_code: row.get("code"),
            period: period(row.get("period"))?,
            is_credit: row.get::<_, &str>("kind") == "credit_note",
            number: row.get("number"),
            currency: currency(row.get("currency"))?,
            net_minor: row.get("net_minor"),
            tax_percent: row.get("tax_percent"),
            tax_minor: row.get("tax_minor"),
            total_minor: row.get("total_minor"),
            issued_on: row.get("issued_on"),
            cited: row.get("cited"),
        })
    };
    let of = filter.period.map(|period| period.to_string());
    tx.query(LIST_NOTES, &[&tx.msp().id, &of, &filter.customer]).await?.iter().map(read).collect()
}

/// Approves the drafts of a period; returns how many there were.
pub(crate) async fn approve(tx: &MspTx, period: Period) -> Result<u64, BillingError> {
    Ok(tx.execute(APPROVE, &[&tx.msp().id, &period.to_string()]).await?)
}

/// Writes a draft and its subtotals; an invoice that is finalised, and one that is already so, stays untouched.
pub(crate) async fn upsert_draft(tx: &Tx, msp: MspId, draft: &InvoiceDraft) -> Result<(), BillingError> {
    let text = draft.period.to_string();
    let code = draft.currency.code();
    let sums = &draft.totals;
    tx.execute(
        UPSERT,
        &[
            &draft.invoice,
            &msp,
            &draft.customer,
            &text,
            &code,
            &sums.net_minor,
            &draft.tax_percent,
            &sums.tax_minor,
            &sums.total_minor,
            &draft.payment_terms_days,
            &draft.is_estimated,
            &tx.now(),
        ],
    )
    .await?;
    let items: Vec<&str> = draft.lines.iter().map(|line| line.item.as_str()).collect();
    let recurring: Vec<bool> = draft.lines.iter().map(|line| line.is_recurring).collect();
    let quantities: Vec<Decimal> = draft.lines.iter().map(|line| line.quantity).collect();
    let amounts: Vec<i64> = draft.lines.iter().map(|line| line.amount_minor).collect();
    tx.execute(DELETE_ITEMS, &[&draft.invoice]).await?;
    tx.execute(INSERT_ITEMS, &[&draft.invoice, &msp, &draft.customer, &text, &code, &items, &recurring, &quantities, &amounts]).await?;
    Ok(())
}

/// Deletes the draft of a customer that has nothing to bill any more.
pub(crate) async fn delete_draft(tx: &Tx, customer: CustomerId, period: Period, invoice: InvoiceId) -> Result<(), BillingError> {
    tx.execute(DELETE_ITEMS, &[&invoice]).await?;
    tx.query(DELETE_DRAFT, &[&customer, &period.to_string()]).await?;
    Ok(())
}

/// Locks a series and returns its next number; whoever wants another number of it waits until this transaction ends.
pub(crate) async fn lock_series(tx: &Tx, msp: MspId, series: &str) -> Result<i64, BillingError> {
    Ok(tx.query_one(LOCK_SERIES, &[&msp, &series]).await?.get("next_number"))
}

/// Sets the next number of a locked series.
pub(crate) async fn update_series(tx: &Tx, msp: MspId, series: &str, next_number: i64) -> Result<(), BillingError> {
    tx.execute(UPDATE_SERIES, &[&msp, &series, &next_number]).await?;
    Ok(())
}

/// Gives an invoice its number and days; tells whether it was not finalised before.
pub(crate) async fn finalise_invoice(tx: &Tx, id: InvoiceId, number: &str, issued_on: Date, due_on: Date) -> Result<bool, BillingError> {
    Ok(tx.execute(FINALISE, &[&id, &number, &issued_on, &due_on, &tx.now()]).await? == 1)
}

/// Sums the lines of a period's invoices by item.
pub(crate) async fn list_item_totals(tx: &Tx, msp: MspId, period: Period, code: &str) -> Result<Vec<ItemTotal>, BillingError> {
    let rows = tx.query(ITEM_TOTALS, &[&msp, &period.to_string(), &code]).await?;
    rows.iter().map(item_total).collect()
}

/// Reads a row with `item`, `quantity` and `amount_minor`.
pub(super) fn item_total(row: &Row) -> Result<ItemTotal, BillingError> {
    Ok(ItemTotal {
        item: stored("billing item", row.get("item"))?,
        quantity: row.get::<_, Decimal>("quantity").normalize(),
        amount_minor: row.get("amount_minor"),
    })
}

fn invoice(row: &Row) -> Result<Invoice, BillingError> {
    Ok(Invoice {
        id: row.get("id"),
        customer_id: row.get("customer_id"),
        customer_code: row.get("customer_code"),
        customer_name: row.get("customer_name"),
        period: period(row.get("period"))?,
        state: stored::<InvoiceState>("invoice state", row.get("state"))?,
        number: row.get("number"),
        currency: currency(row.get("currency"))?,
        net_minor: row.get("net_minor"),
        tax_percent: row.get("tax_percent"),
        tax_minor: row.get("tax_minor"),
        total_minor: row.get("total_minor"),
        paid_minor: row.get("paid_minor"),
        payment_terms_days: row.get("payment_terms_days"),
        is_estimated: row.get("is_estimated"),
        issued_on: row.get("issued_on"),
        due_on: row.get("due_on"),
    })
}
