//! `GET /customers`: the list, filtered and sorted by the address.

use std::collections::HashMap;

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Html;
use granary_access::Permission;
use granary_types::{CustomerCode, CustomerStatus, Period};
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::overview::{PeriodQuery, band_tone, chosen_period};
use crate::queries::{Holes, portfolio_queries as sql, rows};
use crate::{AppState, format, link};

#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct CustomersQuery {
    #[serde(default)]
    period: Option<Period>,
    /// Part of a name or code.
    #[serde(default)]
    q: String,
    #[serde(default)]
    status: String,
}

#[derive(Debug, Clone, Deserialize)]
struct CustomerRow {
    customer_code: CustomerCode,
    customer_name: String,
    status: CustomerStatus,
    machines: i64,
    machines_backup: i64,
    machines_enterprise: i64,
    machines_replication: i64,
    mrr_minor: i64,
    stored_bytes_average: i64,
    machine_days_met: i64,
    machine_days_scheduled: i64,
}

#[derive(Debug, Clone, Deserialize)]
struct ScoreRow {
    customer_code: CustomerCode,
    score: Option<i64>,
    band: String,
    risk_percent: Option<i64>,
    risk: Option<String>,
}

/// The page.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<CustomersQuery>,
) -> Result<Html<String>, Problem> {
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    let Some((periods, period)) = chosen_period(&session, &PeriodQuery { period: query.period }).await? else {
        return Ok(layout::page(&visitor, Place::Customers, "Customers", &known_only(&app, &visitor).await?));
    };
    let holes = Holes::of_period(period);
    let sees_scores = visitor.may(Permission::IntelligenceRead);
    let (rows_sql, scores_sql) = (holes.fill(sql::CUSTOMERS), holes.fill(sql::CUSTOMER_SCORES));
    let (rows, scores) = futures::try_join!(rows::<CustomerRow>(&session, &rows_sql), async {
        if sees_scores { rows::<ScoreRow>(&session, &scores_sql).await } else { Ok(Vec::new()) }
    })?;
    let scores: HashMap<_, _> = scores.into_iter().map(|row| (row.customer_code.clone(), row)).collect();
    let shown: Vec<_> = rows.iter().filter(|row| fits(row, &query)).collect();
    let kept = [("q", query.q.as_str()), ("status", query.status.as_str())];
    let body = html! {
        (layout::head(&[], "Customers", &html! { (format::month(period)) }, &layout::period_choice(&periods, period, &kept)))
        section.card {
            (filters(&query, period, shown.len(), rows.len()))
            @if shown.is_empty() {
                (layout::empty("No customer fits", "Try fewer words, or another status."))
            } @else {
                (table(&shown, &scores, sees_scores, &visitor, period))
            }
        }
    };
    Ok(layout::page(&visitor, Place::Customers, "Customers", &body))
}

/// The customers before the first billed month: who they are is known, what they cost is not.
async fn known_only(app: &AppState, visitor: &Visitor) -> Result<Markup, Problem> {
    let granted = visitor.principal.read_grant()?.customers;
    let mut customers = app.tenants.list_customers(visitor.msp()?.id).await?;
    customers.retain(|customer| granted.includes(customer.id));
    let head = layout::head(&[], "Customers", &html! { "no month was billed yet" }, &html! {});
    if customers.is_empty() {
        let next = "Add the first one with granary customer add; its control plane then delivers events with an API key.";
        return Ok(html! { (head) (layout::empty("No customers yet", next)) });
    }
    let table = html! {
        div.scroll tabindex="0" role="region" aria-label="Customers" {
            table {
                thead { tr { th scope="col" { "Customer" } th scope="col" { "Code" } th scope="col" { "Status" } } }
                tbody {
                    @for customer in &customers {
                        tr {
                            th scope="row" { a href={ "/customers/" (customer.code) } { (customer.name) } }
                            td { (customer.code) }
                            td { (status_chip(customer.status)) }
                        }
                    }
                }
            }
        }
    };
    let note = html! { "machines, service levels and charges stand here once the first month is billed" };
    Ok(html! { (head) (layout::card("", "Known so far", &note, &table)) })
}

