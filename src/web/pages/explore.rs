//! `GET /explore`: the rows that add up to a number, as a table and as CSV.

use std::fmt::Write as _;

use axum::Extension;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{Html, IntoResponse, Response};
use granary_access::{AccessError, Permission};
use granary_types::{Currency, Period};
use jiff::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::catalogue::{self, Column, Kind, View};
use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::queries::{Holes, Word, rows};
use crate::{AppState, format, link};

/// Rows that a page shows; the CSV has them all, and the sums are of them all.
const ROWS_ON_A_PAGE: usize = 500;

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ExploreQuery {
    view: String,
    period: Period,
    #[serde(default)]
    customer: String,
    #[serde(default)]
    word: String,
}

type Row = Map<String, Value>;

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<ExploreQuery>,
) -> Result<Html<String>, Problem> {
    let (view, rows) = rows_of(&app, &visitor, &query).await?;
    let msp = visitor.msp()?;
    let table = Table { view, rows: &rows, currency: msp.currency, zone: &msp.time_zone, period: query.period };
    Ok(layout::page(&visitor, Place::Elsewhere, view.title, &body(&table, &query)))
}

/// The same rows, all of them, for a spreadsheet.
pub(crate) async fn csv(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<ExploreQuery>,
) -> Result<Response, Problem> {
    let (view, rows) = rows_of(&app, &visitor, &query).await?;
    let currency = visitor.msp()?.currency;
    let mut out = String::new();
    let mut names: Vec<_> = view.columns.iter().map(|column| csv_field(column.key.trim_end_matches("_minor"))).collect();
    names.extend(view.has_amounts().then(|| "currency".to_owned()));
    let _ = write!(out, "{}\r\n", names.join(","));
    for row in &rows {
        let mut fields: Vec<_> = view.columns.iter().map(|column| csv_field(&plain(row, *column, currency))).collect();
        fields.extend(view.has_amounts().then(|| currency_of(row, currency).to_string()));
        let _ = write!(out, "{}\r\n", fields.join(","));
    }
    let name = format!("attachment; filename=\"{}-{}.csv\"", view.name, query.period);
    Ok(([(CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()), (CONTENT_DISPOSITION, name)], out).into_response())
}

/// Finds the view, checks who asks, and asks the warehouse within the asker's grant.
async fn rows_of(app: &AppState, visitor: &Visitor, query: &ExploreQuery) -> Result<(&'static View, Vec<Row>), Problem> {
    let view = catalogue::find(&query.view).ok_or_else(|| Problem::not_found("such view"))?;
    visitor.principal.require(view.permission)?;
    if view.permission == Permission::MarginRead && !visitor.principal.sees_all() {
        return Err(AccessError::Denied(Permission::MarginRead).into());
    }
    let customer = if query.customer.is_empty() { None } else { Some(visitor.scope(app, &query.customer).await?.customer.code) };
    let holes = Holes { period: query.period, customer, word: Word::parse(&query.word)? };
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    Ok((view, rows(&session, &holes.fill(view.sql)).await?))
}

struct Table<'a> {
    view: &'static View,
    rows: &'a [Row],
    currency: Currency,
    zone: &'a jiff::tz::TimeZone,
    period: Period,
}

fn body(table: &Table<'_>, query: &ExploreQuery) -> Markup {
    let period = query.period.to_string();
    let pairs = [("view", query.view.as_str()), ("period", &period), ("customer", &query.customer), ("word", &query.word)];
    let actions = html! { a.button href={ "/explore.csv?" (link::query(&pairs)) } download { "Download CSV" } };
    let note = html! { (format::month(query.period)) @if !query.customer.is_empty() { " · " (query.customer) } @if !query.word.is_empty() { " · " (query.word) } };
    let shown = table.rows.len().min(ROWS_ON_A_PAGE);
    html! {
        (layout::head(&[("/", "Overview")], table.view.title, &note, &actions))
        section.card {
            header { p { (table.view.about) } p { (format::counted(table.rows.len() as i64, "row", "rows")) @if shown < table.rows.len() { ", the first " (shown) " shown" } } }
            @if table.rows.is_empty() {
                (layout::empty("No rows", "Nothing of this kind was recorded for the month."))
            } @else {
                div.scroll tabindex="0" role="region" aria-label=(table.view.title) { (rows_table(table, shown)) }
            }
        }
    }
}

