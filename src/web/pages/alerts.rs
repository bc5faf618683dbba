//! `/alerts`: what needs somebody, by urgency, and the steps that they take; beside it limits that no longer fit.

use axum::Extension;
use axum::extract::{Form, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::Permission;
use granary_metering::{
    AlertFilter, AlertPlace, AlertStep, Direction, ListedAlert, MeteringError, Recommendation, Resource, act_on_alert, list_alerts,
    list_recommendations,
};
use granary_tenants::Granted;
use granary_types::{AlertId, AlertKind, AlertSeverity, AlertState, Classify, ErrorKind, Period};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::alerts::{chosen, states};
use crate::http::{Problem, Visitor};
use crate::layout::{self, Place};
use crate::{AppState, format, link};

/// Alerts on one page.
const PAGE: u16 = 100;
/// Recommendations on the page; the API has them all.
const RECOMMENDED: usize = 20;
/// For how many hours an alert can be put to rest here.
const RESTS: [(i64, &str); 5] = [(1, "1 hour"), (4, "4 hours"), (24, "1 day"), (72, "3 days"), (168, "1 week")];

/// Which alerts the page is asked for; what a form leaves empty asks for nothing.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct AlertsQuery {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    customers: String,
    #[serde(default)]
    cursor: String,
}

/// What the page's forms send: one field says what is wanted, the others what that needs, and which alerts to show then.
#[derive(Debug, Deserialize)]
pub(crate) struct AlertsIn {
    csrf: String,
    action: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    hours: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    customers: String,
}

/// The page.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<AlertsQuery>,
) -> Result<Html<String>, Problem> {
    page(&app, &visitor, &query, None).await
}

