//! From the lake's columns to polars frames and plain rows.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};
use granary_types::Period;
use granary_warehouse::Session;
use polars::prelude::df;

use crate::ReconciliationError;
use crate::facts::{Facts, completions, rank_of};
use crate::price::PriceVersion;
use crate::recount::Span;
use crate::store::{ASSIGNMENTS, LIMITS, MACHINES, PRICES, Queries};

/// A line as it was rated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RatedLine {
    pub(crate) position: i32,
    pub(crate) item: String,
    pub(crate) is_recurring: bool,
    pub(crate) quantity_e4: i128,
    pub(crate) price_e8: i128,
    pub(crate) amount_minor: i64,
}

/// An invoice's amounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct InvoiceAmounts {
    pub(crate) net_minor: i64,
    pub(crate) tax_minor: i64,
}

/// Everything that one period is checked with, by customer.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) facts: Facts,
    pub(crate) names: HashMap<String, String>,
    pub(crate) prices: Vec<PriceVersion>,
    /// Storage limits in GiB of each contract, by the first day on which they hold.
    pub(crate) limits: HashMap<String, BTreeMap<i32, i64>>,
    pub(crate) lines: BTreeMap<String, Vec<RatedLine>>,
    pub(crate) invoices: HashMap<String, InvoiceAmounts>,
    pub(crate) paid: HashMap<String, i64>,
    /// Whether the period was drafted or closed: before that nothing can be compared.
    pub(crate) is_billed: bool,
}

/// Reads a period from the lake, and the prices of the whole MSP.
pub(crate) async fn load(session: &Session, whole: &Session, period: Period, span: Span) -> Result<Loaded, ReconciliationError> {
    let queries = Queries::new(period, span);
    let machines = session.query(MACHINES).await?;
    let roots = roots(&machines)?;
    let names = texts(&machines, "machine")?.into_iter().zip(texts(&machines, "name")?).collect();
    let facts = Facts {
        completions: load_completions(session, &queries, &roots).await?,
        assignments: load_assignments(session, &roots).await?,
        machine_days: load_machine_days(session, &queries, &roots).await?,
        samples: load_samples(session, &queries).await?,
    };
    let (lines, invoices) = (load_lines(session, &queries).await?, load_invoices(session, &queries).await?);
    let states = texts(&whole.query(&queries.state).await?, "state")?;
    let is_billed = !lines.is_empty() || !invoices.is_empty() || states.iter().any(|state| matches!(state.as_str(), "drafted" | "closed"));
    let (prices, limits) = (load_prices(whole).await?, load_limits(session).await?);
    Ok(Loaded { facts, names, prices, limits, lines, invoices, paid: load_paid(session, &queries).await?, is_billed })
}

/// For every replaced machine the one that goes on.
fn roots(machines: &[RecordBatch]) -> Result<HashMap<String, String>, ReconciliationError> {
    let next: HashMap<String, String> =
        texts(machines, "machine")?.into_iter().zip(texts(machines, "replaced_by")?).filter(|(_, next)| !next.is_empty()).collect();
    let root = |machine: &String| {
        let mut root = machine;
        for _ in 0..next.len() {
            match next.get(root) {
                Some(one) => root = one,
                None => break,
            }
        }
        root.clone()
    };
    Ok(next.keys().map(|machine| (machine.clone(), root(machine))).collect())
}

fn rooted(batches: &[RecordBatch], roots: &HashMap<String, String>) -> Result<Vec<String>, ReconciliationError> {
    Ok(texts(batches, "machine")?.into_iter().map(|machine| roots.get(&machine).cloned().unwrap_or(machine)).collect())
}

async fn load_completions(
    session: &Session,
    queries: &Queries,
    roots: &HashMap<String, String>,
) -> Result<polars::prelude::DataFrame, ReconciliationError> {
    let mut batches = session.query(&queries.runs).await?;
    batches.extend(session.query(&queries.cycles).await?);
    Ok(completions(texts(&batches, "customer")?, rooted(&batches, roots)?, ints(&batches, "day")?, longs(&batches, "runs")?)?)
}

async fn load_assignments(session: &Session, roots: &HashMap<String, String>) -> Result<polars::prelude::DataFrame, ReconciliationError> {
    let batches = session.query(ASSIGNMENTS).await?;
    let ranks: Vec<i32> = texts(&batches, "tier")?.iter().map(|tier| rank_of(tier).unwrap_or(-1)).collect();
    Ok(df![
        "customer" => texts(&batches, "customer")?, "machine" => rooted(&batches, roots)?, "rank" => ranks,
        "valid_from" => ints(&batches, "valid_from")?, "valid_to" => ints(&batches, "valid_to")?,
    ]?)
}

async fn load_machine_days(
    session: &Session,
    queries: &Queries,
    roots: &HashMap<String, String>,
) -> Result<polars::prelude::DataFrame, ReconciliationError> {
    let batches = session.query(&queries.machine_days).await?;
    let ranks: Vec<i32> = texts(&batches, "tier")?.iter().map(|tier| rank_of(tier).unwrap_or(-1)).collect();
    Ok(df![
        "customer" => texts(&batches, "customer")?, "machine" => rooted(&batches, roots)?, "day" => ints(&batches, "day")?,
        "rank" => ranks, "runs" => longs(&batches, "runs")?,
    ]?)
}

