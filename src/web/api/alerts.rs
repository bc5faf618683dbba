//! `/api/v1/msp/alerts`: what needs somebody, and what they do about it; `/api/v1/msp/recommendations`: limits that no longer fit.

use std::collections::BTreeSet;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_metering::{
    Alert, AlertFilter, AlertPlace, AlertStep, ListedAlert, Recommendation, act_on_alert, list_alerts, list_recommendations,
};
use granary_tenants::Granted;
use granary_types::{AlertId, AlertKind, AlertSeverity, AlertState, CustomerCode, Period};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Sent, id_of};
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

const PAGE: u16 = 50;
const LARGEST_PAGE: u16 = 200;
/// Customers that one request may name.
const MOST_CUSTOMERS: usize = 200;

/// Something at a customer that needs somebody.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertOut {
    #[schema(value_type = Uuid)]
    id: AlertId,
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    customer_name: String,
    #[schema(value_type = words::AlertKind)]
    kind: AlertKind,
    /// The id of a machine or repository, a source, or the name of a limit.
    subject: String,
    /// What people call the subject.
    name: String,
    #[schema(value_type = words::AlertSeverity)]
    severity: AlertSeverity,
    #[schema(value_type = words::AlertState)]
    state: AlertState,
    /// What was found, with its figures.
    message: String,
    raised_at: Timestamp,
    /// When it took the last step of its life.
    changed_at: Timestamp,
    /// Who took that step, `system:alerts` for the house itself; null where that is the MSP's business.
    changed_by: Option<String>,
    /// Why; null where that is the MSP's business.
    reason: Option<String>,
    snoozed_until: Option<Timestamp>,
    resolved_at: Option<Timestamp>,
}

/// Some alerts, the most urgent first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertsOut {
    alerts: Vec<AlertOut>,
    /// What `cursor` takes for those that follow; null at the end.
    next: Option<String>,
}

/// Why somebody takes a step with an alert.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertStepIn {
    /// Needed for every step but taking it.
    #[serde(default)]
    #[schema(value_type = words::Reason)]
    reason: String,
}

/// Until when an alert rests, and why.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SnoozeIn {
    /// An instant within the next 30 days.
    until: Timestamp,
    #[schema(value_type = words::Text)]
    reason: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsQuery {
    severity: Option<AlertSeverity>,
    /// `all`, or codes between commas.
    customers: Option<String>,
    /// A state, or `all`.
    state: Option<String>,
    cursor: Option<String>,
    limit: Option<u16>,
}

impl AlertOut {
    /// Shows an alert; the MSP's own words are not for a customer's people.
    pub(crate) fn of(listed: ListedAlert, visitor: &Visitor) -> Self {
        let is_of_customer = visitor.principal.only_customer().is_some();
        let ListedAlert { alert, customer_code, customer_name } = listed;
        let Alert { id, kind, subject, name, severity, state, words, raised_at, changed_at, snoozed_until, resolved_at, .. } = alert;
        Self {
            id,
            customer_code,
            customer_name,
            kind,
            subject,
            name,
            severity,
            state,
            message: words,
            raised_at,
            changed_at,
            changed_by: Some(alert.changed_by).filter(|_| !is_of_customer),
            reason: alert.reason.filter(|_| !is_of_customer),
            snoozed_until,
            resolved_at,
        }
    }
}

/// Returns those of the granted customers that a text names: all of them, or codes between commas. What is not granted is not there.
pub(crate) async fn chosen(app: &AppState, visitor: &Visitor, customers: Option<&str>) -> Result<Granted, Problem> {
    let granted = visitor.principal.read_grant()?.customers;
    let Some(codes) = customers.filter(|codes| !codes.is_empty() && *codes != "all") else { return Ok(granted) };
    let mut ids = BTreeSet::new();
    for code in codes.split(',') {
        ids.insert(visitor.scope(app, code.trim()).await?.customer.id);
        if ids.len() > MOST_CUSTOMERS {
            return Err(Problem::invalid("at most 200 customers are named at once"));
        }
    }
    Ok(Granted::Only(ids.into_iter().collect()))
}

/// Reads which states are wanted: one, or all; without a word those that still ask for something.
pub(crate) fn states(state: Option<&str>) -> Result<Vec<AlertState>, Problem> {
    match state.filter(|state| !state.is_empty()) {
        None => Ok(AlertFilter::default().states),
        Some("all") => Ok(AlertState::ALL.to_vec()),
        Some(state) => Ok(vec![state.parse().map_err(|error: granary_types::UnknownWord| Problem::invalid(error.to_string()))?]),
    }
}

