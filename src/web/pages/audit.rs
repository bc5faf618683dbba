//! `GET /audit`: who did what, filtered by the address.

use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Html;
use granary_tenants::{AuditFilter, AuditLine};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::audit::read;
use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, format};

/// Lines of a page.
const SHOWN: u16 = 100;

/// What the filters send; a field that was left empty is none.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct AuditQuery {
    #[serde(default)]
    customer: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    actor: String,
    /// First and last day, in the MSP's zone.
    #[serde(default)]
    from: String,
    #[serde(default)]
    to: String,
    #[serde(default)]
    cursor: String,
}

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<AuditQuery>,
) -> Result<Html<String>, Problem> {
    let zone = visitor.msp()?.time_zone.clone();
    let filter = filter(&query, &zone)?;
    let (lines, next) = read(&app, &visitor, given(&query.customer), &filter, SHOWN).await?;
    let is_customer = visitor.principal.only_customer().is_some();
    let note = if is_customer { "what was done to your data, and by whom" } else { "what your people, your keys and the house did" };
    let body = html! {
        (layout::head(&[], "Audit log", &html! { (note) }, &html! {}))
        section.card {
            (filters(&query, is_customer, lines.len()))
            @if lines.is_empty() {
                (layout::empty("Nothing fits", "Try another action, or more days."))
            } @else {
                (table(&lines, is_customer, &zone))
            }
            @if let Some(next) = next { p { a.button href=(link(&query, &next)) rel="next" { "Older entries" } } }
        }
    };
    Ok(layout::page(&visitor, Place::Audit, "Audit log", &body))
}

fn given(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

fn filter(query: &AuditQuery, zone: &TimeZone) -> Result<AuditFilter, Problem> {
    let start_of = |day: &str, days: i64| -> Result<Option<Timestamp>, Problem> {
        let Some(day) = given(day) else { return Ok(None) };
        let day: Date = day.parse().map_err(|_| Problem::invalid("a day is written 2025-10-31"))?;
        let start = day.checked_add(jiff::Span::new().days(days)).and_then(|day| day.to_zoned(zone.clone()));
        start.map(|start| Some(start.timestamp())).map_err(|_| Problem::invalid("this day is out of reach"))
    };
    let after = given(&query.cursor).map(str::parse).transpose().map_err(|_| Problem::invalid("the cursor is none that this page gave"))?;
    Ok(AuditFilter {
        action: given(&query.action).map(str::to_owned),
        actor: given(&query.actor).map(str::to_owned),
        since: start_of(&query.from, 0)?,
        until: start_of(&query.to, 1)?,
        after,
    })
}

fn link(query: &AuditQuery, cursor: &str) -> String {
    let fields = [
        ("customer", query.customer.as_str()),
        ("action", &query.action),
        ("actor", &query.actor),
        ("from", &query.from),
        ("to", &query.to),
        ("cursor", cursor),
    ];
    format!("/audit?{}", crate::link::query(&fields))
}

fn filters(query: &AuditQuery, is_customer: bool, shown: usize) -> Markup {
    html! {
        form.inline-form method="get" role="search" {
            @if !is_customer {
                label.unseen for="customer" { "Code of a customer" }
                input id="customer" name="customer" type="search" placeholder="Customer, by code" value=(query.customer);
            }
            label.unseen for="action" { "Action" }
            input id="action" name="action" type="search" placeholder="Action, like customer." value=(query.action);
            label.unseen for="actor" { "Who" }
            input id="actor" name="actor" type="search" placeholder="Who, like user:…" value=(query.actor);
            label for="from" { "From" }
            input id="from" name="from" type="date" value=(query.from);
            label for="to" { "to" }
            input id="to" name="to" type="date" value=(query.to);
            button type="submit" { "Filter" }
            small { (format::counted(shown as i64, "entry", "entries")) }
        }
    }
}

fn table(lines: &[AuditLine], is_customer: bool, zone: &TimeZone) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Entries of the audit log" {
            table {
                thead {
                    tr {
                        th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" }
                        @if !is_customer { th scope="col" { "Customer" } }
                        th scope="col" { "To what" } th scope="col" { "Why" }
                    }
                }
                tbody {
                    @for line in lines {
                        tr {
                            th scope="row" { (format::instant(line.happened_at, zone)) }
                            td { @if let Some(who) = &line.who { (who) br; } small { (line.actor) } }
                            td { (line.action) (details(line)) }
                            @if !is_customer { td { (line.customer.as_deref().unwrap_or("–")) } }
                            td { (line.subject) }
                            td { (line.reason.as_deref().unwrap_or("–")) }
                        }
                    }
                }
            }
        }
    }
}

/// What else is known, one field a line.
fn details(line: &AuditLine) -> Markup {
    let fields = line.detail.as_object().into_iter().flatten();
    html! { @for (name, value) in fields { br; small { (name) ": " (value.as_str().map_or_else(|| value.to_string(), str::to_owned)) } } }
}