async fn load_samples(session: &Session, queries: &Queries) -> Result<polars::prelude::DataFrame, ReconciliationError> {
    let batches = session.query(&queries.samples).await?;
    Ok(df![
        "customer" => texts(&batches, "customer")?, "repository" => texts(&batches, "repository")?, "day" => ints(&batches, "day")?,
        "sampled_at" => longs(&batches, "sampled_at")?, "used" => longs(&batches, "used")?,
    ]?)
}

async fn load_prices(session: &Session) -> Result<Vec<PriceVersion>, ReconciliationError> {
    let batches = session.query(PRICES).await?;
    let (customers, items, currencies) = (texts(&batches, "customer")?, texts(&batches, "item")?, texts(&batches, "currency")?);
    let (prices, days, is_list) = (decimals(&batches, "price")?, ints(&batches, "valid_from")?, bools(&batches, "is_list")?);
    let rows = customers.into_iter().zip(items).zip(currencies).zip(prices).zip(days).zip(is_list);
    let version = |(((((customer, item), currency), price_e8), valid_from), is_list): (((((String, _), _), _), _), _)| PriceVersion {
        customer: Some(customer).filter(|customer| !customer.is_empty()),
        is_list,
        item,
        currency,
        price_e8,
        valid_from,
    };
    Ok(rows.map(version).collect())
}

async fn load_limits(session: &Session) -> Result<HashMap<String, BTreeMap<i32, i64>>, ReconciliationError> {
    let batches = session.query(LIMITS).await?;
    let rows = texts(&batches, "contract")?.into_iter().zip(ints(&batches, "valid_from")?).zip(longs(&batches, "gib")?);
    let mut limits: HashMap<String, BTreeMap<i32, i64>> = HashMap::new();
    for ((contract, from), gib) in rows {
        limits.entry(contract).or_default().insert(from, gib);
    }
    Ok(limits)
}

async fn load_lines(session: &Session, queries: &Queries) -> Result<BTreeMap<String, Vec<RatedLine>>, ReconciliationError> {
    let batches = session.query(&queries.lines).await?;
    let (customers, items, positions) = (texts(&batches, "customer")?, texts(&batches, "item")?, ints(&batches, "position")?);
    let (quantities, prices) = (decimals(&batches, "quantity")?, decimals(&batches, "price")?);
    let (amounts, recurring) = (longs(&batches, "amount_minor")?, bools(&batches, "is_recurring")?);
    let mut lines: BTreeMap<String, Vec<RatedLine>> = BTreeMap::new();
    for (row, (customer, item)) in customers.into_iter().zip(items).enumerate() {
        lines.entry(customer).or_default().push(RatedLine {
            position: positions[row],
            item,
            is_recurring: recurring[row],
            quantity_e4: quantities[row],
            price_e8: prices[row],
            amount_minor: amounts[row],
        });
    }
    for lines in lines.values_mut() {
        lines.sort_by_key(|line| line.position);
    }
    Ok(lines)
}

async fn load_invoices(session: &Session, queries: &Queries) -> Result<HashMap<String, InvoiceAmounts>, ReconciliationError> {
    let batches = session.query(&queries.invoices).await?;
    let amounts = longs(&batches, "net_minor")?.into_iter().zip(longs(&batches, "tax_minor")?);
    let amounts = amounts.map(|(net_minor, tax_minor)| InvoiceAmounts { net_minor, tax_minor });
    Ok(texts(&batches, "customer")?.into_iter().zip(amounts).collect())
}

async fn load_paid(session: &Session, queries: &Queries) -> Result<HashMap<String, i64>, ReconciliationError> {
    let batches = session.query(&queries.payments).await?;
    Ok(texts(&batches, "customer")?.into_iter().zip(longs(&batches, "paid")?).collect())
}

/// Collects one column of all batches.
fn column<T>(
    batches: &[RecordBatch],
    name: &'static str,
    collect: impl Fn(&dyn Array, &mut Vec<T>) -> Option<()>,
) -> Result<Vec<T>, ReconciliationError> {
    let mut values = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
    for batch in batches {
        let found = batch.column_by_name(name).filter(|column| column.null_count() == 0);
        found.and_then(|column| collect(column.as_ref(), &mut values)).ok_or(ReconciliationError::Column(name))?;
    }
    Ok(values)
}

fn texts(batches: &[RecordBatch], name: &'static str) -> Result<Vec<String>, ReconciliationError> {
    column(batches, name, |array, values| {
        values.extend(array.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned));
        Some(())
    })
}

fn ints(batches: &[RecordBatch], name: &'static str) -> Result<Vec<i32>, ReconciliationError> {
    column(batches, name, |array, values| {
        values.extend_from_slice(array.as_primitive_opt::<Int32Type>()?.values());
        Some(())
    })
}

fn longs(batches: &[RecordBatch], name: &'static str) -> Result<Vec<i64>, ReconciliationError> {
    column(batches, name, |array, values| {
        values.extend_from_slice(array.as_primitive_opt::<Int64Type>()?.values());
        Some(())
    })
}

fn decimals(batches: &[RecordBatch], name: &'static str) -> Result<Vec<i128>, ReconciliationError> {
    column(batches, name, |array, values| {
        values.extend_from_slice(array.as_primitive_opt::<Decimal128Type>()?.values());
        Some(())
    })
}

fn bools(batches: &[RecordBatch], name: &'static str) -> Result<Vec<bool>, ReconciliationError> {
    column(batches, name, |array, values| {
        values.extend(array.as_boolean_opt()?.iter().flatten());
        Some(())
    })
}
