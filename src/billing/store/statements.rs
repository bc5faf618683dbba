//! Statements of the operator to an MSP.

use granary_db::{Row, Tx};
use granary_types::{MspId, Period, StatementId};
use rust_decimal::Decimal;
use uuid::Uuid;

use super::invoices::{ItemTotal, item_total};
use super::{currency, period as stored_period, stored};
use crate::{BillingError, Statement, StatementLine};

macro_rules! select_statements {
    ($condition:literal) => {
        concat!(
            "select id, period, currency, margin_percent, total_minor, finalised_at is not null as is_final from statements where ",
            $condition
        )
    };
}

const FIND: &str = select_statements!("msp_id = $1 and period = $2");

const LIST: &str = select_statements!("msp_id = $1 order by period desc");

const LIST_LINES: &str = "
    select customer_id, item, description, quantity, unit_price, amount_minor, currency
    from statement_lines
    where statement_id = $1
    order by position";

const UPSERT: &str = "
    insert into statements (id, msp_id, period, currency, margin_percent, total_minor, created_at)
    values ($1, $2, $3, $4, $5, $6, $7)
    on conflict (msp_id, period) do update set
        currency = excluded.currency, margin_percent = excluded.margin_percent, total_minor = excluded.total_minor
    returning id";

const DELETE_LINES: &str = "delete from statement_lines where statement_id = $1";

const INSERT_LINES: &str = "
    insert into statement_lines (id, statement_id, msp_id, position, customer_id, item, description, quantity, unit_price, amount_minor, currency)
    select line.id, $1, $2, line.position, line.customer_id, line.item, line.description, line.quantity, line.unit_price, line.amount_minor, $3
    from unnest($4::uuid[], $5::int[], $6::uuid[], $7::text[], $8::text[], $9::numeric[], $10::numeric[], $11::bigint[])
        as line (id, position, customer_id, item, description, quantity, unit_price, amount_minor)";

const FINALISE: &str = "update statements set finalised_at = $2 where id = $1 and finalised_at is null";

const ITEM_TOTALS: &str = "
    select line.item, sum(line.quantity) as quantity, sum(line.amount_minor)::bigint as amount_minor
    from statement_lines line
    join statements statement on statement.id = line.statement_id
    where statement.msp_id = $1 and statement.period = $2 and statement.currency = $3
    group by line.item
    order by line.item";

/// Finds the statement of a period, without its lines.
pub(crate) async fn find_statement(tx: &Tx, msp: MspId, period: Period) -> Result<Option<Statement>, BillingError> {
    tx.query_opt(FIND, &[&msp, &period.to_string()]).await?.as_ref().map(statement).transpose()
}

/// Lists an MSP's statements, the latest first.
pub(crate) async fn list_statements(tx: &Tx, msp: MspId) -> Result<Vec<Statement>, BillingError> {
    tx.query(LIST, &[&msp]).await?.iter().map(statement).collect()
}

/// Lists the lines of a statement.
pub(crate) async fn list_statement_lines(tx: &Tx, id: StatementId) -> Result<Vec<StatementLine>, BillingError> {
    tx.query(LIST_LINES, &[&id]).await?.iter().map(line).collect()
}

/// Writes the statement of a period and exactly these lines.
pub(crate) async fn replace_statement(tx: &Tx, msp: MspId, new: &Statement, lines: &[StatementLine]) -> Result<(), BillingError> {
    let text = new.period.to_string();
    let code = new.currency.code();
    let row = tx.query_one(UPSERT, &[&new.id, &msp, &text, &code, &new.margin_percent, &new.total_minor, &tx.now()]).await?;
    let id: StatementId = row.get("id");
    tx.execute(DELETE_LINES, &[&id]).await?;
    let ids: Vec<Uuid> = lines.iter().map(|_| Uuid::now_v7()).collect();
    let positions: Vec<i32> = (1_i32..).take(lines.len()).collect();
    let customers: Vec<Option<Uuid>> = lines.iter().map(|line| line.customer_id.map(granary_types::CustomerId::uuid)).collect();
    let items: Vec<&str> = lines.iter().map(|line| line.item.as_str()).collect();
    let descriptions: Vec<&str> = lines.iter().map(|line| line.description.as_str()).collect();
    let quantities: Vec<Decimal> = lines.iter().map(|line| line.quantity).collect();
    let prices: Vec<Decimal> = lines.iter().map(|line| line.unit_price).collect();
    let amounts: Vec<i64> = lines.iter().map(|line| line.amount_minor).collect();
    tx.execute(INSERT_LINES, &[&id, &msp, &code, &ids, &positions, &customers, &items, &descriptions, &quantities, &prices, &amounts])
        .await?;
    Ok(())
}

/// Marks a statement as final.
pub(crate) async fn finalise_statement(tx: &Tx, id: StatementId) -> Result<(), BillingError> {
    tx.execute(FINALISE, &[&id, &tx.now()]).await?;
    Ok(())
}

/// Sums a statement's lines by item.
pub(crate) async fn list_item_totals(tx: &Tx, msp: MspId, period: Period, code: &str) -> Result<Vec<ItemTotal>, BillingError> {
    let rows = tx.query(ITEM_TOTALS, &[&msp, &period.to_string(), &code]).await?;
    rows.iter().map(item_total).collect()
}

fn statement(row: &Row) -> Result<Statement, BillingError> {
    Ok(Statement {
        id: row.get("id"),
        period: stored_period(row.get("period"))?,
        currency: currency(row.get("currency"))?,
        margin_percent: row.get("margin_percent"),
        total_minor: row.get("total_minor"),
        is_final: row.get("is_final"),
    })
}

fn line(row: &Row) -> Result<StatementLine, BillingError> {
    Ok(StatementLine {
        customer_id: row.get("customer_id"),
        item: stored("billing item", row.get("item"))?,
        description: row.get("description"),
        quantity: row.get::<_, Decimal>("quantity").normalize(),
        unit_price: row.get::<_, Decimal>("unit_price").normalize(),
        amount_minor: row.get("amount_minor"),
        currency: currency(row.get("currency"))?,
    })
}