/// Does what a form wants, and shows the page again.
pub(crate) async fn act(
    State(app): State<AppState>,
    Extension(mut visitor): Extension<Visitor>,
    Form(input): Form<AlertsIn>,
) -> Result<Response, Problem> {
    visitor.check_csrf(&input.csrf)?;
    let query = AlertsQuery {
        severity: input.severity.clone(),
        state: input.state.clone(),
        customers: input.customers.clone(),
        cursor: String::new(),
    };
    match wanted(&app, &visitor, &input).await {
        Ok(words) => {
            visitor.count_alerts(&app).await?;
            Ok(page(&app, &visitor, &query, Some(Ok(&words))).await?.into_response())
        }
        Err(error) if matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Conflict) => {
            let page = page(&app, &visitor, &query, Some(Err(&error.to_string()))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
        Err(error) => Err(error.into()),
    }
}

async fn wanted(app: &AppState, visitor: &Visitor, input: &AlertsIn) -> Result<String, MeteringError> {
    let refuse = MeteringError::InvalidAlert;
    let msp = visitor.msp.clone().ok_or(refuse("this belongs to an MSP"))?;
    let granted = visitor.principal.read_grant().map_err(|_| refuse("this belongs to an MSP"))?.customers;
    let id: AlertId = input.id.parse().map_err(|_| refuse("there is no such alert"))?;
    let tx = app.tenants.begin_msp(&granary_tenants::MspScope::for_principal(msp, visitor.principal.actor())).await?;
    let step = match input.action.as_str() {
        "acknowledge" => AlertStep::Acknowledge,
        "snooze" => {
            let hours = RESTS.iter().map(|(hours, _)| *hours).find(|hours| hours.to_string() == input.hours);
            let hours = hours.ok_or(refuse("choose how long it rests"))?;
            AlertStep::Snooze(tx.now().checked_add(SignedDuration::from_hours(hours)).unwrap_or(jiff::Timestamp::MAX))
        }
        "escalate" => AlertStep::Escalate,
        "resolve" => AlertStep::Resolve,
        _ => return Err(refuse("this form is not known here")),
    };
    let listed = act_on_alert(&tx, &granted, id, step, &input.reason).await?;
    tx.commit().await?;
    let done = match step {
        AlertStep::Acknowledge => "taken",
        AlertStep::Snooze(_) => "at rest",
        AlertStep::Escalate => "handed on",
        AlertStep::Resolve => "resolved",
    };
    Ok(format!("The alert on {} of {} is {done}.", listed.alert.name, listed.customer_name))
}

async fn page(
    app: &AppState,
    visitor: &Visitor,
    query: &AlertsQuery,
    outcome: Option<Result<&str, &str>>,
) -> Result<Html<String>, Problem> {
    let zone = visitor.msp()?.time_zone.clone();
    let severity = Some(query.severity.as_str()).filter(|word| !word.is_empty()).map(str::parse::<AlertSeverity>).transpose();
    let severity = severity.map_err(|error| Problem::invalid(error.to_string()))?;
    let after = Some(query.cursor.as_str()).filter(|cursor| !cursor.is_empty()).map(str::parse::<AlertPlace>).transpose()?;
    let filter = AlertFilter { severity, states: states(Some(&query.state))?, id: None, after };
    let granted = chosen(app, visitor, Some(&query.customers)).await?;
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    let mut alerts = list_alerts(&tx, &granted, &filter, PAGE + 1).await?;
    let period = Period::containing(tx.now(), &zone).previous();
    let recommended = list_recommendations(&tx, &granted, period).await?;
    tx.commit().await?;
    let has_more = alerts.len() > usize::from(PAGE);
    alerts.truncate(usize::from(PAGE));
    let next = alerts.last().filter(|_| has_more).map(|last| AlertPlace::of(&last.alert).to_string());
    let frame = Frame { visitor, query, zone: &zone };
    let note =
        html! { "of the customers that you look after; found in what their control planes send, and resolved when the cause is gone" };
    let body = html! {
        (layout::head(&[], "Alerts", &note, &choice(query)))
        (layout::said(outcome))
        div.stack {
            @if alerts.is_empty() { section.card { (nothing(query)) } }
            @for severity in AlertSeverity::ALL.iter().rev() {
                @let of_this: Vec<_> = alerts.iter().filter(|listed| listed.alert.severity == *severity).collect();
                @if !of_this.is_empty() { (frame.group(*severity, &of_this)) }
            }
            @if let Some(next) = &next {
                @let href = link::query(&[("severity", &query.severity), ("state", &query.state), ("customers", &query.customers), ("cursor", next)]);
                p { a href={ "/alerts?" (href) } { "More alerts" } }
            }
            (layout::card("", "Limits that no longer fit", &html! { "by the whole of " (format::month(period)) }, &recommendations(&recommended)))
        }
    };
    Ok(layout::page(visitor, Place::Alerts, "Alerts", &body))
}

fn nothing(query: &AlertsQuery) -> Markup {
    if query.severity.is_empty() && query.state.is_empty() && query.customers.is_empty() {
        layout::empty(
            "Nothing needs you",
            "Failed and missing backups, full repositories, limits, lag and silence are listed here within minutes.",
        )
    } else {
        layout::empty("No alert fits this choice", "Choose other severities or states above.")
    }
}

fn choice(query: &AlertsQuery) -> Markup {
    let state_words = |state: &AlertState| (state.as_str(), capital(state.as_str()));
    html! {
        form.inline-form method="get" action="/alerts" data-auto {
            @if !query.customers.is_empty() { input type="hidden" name="customers" value=(query.customers); }
            label.unseen for="severity" { "Severity" }
            select id="severity" name="severity" {
                option value="" { "Every severity" }
                @for severity in AlertSeverity::ALL.iter().rev() {
                    option value=(severity) selected[query.severity == severity.as_str()] { (capital(severity.as_str())) }
                }
            }
            label.unseen for="state" { "State" }
            select id="state" name="state" {
                option value="" { "Not resolved" }
                @for (word, words) in AlertState::ALL.iter().map(state_words) { option value=(word) selected[query.state == word] { (words) } }
                option value="all" selected[query.state == "all"] { "All" }
            }
            button type="submit" { "Show" }
        }
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect()
}

const fn tone(severity: AlertSeverity) -> &'static str {
    match severity {
        AlertSeverity::Critical => "bad",
        AlertSeverity::Warning => "warn",
        AlertSeverity::Info => "plain",
    }
}

const fn kind_words(kind: AlertKind) -> &'static str {
    match kind {
        AlertKind::LimitMachines => "Limit of machines",
        AlertKind::LimitStorage => "Limit of storage",
        AlertKind::LimitJobs => "Limit of running jobs",
        AlertKind::LimitApi => "Limit of API requests",
        AlertKind::BackupFailed => "Backup failed",
        AlertKind::RpoMissed => "No recent restore point",
        AlertKind::RepositoryFull => "Repository nearly full",
        AlertKind::ReplicationLag => "Replication behind",
        AlertKind::ControlPlaneSilent => "Control plane silent",
    }
}

/// What every form of the page has.
struct Frame<'a> {
    visitor: &'a Visitor,
    query: &'a AlertsQuery,
    zone: &'a TimeZone,
}