fn fits(row: &CustomerRow, query: &CustomersQuery) -> bool {
    let words = query.q.trim().to_lowercase();
    let has_words = row.customer_name.to_lowercase().contains(&words) || row.customer_code.as_str().to_lowercase().contains(&words);
    has_words && (query.status.is_empty() || row.status.as_str() == query.status)
}

fn filters(query: &CustomersQuery, period: Period, shown: usize, all: usize) -> Markup {
    html! {
        form.inline-form method="get" role="search" data-auto {
            input type="hidden" name="period" value=(period);
            label.unseen for="q" { "Name or code" }
            input id="q" name="q" type="search" placeholder="Name or code" value=(query.q);
            label.unseen for="status" { "Status" }
            select id="status" name="status" {
                option value="" { "Every status" }
                @for status in CustomerStatus::ALL { option value=(status) selected[status.as_str() == query.status] { (status) } }
            }
            button type="submit" { "Filter" }
            small { (shown) " of " (format::counted(all as i64, "customer", "customers")) }
        }
    }
}

fn table(rows: &[&CustomerRow], scores: &HashMap<CustomerCode, ScoreRow>, sees_scores: bool, visitor: &Visitor, period: Period) -> Markup {
    let currency = visitor.msp.as_ref().map_or(granary_types::Currency::USD, |msp| msp.currency);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Customers" {
            table {
                thead {
                    tr {
                        th scope="col" { "Customer" } th scope="col" { "Status" } th.n scope="col" { "Machines" } th.n scope="col" { "Stored" }
                        th.n scope="col" { "Backup SLA" }
                        @if sees_scores { th scope="col" { "Health" } th.n scope="col" { "Churn risk" } }
                        th.n scope="col" { "MRR" }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            th scope="row" { a href=(link::customer(row.customer_code.as_str(), period)) { (row.customer_name) } br; small { (row.customer_code) } }
                            td { (status_chip(row.status)) }
                            td.n {
                                (format::count(row.machines)) br;
                                small { (row.machines_backup) " · " (row.machines_enterprise) " · " (row.machines_replication) }
                            }
                            td.n { (format::bytes(row.stored_bytes_average)) }
                            td.n { (format::level(row.machine_days_met, row.machine_days_scheduled)) }
                            @if sees_scores { (score_cells(scores.get(&row.customer_code))) }
                            td.n { (format::money(row.mrr_minor, currency)) }
                        }
                    }
                }
                tfoot {
                    tr {
                        th scope="row" { "Sum" } td {}
                        td.n { (format::count(rows.iter().map(|row| row.machines).sum())) }
                        td.n { (format::bytes(rows.iter().map(|row| row.stored_bytes_average).sum())) }
                        td.n { (format::level(rows.iter().map(|row| row.machine_days_met).sum(), rows.iter().map(|row| row.machine_days_scheduled).sum())) }
                        @if sees_scores { td {} td {} }
                        td.n { (format::money(rows.iter().map(|row| row.mrr_minor).sum(), currency)) }
                    }
                }
            }
        }
    }
}

fn score_cells(score: Option<&ScoreRow>) -> Markup {
    html! {
        @if let Some(score) = score {
            td { (layout::chip(band_tone(&score.band), &match score.score { Some(points) => format!("{points} {}", score.band.replace('_', " ")), None => "unknown".to_owned() })) }
            td.n { @if let (Some(percent), Some(risk)) = (score.risk_percent, &score.risk) { (layout::chip(risk_tone(risk), &format::percent_of_basis(percent))) } @else { "–" } }
        } @else {
            td { "–" } td.n { "–" }
        }
    }
}

fn risk_tone(risk: &str) -> &'static str {
    match risk {
        "high" => "bad",
        "medium" => "warn",
        _ => "good",
    }
}

/// The word for where a customer stands.
pub(crate) fn status_chip(status: CustomerStatus) -> Markup {
    let tone = match status {
        CustomerStatus::Active => "good",
        CustomerStatus::Trial => "",
        CustomerStatus::Suspended => "warn",
        CustomerStatus::Closed | CustomerStatus::Erased => "bad",
    };
    layout::chip(tone, status.as_str())
}