fn rows_table(table: &Table<'_>, shown: usize) -> Markup {
    html! {
        table {
            thead { tr { @for column in table.view.columns { th scope="col" class=[is_number(column.kind).then_some("n")] { (column.title) } } } }
            tbody {
                @for row in table.rows.iter().take(shown) {
                    tr { @for column in table.view.columns { td class=[class_of(column.kind)] { (cell(table, row, *column)) } } }
                }
            }
            tfoot {
                tr {
                    @for (index, column) in table.view.columns.iter().enumerate() {
                        @if column.is_summed {
                            @let total: i64 = table.rows.iter().filter_map(|row| row.get(column.key)?.as_i64()).sum();
                            td.n data-total=(total) { (written(column.kind, total, table.currency)) }
                        } @else if index == 0 {
                            th scope="row" data-rows=(table.rows.len()) { "Sum of " (format::counted(table.rows.len() as i64, "row", "rows")) }
                        } @else {
                            td {}
                        }
                    }
                }
            }
        }
    }
}

/// Numbers stand to the right, and neither they nor days are broken.
const fn class_of(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Date | Kind::Instant => Some("whole"),
        kind if is_number(kind) => Some("n"),
        _ => None,
    }
}

const fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::Count | Kind::Money | Kind::Bytes | Kind::Percent | Kind::Minutes | Kind::Decimal)
}

fn cell(table: &Table<'_>, row: &Row, column: Column) -> Markup {
    let text = text_of(row, column.key);
    if text.is_empty() {
        return html! { span.soft { "–" } };
    }
    match column.kind {
        Kind::Customer => html! { a href=(link::customer(&text, table.period)) { (text) } },
        Kind::Word => html! { (text.replace('_', " ")) },
        Kind::Instant => {
            let at: Option<Timestamp> = text.parse().ok();
            html! { (at.map_or(text, |at| format::instant(at, table.zone))) }
        }
        Kind::Decimal => html! { (text.parse().map_or(text, format::decimal)) },
        Kind::Text | Kind::Date => html! { (text) },
        Kind::Count | Kind::Money | Kind::Bytes | Kind::Percent | Kind::Minutes => {
            html! { (row.get(column.key).and_then(Value::as_i64).map_or(text, |value| written(column.kind, value, currency_of(row, table.currency)))) }
        }
    }
}

fn written(kind: Kind, value: i64, currency: Currency) -> String {
    match kind {
        Kind::Money => format::money(value, currency),
        Kind::Bytes => format::bytes(value),
        Kind::Percent => format::percent_of_basis(value),
        Kind::Minutes => format::minutes(value),
        Kind::Count | Kind::Text | Kind::Customer | Kind::Word | Kind::Decimal | Kind::Date | Kind::Instant => format::count(value),
    }
}

fn currency_of(row: &Row, otherwise: Currency) -> Currency {
    row.get("currency").and_then(Value::as_str).and_then(|code| code.parse().ok()).unwrap_or(otherwise)
}

fn text_of(row: &Row, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// A value for a spreadsheet: amounts as decimals of the currency, everything else exact.
fn plain(row: &Row, column: Column, currency: Currency) -> String {
    match (column.kind, row.get(column.key).and_then(Value::as_i64)) {
        (Kind::Money, Some(minor)) => granary_types::Money::new(minor, currency_of(row, currency)).to_decimal().to_string(),
        _ => text_of(row, column.key),
    }
}

/// Quotes a field where needed, and keeps a spreadsheet from taking a name for a formula.
fn csv_field(text: &str) -> String {
    let is_formula = text.starts_with(['=', '@', '\t', '\r']) || (text.starts_with(['+', '-']) && text.parse::<f64>().is_err());
    let text = if is_formula { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_does_not_become_a_formula() {
        assert_eq!(csv_field("=cmd|'/c calc'!A1"), "'=cmd|'/c calc'!A1");
        assert_eq!(csv_field("-12.50"), "-12.50");
        assert_eq!(csv_field("-x"), "'-x");
        assert_eq!(csv_field("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