impl Frame<'_> {
    fn group(&self, severity: AlertSeverity, alerts: &[&ListedAlert]) -> Markup {
        let count = format::counted(i64::try_from(alerts.len()).unwrap_or(i64::MAX), "alert", "alerts");
        let list = html! { ul.plain.rows { @for listed in alerts { (self.line(listed)) } } };
        layout::card("", &capital(severity.as_str()), &html! { (count) }, &list)
    }

    fn line(&self, listed: &ListedAlert) -> Markup {
        let alert = &listed.alert;
        let may_act = self.visitor.may(Permission::CustomerWrite) && alert.state != AlertState::Resolved;
        html! {
            li {
                div {
                    (summary(listed, self.zone, Some(&format!("/customers/{}", listed.customer_code))))
                }
                @if may_act { (self.steps(listed)) }
            }
        }
    }

    fn form(&self, action: &str, id: AlertId, fields: &Markup) -> Markup {
        html! {
            form.form method="post" action="/alerts" {
                input type="hidden" name="csrf" value=(self.visitor.csrf_token());
                input type="hidden" name="action" value=(action);
                input type="hidden" name="id" value=(id);
                @for (name, value) in [("severity", &self.query.severity), ("state", &self.query.state), ("customers", &self.query.customers)] {
                    @if !value.is_empty() { input type="hidden" name=(name) value=(value); }
                }
                (fields)
            }
        }
    }

    fn steps(&self, listed: &ListedAlert) -> Markup {
        let alert = &listed.alert;
        let id = |field: &str| format!("{field}-{}", alert.id);
        let why = |field: &str| {
            let id = id(field);
            html! { div.field { label for=(id) { "Why" } input id=(id) name="reason" required maxlength="500" autocomplete="off"; } }
        };
        let rest = html! {
            div.field {
                label for=(id("hours")) { "Rest for" }
                select id=(id("hours")) name="hours" { @for (hours, words) in RESTS { option value=(hours) { (words) } } }
            }
            (why("snooze"))
            button type="submit" { "Snooze" }
        };
        let with_reason = |field: &str, words: &str| html! { (why(field)) button type="submit" { (words) } };
        html! {
            details.change {
                summary aria-label={ "Act on the alert on " (alert.name) " of " (listed.customer_name) } { "Act" }
                div.stack {
                    @if AlertStep::Acknowledge.from(alert.state).is_some() {
                        (self.form("acknowledge", alert.id, &html! { button.primary type="submit" { "Acknowledge" } }))
                    }
                    (self.form("snooze", alert.id, &rest))
                    @if AlertStep::Escalate.from(alert.state).is_some() { (self.form("escalate", alert.id, &with_reason("escalate", "Escalate"))) }
                    (self.form("resolve", alert.id, &with_reason("resolve", "Resolve")))
                }
            }
        }
    }
}

/// What an alert says; the customer is named where a page leads there.
fn summary(listed: &ListedAlert, zone: &TimeZone, customer: Option<&str>) -> Markup {
    let alert = &listed.alert;
    let instant = |at| format::instant(at, zone);
    html! {
        strong { (kind_words(alert.kind)) } " " (layout::chip(tone(alert.severity), alert.severity.as_str()))
        @if alert.state != AlertState::Open { " " (layout::chip("plain", alert.state.as_str())) }
        p {
            @if let Some(href) = customer { a href=(href) { (listed.customer_name) } " · " }
            (alert.name) ": " (alert.words)
        }
        p.hint {
            "since " (instant(alert.raised_at))
            @if alert.state != AlertState::Open { " · " (alert.state) " " (instant(alert.changed_at)) }
            @if let Some(until) = alert.snoozed_until { " until " (instant(until)) }
            @if let Some(reason) = &alert.reason { " · " (reason) }
        }
    }
}

/// The alerts of one customer that are not resolved, for its page; nothing where there are none.
pub(crate) async fn of_customer(
    app: &AppState,
    visitor: &Visitor,
    customer: &granary_tenants::Customer,
) -> Result<Option<Markup>, Problem> {
    let zone = visitor.msp()?.time_zone.clone();
    let granted = Granted::Only([customer.id].into());
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    let alerts = list_alerts(&tx, &granted, &AlertFilter::default(), 20).await?;
    tx.commit().await?;
    if alerts.is_empty() {
        return Ok(None);
    }
    let all = html! { a href={ "/alerts?customers=" (customer.code) } { "act on them" } };
    let list = html! { ul.plain.rows { @for listed in &alerts { li { div { (summary(listed, &zone, None)) } } } } };
    Ok(Some(layout::card("", "Alerts", &all, &list)))
}

fn recommendations(all: &[Recommendation]) -> Markup {
    if all.is_empty() {
        return layout::empty(
            "Every limit fits",
            "Above 80 % of the machines or 85 % of the storage, or below 30 %, another limit is recommended.",
        );
    }
    let unit = |resource| match resource {
        Resource::Machines => "machines",
        Resource::Storage => "GiB",
    };
    html! {
        ul.plain.rows {
            @for one in all.iter().take(RECOMMENDED) {
                li {
                    div {
                        a href={ "/customers/" (one.customer_code) } { (one.customer_name) } " "
                        @match one.direction {
                            Direction::Up => (layout::chip("warn", "too small")),
                            Direction::Down => (layout::chip("plain", "larger than needed")),
                        }
                        p { (one.reason) "." }
                        (layout::bar(if one.direction == Direction::Up { "warn" } else { "" }, one.used_percent.saturating_mul(10)))
                    }
                    span.n { (format::count(one.limit)) " → " strong { (format::count(one.recommended_limit)) } " " (unit(one.resource)) }
                }
            }
        }
        @if all.len() > RECOMMENDED { p.soft { (all.len() - RECOMMENDED) " more: " code { "GET /api/v1/msp/recommendations" } } }
    }
}
