//! `GET /customers/{code}`: one customer, as its own people and its MSP see it. What only the MSP may see is asked apart.

use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Html;
use granary_access::Permission;
use granary_reports::MonthlyReport;
use granary_tenants::Customer;
use granary_types::{Classify, CustomerCode, ErrorKind, Period};
use maud::{Markup, html};
use serde::Deserialize;

use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::pages::customers::status_chip;
use crate::pages::invoices::{FirstColumn, InvoiceRow, invoice_table};
use crate::pages::overview::PeriodQuery;
use crate::pages::{alerts, customer_parts as parts, standing};
use crate::queries::{Holes, customer_queries as sql, rows};
use crate::{AppState, format, link};

#[derive(Debug, Deserialize)]
struct StatusRow {
    status: granary_types::CustomerStatus,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct RunRateRow {
    amount_minor: i64,
}

#[derive(Debug, Clone, Copy, Deserialize)]
struct MonthRow {
    period: Period,
    is_closed: bool,
    has_data: bool,
}

/// Returns the customer's months, the latest first, and the one to show: the one asked for, else its last closed one in which
/// something happened, else its latest one so far. A trial has no closed month, and nothing before its first day.
fn chosen_month(months: Vec<MonthRow>, asked: Option<Period>, open: Period) -> (Vec<Period>, Period) {
    let told = || months.iter().filter(|month| month.has_data);
    let latest = told().find(|month| month.is_closed).or_else(|| told().next()).map_or(open, |month| month.period);
    let chosen = asked.unwrap_or(latest);
    let first = told().next_back().map_or(chosen, |month| month.period);
    let mut periods: Vec<_> = months.iter().map(|month| month.period).filter(|period| *period >= first).collect();
    if !periods.contains(&chosen) {
        periods.push(chosen);
        periods.sort_unstable_by(|one, other| other.cmp(one));
    }
    (periods, chosen)
}

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Query(query): Query<PeriodQuery>,
) -> Result<Html<String>, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    let customer = &scope.customer;
    let session = app.warehouse.session(&visitor.principal.read_grant()?).await?;
    let open = Period::containing(app.clock.now(), &visitor.msp()?.time_zone);
    let months = rows::<MonthRow>(&session, &Holes::of_customer(open, &customer.code).fill(sql::PERIODS)).await?;
    let (periods, period) = chosen_month(months, query.period, open);
    let holes = Holes::of_customer(period, &customer.code);
    let alerts = if visitor.may(Permission::PortfolioRead) { alerts::of_customer(&app, &visitor, customer).await? } else { None };
    let [invoices_sql, status_sql, rate_sql] = [sql::INVOICES, sql::STATUS, sql::RUN_RATE].map(|sql| holes.fill(sql));
    let (report, invoices, status, run_rate, standing) = futures::try_join!(
        async { report_of(&app, customer, period).await },
        async { if visitor.may(Permission::InvoiceRead) { rows::<InvoiceRow>(&session, &invoices_sql).await } else { Ok(Vec::new()) } },
        rows::<StatusRow>(&session, &status_sql),
        async { if visitor.may(Permission::PortfolioRead) { rows::<RunRateRow>(&session, &rate_sql).await } else { Ok(Vec::new()) } },
        async {
            if visitor.may(Permission::IntelligenceRead) { standing::Standing::load(&session, &holes).await.map(Some) } else { Ok(None) }
        },
    )?;
    let status = status.first().map_or(customer.status, |row| row.status);
    let crumbs: &[_] = if visitor.may(Permission::PortfolioRead) { &[("/customers", "Customers")] } else { &[] };
    let note = html! {
        (customer.code) " · " (status_chip(status)) " · service days in " (customer.time_zone.iana_name().unwrap_or("UTC"))
    };
    let actions = html! {
        (layout::period_choice(&periods, period, &[]))
        @if report.is_some() && visitor.may(Permission::ReportRead) { a.button href=(link::report(&customer.code, period)) { "Report (PDF)" } }
        a.button href={ "/customers/" (customer.code) "/limits" } { "Limits" }
        @if visitor.may(Permission::UserWrite) { a.button href={ "/customers/" (customer.code) "/people" } { "People" } }
        @if visitor.may(Permission::KeyWrite) { a.button href={ "/customers/" (customer.code) "/api-keys" } { "API keys" } }
    };
    let body = html! {
        (layout::head(crumbs, &customer.name, &note, &actions))
        @if let Some(alerts) = &alerts { div.grid { (alerts) } }
        @if let Some(report) = &report {
            (tiles(report, &customer.code, period, visitor.may(Permission::InvoiceRead), run_rate.first()))
            (grid(report, &customer.code, period))
        } @else {
            div.grid { (layout::empty("Not a customer in this month", "Nothing was protected or billed yet; choose a later month.")) }
        }
        @if let Some(standing) = &standing { (standing.cards()) }
        div.grid {
            @if visitor.may(Permission::InvoiceRead) {
                (layout::card("", "Invoices", &html! { "the latest twelve" }, &invoice_table(&invoices, FirstColumn::Month)))
            }
            @if let Some(report) = &report {
                (layout::card("", "Machines", &html! { a href=(link::customer_rows("machines", period, customer.code.as_str())) { "Open as rows" } }, &parts::machines(report)))
            }
        }
    };
    Ok(layout::page(&visitor, Place::Customers, &customer.name, &body))
}

