//! `GET /invoices`: what the customers were charged, and what the MSP itself is charged.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Html;
use granary_access::Permission;
use granary_types::{Currency, Period};
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::overview::{PeriodQuery, chosen_period, nothing_yet};
use crate::queries::{Holes, portfolio_queries as sql, rows};
use crate::{AppState, format, link};

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct InvoiceRow {
    pub(crate) customer_code: String,
    pub(crate) customer_name: String,
    pub(crate) period: Period,
    pub(crate) number: Option<String>,
    pub(crate) state: String,
    pub(crate) currency: Currency,
    pub(crate) net_minor: i64,
    pub(crate) tax_minor: i64,
    pub(crate) total_minor: i64,
    pub(crate) paid_minor: i64,
    pub(crate) due_on: Option<jiff::civil::Date>,
}

#[derive(Debug, Clone, Deserialize)]
struct StatementRow {
    item: String,
    lines: i64,
    amount_minor: i64,
    currency: Currency,
}

/// The page.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<PeriodQuery>,
) -> Result<Html<String>, Problem> {
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    let Some((periods, period)) = chosen_period(&session, &query).await? else {
        let next = "Drafts are made 72 hours after a month's end; approved and closed, they become invoices and stand here.";
        return Ok(layout::page(&visitor, Place::Invoices, "Invoices", &nothing_yet("Invoices", "no month yet", next)));
    };
    let holes = Holes::of_period(period);
    let sees_wholesale = visitor.may(Permission::MarginRead) && visitor.principal.sees_all();
    let invoices_sql = holes.fill(sql::INVOICES);
    let statement_sql = holes.fill(sql::STATEMENT);
    let (invoices, statement) = futures::try_join!(rows::<InvoiceRow>(&session, &invoices_sql), async {
        if sees_wholesale { rows::<StatementRow>(&session, &statement_sql).await } else { Ok(Vec::new()) }
    })?;
    let body = html! {
        (layout::head(&[], "Invoices", &html! { (format::month(period)) }, &layout::period_choice(&periods, period, &[])))
        (totals(&invoices, period))
        div.grid {
            @if sees_wholesale {
                (layout::card("", "Statement", &html! { "Wholesale, from the operator" }, &statement_sum(&statement, period)))
            }
            (layout::card("", "Customers", &html! { "Retail, one document per customer" }, &invoice_table(&invoices, FirstColumn::Customer)))
        }
    };
    Ok(layout::page(&visitor, Place::Invoices, "Invoices", &body))
}

fn totals(invoices: &[InvoiceRow], period: Period) -> Markup {
    let Some(first) = invoices.first() else { return html! {} };
    let currency = first.currency;
    let net: i64 = invoices.iter().map(|invoice| invoice.net_minor).sum();
    let total: i64 = invoices.iter().map(|invoice| invoice.total_minor).sum();
    let paid: i64 = invoices.iter().map(|invoice| invoice.paid_minor).sum();
    html! {
        div.tiles {
            (layout::tile("Net", &link::rows("charges", period), &html! { (format::amount(net, currency)) span.unit { (currency) } }, &html! { (format::counted(invoices.len() as i64, "document", "documents")) }))
            (layout::tile("With tax", &link::rows("invoices", period), &html! { (format::amount(total, currency)) span.unit { (currency) } }, &html! { "net and tax" }))
            (layout::tile("Paid", &link::rows("invoices", period), &html! { (format::amount(paid, currency)) span.unit { (currency) } }, &html! { (format::percent(paid, total)) " of the total" }))
            (layout::tile("Open", &link::rows("invoices", period), &html! { (format::amount(total - paid, currency)) span.unit { (currency) } }, &html! { "not paid yet" }))
        }
    }
}

/// What names a row of invoices: the customer in a month's list, the month in a customer's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstColumn {
    Customer,
    Month,
}

/// The invoices of a month, or of a customer.
pub(crate) fn invoice_table(invoices: &[InvoiceRow], first: FirstColumn) -> Markup {
    if invoices.is_empty() {
        return layout::empty("No invoices", "Drafts are made when the month's cut-off, 72 hours after its end, has passed.");
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label="Invoices" {
            table {
                thead {
                    tr {
                        th scope="col" { @match first { FirstColumn::Customer => "Customer", FirstColumn::Month => "Month" } } th scope="col" { "Number" } th scope="col" { "State" }
                        th.n scope="col" { "Net" } th.n scope="col" { "Tax" } th.n scope="col" { "Total" } th.n scope="col" { "Paid" } th scope="col" { "Due" }
                    }
                }
                tbody {
                    @for invoice in invoices {
                        @let rows = format!("/explore?{}", link::query(&[("view", "charges"), ("period", &invoice.period.to_string()), ("customer", &invoice.customer_code)]));
                        tr {
                            th scope="row" {
                                a href=(link::customer(&invoice.customer_code, invoice.period)) {
                                    @match first { FirstColumn::Customer => (invoice.customer_name), FirstColumn::Month => (format::month(invoice.period)) }
                                }
                            }
                            td.whole { (invoice.number.as_deref().unwrap_or("–")) }
                            td { (state_chip(invoice)) }
                            td.n { a.num-link href=(rows) { (format::money(invoice.net_minor, invoice.currency)) } }
                            td.n { (format::money(invoice.tax_minor, invoice.currency)) }
                            td.n { (format::money(invoice.total_minor, invoice.currency)) }
                            td.n { (format::money(invoice.paid_minor, invoice.currency)) }
                            td.whole { (invoice.due_on.map_or_else(|| "–".to_owned(), |due| due.to_string())) }
                        }
                    }
                }
            }
        }
    }
}

/// The word for where an invoice stands.
pub(crate) fn state_chip(invoice: &InvoiceRow) -> Markup {
    match (invoice.state.as_str(), invoice.paid_minor >= invoice.total_minor) {
        ("finalised", true) => layout::chip("good", "paid"),
        ("finalised", false) => layout::chip("warn", "open"),
        (state, _) => layout::chip("", state),
    }
}

fn statement_sum(rows: &[StatementRow], period: Period) -> Markup {
    let Some(first) = rows.first() else {
        return layout::empty("No statement yet", "It is made together with the drafts of the month.");
    };
    let total: i64 = rows.iter().map(|row| row.amount_minor).sum();
    html! {
        dl.sum.columns {
            @for row in rows {
                div { dt { (row.item.replace('_', " ")) " " small { (format::counted(row.lines, "line", "lines")) } } dd { (format::money(row.amount_minor, row.currency)) } }
            }
            div.total { dt { "Total" } dd { a.num-link href=(link::rows("statement", period)) { (format::money(total, first.currency)) } } }
        }
    }
}