/// Lists alerts of the customers that the caller sees, a page at a time.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<AlertsQuery>,
) -> Result<Json<AlertsOut>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("a page has 1 to 200 alerts"));
    }
    let after = query.cursor.as_deref().map(str::parse::<AlertPlace>).transpose()?;
    let filter = AlertFilter { severity: query.severity, states: states(query.state.as_deref())?, id: None, after };
    let granted = chosen(&app, &visitor, query.customers.as_deref()).await?;
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    // One more than asked for tells whether more follow.
    let mut alerts = list_alerts(&tx, &granted, &filter, limit + 1).await?;
    tx.commit().await?;
    let has_more = alerts.len() > usize::from(limit);
    alerts.truncate(usize::from(limit));
    let next = alerts.last().filter(|_| has_more).map(|last| AlertPlace::of(&last.alert).to_string());
    Ok(Json(AlertsOut { alerts: alerts.into_iter().map(|listed| AlertOut::of(listed, &visitor)).collect(), next }))
}

/// Takes an alert.
pub(crate) async fn acknowledge(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    step(&app, &visitor, &id, &sent, || Ok((AlertStep::Acknowledge, sent.read::<AlertStepIn>()?.reason))).await
}

/// Puts an alert to rest.
pub(crate) async fn snooze(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let wanted = || {
        let SnoozeIn { until, reason } = sent.read()?;
        Ok((AlertStep::Snooze(until), reason))
    };
    step(&app, &visitor, &id, &sent, wanted).await
}

/// Hands an alert on.
pub(crate) async fn escalate(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    step(&app, &visitor, &id, &sent, || Ok((AlertStep::Escalate, sent.read::<AlertStepIn>()?.reason))).await
}

/// Declares an alert over.
pub(crate) async fn resolve(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    step(&app, &visitor, &id, &sent, || Ok((AlertStep::Resolve, sent.read::<AlertStepIn>()?.reason))).await
}

async fn step(
    app: &AppState,
    visitor: &Visitor,
    id: &str,
    sent: &Sent,
    wanted: impl FnOnce() -> Result<(AlertStep, String), Problem>,
) -> Result<Response, Problem> {
    let granted = visitor.principal.read_grant()?.customers;
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    if let Some(answer) = sent.replay(app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    let id = id_of(id, "such alert")?;
    let (step, reason) = wanted()?;
    let listed = act_on_alert(&tx, &granted, id, step, &reason).await?;
    sent.answer(app, tx, StatusCode::OK, &AlertOut::of(listed, visitor)).await
}

/// A limit that does not fit what a customer used in a whole month.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecommendationOut {
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    customer_name: String,
    #[schema(value_type = words::Month)]
    period: Period,
    /// Machines with a completed run, or the average GiB of the month's days.
    #[schema(value_type = words::Resource)]
    resource: granary_metering::Resource,
    #[schema(value_type = words::Direction)]
    direction: granary_metering::Direction,
    used: i64,
    limit: i64,
    used_percent: i64,
    /// The limit of which the month would have used about 70 %.
    recommended_limit: i64,
    reason: String,
}

/// Limits that do not fit, those first that are too small.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecommendationsOut {
    #[schema(value_type = words::Month)]
    period: Period,
    recommendations: Vec<RecommendationOut>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecommendationsQuery {
    /// The last month that is over, unless told.
    period: Option<Period>,
    customers: Option<String>,
}

impl From<Recommendation> for RecommendationOut {
    fn from(one: Recommendation) -> Self {
        let Recommendation {
            customer_code,
            customer_name,
            period,
            resource,
            direction,
            used,
            limit,
            used_percent,
            recommended_limit,
            reason,
        } = one;
        Self { customer_code, customer_name, period, resource, direction, used, limit, used_percent, recommended_limit, reason }
    }
}

/// Recommends limits to the customers that the caller sees.
pub(crate) async fn recommendations(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Query(query): Query<RecommendationsQuery>,
) -> Result<Json<RecommendationsOut>, Problem> {
    let granted = chosen(&app, &visitor, query.customers.as_deref()).await?;
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    let period = query.period.unwrap_or_else(|| Period::containing(tx.now(), &tx.msp().time_zone).previous());
    let found = list_recommendations(&tx, &granted, period).await?;
    tx.commit().await?;
    Ok(Json(RecommendationsOut { period, recommendations: found.into_iter().map(RecommendationOut::from).collect() }))
}