/// The month as the customer is told about it; none before its first contract.
async fn report_of(app: &AppState, customer: &Customer, period: Period) -> Result<Option<MonthlyReport>, Problem> {
    match granary_reports::monthly::compose(&app.warehouse, &app.tenants, customer, period).await {
        Ok(report) => Ok(Some(report)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn tiles(report: &MonthlyReport, code: &CustomerCode, period: Period, sees_invoices: bool, run_rate: Option<&RunRateRow>) -> Markup {
    let Some(now) = report.usage.months.last() else { return html! {} };
    let rows = |view| link::customer_rows(view, period, code.as_str());
    let safe = report.protection.machines_safe();
    html! {
        div.tiles {
            (layout::tile(
                "Machines protected",
                &rows("machines"),
                &html! { (format::count(now.machines())) },
                &html! { (now.machines_backup) " backup · " (now.machines_enterprise) " enterprise · " (now.machines_replication) " replication" },
            ))
            (layout::tile(
                "With a good restore point",
                &rows("machines"),
                &html! { (safe) span.unit { "of " (report.protection.machines_protected) } },
                &html! { "younger than " (report.protection.rpo_hours) " hours" },
            ))
            (layout::tile(
                "Backup SLA",
                &rows("service_levels"),
                &html! { (report.service_levels.backup.percent().map_or_else(|| "–".to_owned(), format::percent_of_basis)) },
                &parts::target(&report.service_levels.backup),
            ))
            @if sees_invoices {
                (charges_tile(report, code, run_rate))
            }
        }
    }
}

/// What the month is charged; of an open one, what it would bill if it ended now.
fn charges_tile(report: &MonthlyReport, code: &CustomerCode, run_rate: Option<&RunRateRow>) -> Markup {
    let (charges, currency) = (&report.charges, report.currency);
    let rows = |view| link::customer_rows(view, report.period, code.as_str());
    let amount = |minor: i64| html! { (format::amount(minor, currency)) span.unit { (currency) } };
    match (charges.is_draft, run_rate) {
        (None, Some(rate)) => layout::tile("Run rate", &rows("run_rate"), &amount(rate.amount_minor), &html! { "so far, not billed yet" }),
        (None, None) => layout::tile("Charges, net", &rows("charges"), &html! { "–" }, &html! { "not billed" }),
        (Some(_), _) => layout::tile(
            "Charges, net",
            &rows("charges"),
            &amount(charges.net.amount_minor),
            &html! {
                @if let Some(before) = charges.previous_net {
                    (layout::delta(format::growth(charges.net.amount_minor, before.amount_minor), "to the month before"))
                } @else { "the first month" }
            },
        ),
    }
}

fn grid(report: &MonthlyReport, code: &CustomerCode, period: Period) -> Markup {
    let storage_rows = link::customer_rows("storage", period, code.as_str());
    html! {
        div.grid {
            (layout::card("", "Protection, day by day", &html! { "share of machines with a restore point young enough" }, &parts::service_strip(report)))
            (layout::card("w-4", "Machines by month", &html! { "at the highest tier in force" }, &parts::machine_trend(report)))
            (layout::card("w-4", "Storage", &html! { a href=(storage_rows) { "Open as rows" } }, &parts::storage(report)))
            (layout::card("w-4", "Service", &html! { (format::month(period)) }, &parts::service(report)))
            @if !report.protection.at_risk.is_empty() {
                (layout::card("", "Machines without a good restore point", &html! { "and why" }, &parts::at_risk(report)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_customers_page_opens_on_a_month_of_its_own() {
        let month = |text: &str| -> Period { text.parse().unwrap() };
        let row = |text, is_closed, has_data| MonthRow { period: month(text), is_closed, has_data };
        let open = month("2025-12");
        let old = vec![row("2025-11", false, true), row("2025-10", true, true), row("2025-09", true, true)];
        assert_eq!(chosen_month(old.clone(), None, open).1, month("2025-10"));
        assert_eq!(chosen_month(old, Some(month("2025-09")), open).1, month("2025-09"));
        let trial = vec![row("2025-11", false, true), row("2025-10", true, false)];
        assert_eq!(
            chosen_month(trial, None, open),
            (vec![month("2025-11")], month("2025-11")),
            "not the closed month before its first day"
        );
        assert_eq!(chosen_month(Vec::new(), None, open), (vec![open], open));
    }
}
