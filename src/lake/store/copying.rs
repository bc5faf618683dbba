//! What is read from Postgres whole: the statements that are composed, `COPY`. Names come from the code and months from
//! [`Period`]: nothing of it is input.

use std::collections::BTreeSet;

use granary_db::{DbError, Tx};
use granary_types::{ColumnKind, CustomerId, Dataset, Period};

use crate::plan::Wanted;
use crate::sort::sorted_by;

/// The tables of the schema that a transaction is in.
const LIST_TABLES: &str = "
    select c.relname::text, format('%I', c.relname)
    from pg_catalog.pg_class c
    where c.relnamespace = (select oid from pg_catalog.pg_namespace where nspname = current_schema()) and c.relkind = 'r'
        and c.relname <> 'refinery_schema_history'
    order by 1";

/// How much a table takes on the disk, without its indexes.
const TABLE_BYTES: &str = "select pg_table_size(to_regclass($1::text))";

/// In which order rows are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Order {
    /// As they lie.
    Any,
    /// Part after part, some months by the day; within a part as they lie.
    ByPart(BTreeSet<Period>),
    /// Part after part, and within it in the order of its file.
    Sorted(BTreeSet<Period>),
}

/// Composes the statement that sends a dataset's rows.
pub(crate) fn copy_statement(dataset: &Dataset, wanted: &Wanted, order: &Order) -> String {
    let columns = dataset.columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ");
    let month = dataset.month_column.map(|name| (name, kind_of(dataset, name) == Some(ColumnKind::Date)));
    let condition = match (wanted, month) {
        (Wanted::Months(months), Some(month)) => format!(" where {}", within(months, month)),
        _ => String::new(),
    };
    let order = match order {
        Order::Any => Vec::new(),
        Order::ByPart(by_day) => month.into_iter().map(|month| part(month, by_day)).collect(),
        Order::Sorted(by_day) => {
            let is_one = matches!(wanted, Wanted::Months(months) if months.len() == 1) && by_day.is_empty();
            let leads = |(name, _): &(&str, bool)| dataset.sort.first() != Some(name);
            let mut order: Vec<String> = month.into_iter().filter(|_| !is_one).filter(leads).map(|month| part(month, by_day)).collect();
            order.extend(dataset.sort.iter().map(|name| in_order(dataset, name)));
            order
        }
    };
    let order = if order.is_empty() { String::new() } else { format!(" order by {}", order.join(", ")) };
    format!("copy (select {columns} from \"{}\"{condition}{order}) to stdout (format binary)", dataset.name)
}

fn kind_of(dataset: &Dataset, name: &str) -> Option<ColumnKind> {
    dataset.columns.iter().find(|column| column.name == name).map(|column| column.kind)
}

/// The condition that a row lies in one of the months.
fn within(months: &BTreeSet<Period>, (name, is_date): (&str, bool)) -> String {
    let suffix = if is_date { "" } else { " 00:00:00+00" };
    let spans = months
        .iter()
        .map(|period| format!("(\"{name}\" >= '{}{suffix}' and \"{name}\" < '{}{suffix}')", period.first_day(), period.next().first_day()));
    spans.collect::<Vec<_>>().join(" or ")
}

/// What is the same for all rows of a part, and larger for the parts after it.
fn part((name, is_date): (&str, bool), by_day: &BTreeSet<Period>) -> String {
    let clock = if is_date { "::timestamp" } else { " at time zone 'UTC'" };
    let by_month = format!("date_trunc('month', \"{name}\"{clock})");
    if by_day.is_empty() {
        return by_month;
    }
    format!("case when {} then date_trunc('day', \"{name}\"{clock}) else {by_month} end", within(by_day, (name, is_date)))
}

/// Texts are compared by their bytes, as whoever reads the files does.
fn in_order(dataset: &Dataset, name: &str) -> String {
    let is_text = kind_of(dataset, name) == Some(ColumnKind::Text) && sorted_by(dataset).contains(&name);
    if is_text { format!("\"{name}\" collate \"C\"") } else { format!("\"{name}\"") }
}

/// Returns how much a dataset's table takes on the disk, without its indexes.
pub(crate) async fn table_bytes(tx: &Tx, dataset: &Dataset) -> Result<u64, DbError> {
    let bytes: Option<i64> = tx.query_one(TABLE_BYTES, &[&format!("\"{}\"", dataset.name)]).await?.get(0);
    Ok(bytes.map_or(u64::MAX, i64::cast_unsigned))
}

/// A table of a silo.
pub(crate) struct SiloTable {
    pub(crate) name: String,
    /// As statements write it.
    quoted: String,
}

/// Lists the tables of the silo that a transaction is in.
pub(crate) async fn list_tables(tx: &Tx) -> Result<Vec<SiloTable>, DbError> {
    Ok(tx.query(LIST_TABLES, &[]).await?.iter().map(|row| SiloTable { name: row.get(0), quoted: row.get(1) }).collect())
}

/// Reads a whole table as text.
pub(crate) fn copy_table(table: &SiloTable) -> String {
    format!("copy {} to stdout (format csv, header)", table.quoted)
}

/// Reads a customer's rows of a control dataset as text.
pub(crate) fn copy_rows_of(dataset: &Dataset, customer: CustomerId) -> String {
    let columns = dataset.columns.iter().map(|column| format!("\"{}\"", column.name)).collect::<Vec<_>>().join(", ");
    let order = dataset.sort.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "copy (select {columns} from \"{}\" where customer_id = '{customer}' order by {order}) to stdout (format csv, header)",
        dataset.name
    )
}
