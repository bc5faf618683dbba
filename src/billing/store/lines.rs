//! Rated lines, in the tenant's schema.

use granary_db::{Row, Tx};
use granary_types::{InvoiceId, LineId, Period};
use rust_decimal::Decimal;

use super::{currency, stored};
use crate::{BillingError, RatedLine};

const LIST: &str = "
    select invoice_id, item, description, quantity, unit_price, amount_minor, currency, is_recurring, finalised_at is not null as is_final
    from rated_lines
    where period = $1
    order by position";

const UPSERT: &str = "
    insert into rated_lines (
        id, period, invoice_id, position, item, description, quantity, unit_price, amount_minor, currency, is_recurring, period_start_on, created_at)
    select line.id, $1, $2, line.position, line.item, line.description, line.quantity, line.unit_price, line.amount_minor, $10, line.is_recurring, $11, $12
    from unnest($3::uuid[], $4::int[], $5::text[], $6::text[], $7::numeric[], $8::numeric[], $9::bigint[], $13::boolean[])
        as line (id, position, item, description, quantity, unit_price, amount_minor, is_recurring)
    on conflict (period, position) do update set
        invoice_id = excluded.invoice_id, item = excluded.item, description = excluded.description, quantity = excluded.quantity,
        unit_price = excluded.unit_price, amount_minor = excluded.amount_minor, currency = excluded.currency, is_recurring = excluded.is_recurring
    where (rated_lines.invoice_id, rated_lines.item, rated_lines.description, rated_lines.quantity, rated_lines.unit_price,
            rated_lines.amount_minor, rated_lines.currency, rated_lines.is_recurring)
        is distinct from (excluded.invoice_id, excluded.item, excluded.description, excluded.quantity, excluded.unit_price,
            excluded.amount_minor, excluded.currency, excluded.is_recurring)";

const DELETE_AFTER: &str = "delete from rated_lines where period = $1 and position > $2";

const FINALISE: &str = "update rated_lines set finalised_at = $2 where period = $1 and finalised_at is null";

/// A period's lines as they are stored.
#[derive(Debug, Default)]
pub(crate) struct StoredLines {
    pub(crate) invoice: Option<InvoiceId>,
    pub(crate) is_final: bool,
    pub(crate) lines: Vec<RatedLine>,
}

/// Lists the lines of a period in the order of the invoice.
pub(crate) async fn list_lines(tx: &Tx, period: Period) -> Result<StoredLines, BillingError> {
    let mut stored = StoredLines::default();
    for row in tx.query(LIST, &[&period.to_string()]).await? {
        stored.invoice = stored.invoice.or(row.get("invoice_id"));
        stored.is_final |= row.get::<_, bool>("is_final");
        stored.lines.push(line(&row)?);
    }
    Ok(stored)
}

/// Makes a period's lines these and no others; rows that are already so stay untouched.
pub(crate) async fn replace_lines(tx: &Tx, period: Period, invoice: InvoiceId, lines: &[RatedLine]) -> Result<(), BillingError> {
    let text = period.to_string();
    let count = i32::try_from(lines.len()).unwrap_or(i32::MAX);
    tx.execute(DELETE_AFTER, &[&text, &count]).await?;
    let Some(first) = lines.first() else { return Ok(()) };
    let ids: Vec<LineId> = lines.iter().map(|_| LineId::new()).collect();
    let positions: Vec<i32> = (1..=count).collect();
    let items: Vec<&str> = lines.iter().map(|line| line.item.as_str()).collect();
    let descriptions: Vec<&str> = lines.iter().map(|line| line.description.as_str()).collect();
    let quantities: Vec<Decimal> = lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<Decimal> = lines.iter().map(|line| line.unit_price).collect();
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount_minor).collect();
    let recurring: Vec<bool> = lines.iter().map(|line| line.is_recurring).collect();
    let (code, first_day, now) = (first.currency.code(), period.first_day(), tx.now());
    tx.execute(
        UPSERT,
        &[&text, &invoice, &ids, &positions, &items, &descriptions, &quantities, &prices, &amounts, &code, &first_day, &now, &recurring],
    )
    .await?;
    Ok(())
}

/// Marks a period's lines as final.
pub(crate) async fn finalise_lines(tx: &Tx, period: Period) -> Result<(), BillingError> {
    tx.execute(FINALISE, &[&period.to_string(), &tx.now()]).await?;
    Ok(())
}

fn line(row: &Row) -> Result<RatedLine, BillingError> {
    Ok(RatedLine {
        item: stored("billing item", row.get("item"))?,
        description: row.get("description"),
        quantity: row.get::<_, Decimal>("quantity").normalize(),
        unit_price: row.get::<_, Decimal>("unit_price").normalize(),
        amount_minor: row.get("amount_minor"),
        currency: currency(row.get("currency"))?,
        is_recurring: row.get("is_recurring"),
    })
}
