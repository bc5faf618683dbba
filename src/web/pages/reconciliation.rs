//! `GET /reconciliation`: usage counted a second time, against what was rated, invoiced and paid.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Html;
use granary_access::Permission;
use granary_reconciliation::{Reconciliation, Row};
use granary_types::Currency;
use maud::{Markup, html};

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::overview::{PeriodQuery, chosen_period, nothing_yet};
use crate::{AppState, format, link};

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<PeriodQuery>,
) -> Result<Html<String>, Problem> {
    let msp = visitor.msp()?;
    let grant = visitor.principal.read_grant()?;
    let session = app.warehouse.session(&grant).await?;
    let Some((periods, period)) = chosen_period(&session, &query).await? else {
        let next = "Once a month is drafted, it is recomputed here from the runs in the lake and compared to the cent.";
        let body = nothing_yet("Reconciliation", "no month yet", next);
        return Ok(layout::page(&visitor, Place::Reconciliation, "Reconciliation", &body));
    };
    let found = granary_reconciliation::reconcile(&app.warehouse, &grant, &app.tenants, msp, period).await?;
    let note = html! { (format::month(period)) " · recomputed from runs and tier assignments in the lake, never from the bills" };
    let body = html! {
        (layout::head(&[], "Reconciliation", &note, &layout::period_choice(&periods, period, &[])))
        (verdict(&found))
        @if visitor.may(Permission::PeriodClose) { p { a.button href={ "/periods/" (period) } { "Close " (format::month(period)) } } }
        (layout::card("", "Customer by customer", &html! { "differences first" }, &table(&found)))
    };
    Ok(layout::page(&visitor, Place::Reconciliation, "Reconciliation", &body))
}

fn verdict(found: &Reconciliation) -> Markup {
    let currency = found.rows.first().map_or(Currency::USD, |row| row.currency);
    let sum = |of: fn(&Row) -> i64| found.rows.iter().map(of).sum::<i64>();
    let tile = |label: &str, minor: i64, note: &str| {
        html! {
            div.tile { span.label { (label) } span.value { (format::amount(minor, currency)) span.unit { (currency) } } span.note { (note) } }
        }
    };
    let differing = found.differing() as i64;
    html! {
        div.tiles {
            (tile("Recomputed", sum(|row| row.recomputed_minor), if found.is_billed { "from runs and assignments" } else { "so far, from runs and assignments" }))
            (tile("Rated", sum(|row| row.rated_minor), "lines of the month"))
            (tile("Invoiced, net", sum(|row| row.invoiced_minor), "documents of the month"))
            (tile("Paid", sum(|row| row.paid_minor), "with tax"))
            div.tile {
                span.label { "Difference" }
                @if found.is_billed {
                    span.value { (format::amount(sum(|row| row.difference_minor), currency)) span.unit { (currency) } }
                } @else {
                    span.value { "–" }
                }
                span.note {
                    @if !found.is_billed { (layout::chip("", "open, not yet billed")) " " }
                    @if !found.is_clean() { (layout::chip("bad", &format::counted(differing, "customer differs", "customers differ"))) }
                    @else if found.is_billed { (layout::chip("good", "agrees to the cent")) }
                }
            }
        }
    }
}

fn table(found: &Reconciliation) -> Markup {
    if found.rows.is_empty() {
        return layout::empty("Nothing to compare", "No customer has usage or a bill in this month.");
    }
    let mut rows: Vec<_> = found.rows.iter().collect();
    rows.sort_by_key(|row| (std::cmp::Reverse(row.difference_minor.abs()), row.causes.is_empty(), row.customer_code.clone()));
    html! {
        div.scroll tabindex="0" role="region" aria-label="Customers" {
            table {
                thead {
                    tr {
                        th scope="col" { "Customer" } th.n scope="col" { "Recomputed" } th.n scope="col" { "Rated" } th.n scope="col" { "Invoiced" }
                        th.n scope="col" { "Paid" } th.n scope="col" { "Difference" } th scope="col" { "Cause" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { a href=(link::customer_rows("charges", found.period, &row.customer_code)) { (row.customer_code) } }
                            td.n { @if row.has_evidence { (format::money(row.recomputed_minor, row.currency)) } @else { span.soft title="A rule of retention let go of the runs" { "let go" } } }
                            td.n { (format::money(row.rated_minor, row.currency)) }
                            td.n {
                                (format::money(row.invoiced_minor, row.currency))
                                @if row.corrected_minor != 0 { br; span.soft { (format::money(row.corrected_minor, row.currency)) " later" } }
                            }
                            td.n { (format::money(row.paid_minor, row.currency)) }
                            td.n { @if !found.is_billed { span.soft { "open" } } @else if row.difference_minor == 0 { (layout::chip("good", "0")) } @else { (layout::chip("bad", &format::money(row.difference_minor, row.currency))) } }
                            td { @if row.causes.is_empty() { span.soft { "–" } } @else { ul.reasons { @for cause in &row.causes { li { (format::with_minus(&cause.text)) } } } } }
                        }
                    }
                }
            }
        }
    }
}
