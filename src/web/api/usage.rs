//! `GET /api/v1/msp/customers/{code}/usage`: what a customer used in a month, and the events behind every number.
//!
//! Measured from Postgres, not from the warehouse: the open month is asked for too, and the warehouse ends with last night.

use axum::extract::{Path, Query, State};
use axum::{Extension, Json};
use granary_metering::{
    DayUsage, EvidenceFilter, EvidencePage, InclusionProof, LiveUsage, LoggedEvent, Meter, PeriodUsage, find_seal, list_evidence,
    live_usage, prove,
};
use granary_tenants::MspScope;
use granary_types::{CountingRule, CustomerCode, CustomerId, CustomerStatus, Period, Tier};
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

const GIB: i64 = 1 << 30;
const PAGE: u16 = 100;
const LARGEST_PAGE: u16 = 500;

#[derive(Debug, Deserialize)]
pub(crate) struct UsageQuery {
    period: Period,
}

/// The usage of a customer in a month, under the names that the API has always had.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageOut {
    #[schema(value_type = uuid::Uuid)]
    tenant_id: CustomerId,
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    #[schema(value_type = words::Month)]
    period: Period,
    /// The customer's state now.
    #[schema(value_type = words::Status)]
    status: CustomerStatus,
    /// Machines that completed something in the month.
    vms_protected: i64,
    vms_protected_by_tier: TiersOut,
    /// Machines by the MSP's counting rule, as they are billed.
    vms_counted: CountedOut,
    backup_jobs_run: i64,
    backup_jobs_failed: i64,
    /// The month's average.
    #[schema(value_type = words::Gib)]
    storage_used_gb: String,
    #[schema(value_type = words::Gib)]
    data_transferred_gb: String,
    /// Calls of the customer's own programs.
    api_calls_total: i64,
    support_tickets_used: i64,
    is_closed: bool,
    /// A part of it stands in for what a silent control plane did not say.
    is_estimated: bool,
    /// When it was measured: at most a minute ago, or when the month was closed.
    as_of: Timestamp,
    units: UnitsOut,
    /// Day by day; a day on which nothing was counted is absent.
    days: Vec<DayOut>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TiersOut {
    backup: i64,
    enterprise: i64,
    replication: i64,
}

/// Machines as a counting rule counts them: whole, or with four decimals.
#[derive(Debug, Serialize, ToSchema)]
struct CountedOut {
    #[schema(value_type = words::Counting)]
    rule: CountingRule,
    backup: String,
    enterprise: String,
    replication: String,
}

/// What the numbers are numbers of.
#[derive(Debug, Serialize, ToSchema)]
struct UnitsOut {
    vms_protected: &'static str,
    backup_jobs_run: &'static str,
    storage_used_gb: &'static str,
    data_transferred_gb: &'static str,
    api_calls_total: &'static str,
    support_tickets_used: &'static str,
}

const UNITS: UnitsOut = UnitsOut {
    vms_protected: "machines",
    backup_jobs_run: "runs",
    storage_used_gb: "GiB, average of the month's days",
    data_transferred_gb: "GiB",
    api_calls_total: "calls",
    support_tickets_used: "tickets",
};

/// What was counted on a billing day.
#[derive(Debug, Serialize, ToSchema)]
struct DayOut {
    #[schema(value_type = String, format = "date")]
    day: Date,
    /// Machines in protection.
    vms_protected: i64,
    vms_protected_by_tier: TiersOut,
    backup_jobs_run: i64,
    backup_jobs_failed: i64,
    #[schema(value_type = words::Gib)]
    storage_used_gb: String,
    #[schema(value_type = words::Gib)]
    data_transferred_gb: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EvidenceQuery {
    period: Period,
    meter: Meter,
    day: Option<Date>,
    machine: Option<String>,
    cursor: Option<String>,
    limit: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProofQuery {
    period: Period,
    source: String,
    event: String,
}

/// That an event is one of those that a closed month counted: hash the leaf with the path, and it is the month's hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProofOut {
    source: String,
    id: String,
    /// SHA-256 of what the event says, in hexadecimal like every hash here.
    content_hash: String,
    /// The event's place among the month's events, from 0.
    index: u64,
    /// How many events the month has.
    size: u64,
    /// The nodes beside the way, from the leaf to the root.
    path: Vec<String>,
    /// The month's hash, as the period shows it.
    root: String,
}

/// The events behind a number, by when they count.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EvidenceOut {
    #[schema(value_type = words::Meter)]
    meter: Meter,
    events: Vec<EventOut>,
    /// What `cursor` takes for those that follow; null at the end.
    next: Option<String>,
}

/// An event as it was accepted.
#[derive(Debug, Serialize, ToSchema)]
struct EventOut {
    occurred_at: Timestamp,
    source: String,
    id: String,
    #[serde(rename = "type")]
    event_type: String,
    #[schema(value_type = Object)]
    data: Value,
}

/// The usage of a customer in a month.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Query(query): Query<UsageQuery>,
) -> Result<Json<UsageOut>, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    let zone = &scope.msp.time_zone;
    let is_known = query.period.start_at(zone) <= app.clock.now() && scope.customer.created_at < query.period.end_at(zone);
    if !is_known || scope.customer.status == CustomerStatus::Erased {
        return Err(Problem::not_found("usage in this period"));
    }
    let live = live_usage(&app.tenants, &scope, query.period).await?;
    Ok(Json(UsageOut::of(scope.customer, live)))
}

/// The events behind a number of a month.
pub(crate) async fn events(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Query(query): Query<EvidenceQuery>,
) -> Result<Json<EvidenceOut>, Problem> {
    let limit = query.limit.unwrap_or(PAGE);
    if !(1..=LARGEST_PAGE).contains(&limit) {
        return Err(Problem::invalid("a page has 1 to 500 events"));
    }
    let scope = visitor.scope(&app, &code).await?;
    let after = query.cursor.as_deref().map(str::parse).transpose()?;
    // A text that Postgres cannot hold names no machine.
    if query.machine.as_ref().is_some_and(|machine| machine.contains('\0')) {
        return Ok(Json(EvidenceOut { meter: query.meter, events: Vec::new(), next: None }));
    }
    let EvidenceQuery { period, meter, day, machine, .. } = query;
    let filter = EvidenceFilter { period, meter, day, machine, after, limit };
    let tx = app.tenants.begin_tenant(&scope).await?;
    let EvidencePage { events, next } = list_evidence(&tx, &filter).await?;
    tx.commit().await?;
    let next = next.map(|next| next.to_string());
    Ok(Json(EvidenceOut { meter, events: events.into_iter().map(EventOut::from).collect(), next }))
}

/// Proves that an event is one of those that a closed month counted.
pub(crate) async fn proof(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    Query(query): Query<ProofQuery>,
) -> Result<Json<ProofOut>, Problem> {
    let scope = visitor.scope(&app, &code).await?;
    let tx = app.tenants.begin_msp(&MspScope { msp: scope.msp.clone(), actor: scope.actor }).await?;
    let seal = find_seal(&tx, scope.customer.id, query.period).await?;
    tx.commit().await?;
    let seal = seal.ok_or_else(|| Problem::not_found("closed month of this customer in this period"))?;
    let tx = app.tenants.begin_tenant(&scope).await?;
    let proof = prove(&tx, query.period, &seal, (&query.source, &query.event)).await?;
    tx.commit().await?;
    let InclusionProof { source, id, content_hash, index, size, path, root } =
        proof.ok_or_else(|| Problem::not_found("such event among those that this month counted"))?;
    Ok(Json(ProofOut { source, id, content_hash, index, size, path, root }))
}

impl UsageOut {
    fn of(customer: granary_tenants::Customer, LiveUsage { usage, as_of, is_closed }: LiveUsage) -> Self {
        let whole = |tier| usage.distinct.of(tier).try_into().unwrap_or(i64::MAX);
        let tiers = TiersOut { backup: whole(Tier::Backup), enterprise: whole(Tier::Enterprise), replication: whole(Tier::Replication) };
        Self {
            tenant_id: customer.id,
            customer_code: customer.code,
            period: usage.period,
            status: customer.status,
            vms_protected: tiers.backup + tiers.enterprise + tiers.replication,
            vms_protected_by_tier: tiers,
            vms_counted: counted(&usage),
            backup_jobs_run: usage.runs_completed + usage.runs_with_warning + usage.runs_failed,
            backup_jobs_failed: usage.runs_failed,
            storage_used_gb: gib(usage.stored_bytes_average),
            data_transferred_gb: gib(usage.transferred_bytes),
            api_calls_total: usage.api_calls,
            support_tickets_used: usage.tickets_opened,
            is_closed,
            is_estimated: usage.is_estimated,
            as_of,
            units: UNITS,
            days: usage.series.iter().map(DayOut::from).collect(),
        }
    }
}

fn counted(usage: &PeriodUsage) -> CountedOut {
    let told = |machines: Decimal| machines.normalize().to_string();
    CountedOut {
        rule: usage.rule,
        backup: told(usage.machines.backup),
        enterprise: told(usage.machines.enterprise),
        replication: told(usage.machines.replication),
    }
}

impl From<&DayUsage> for DayOut {
    fn from(day: &DayUsage) -> Self {
        Self {
            day: day.day,
            vms_protected: day.backup + day.enterprise + day.replication,
            vms_protected_by_tier: TiersOut { backup: day.backup, enterprise: day.enterprise, replication: day.replication },
            backup_jobs_run: day.runs_completed + day.runs_failed,
            backup_jobs_failed: day.runs_failed,
            storage_used_gb: gib(day.stored_bytes),
            data_transferred_gb: gib(day.transferred_bytes),
        }
    }
}

impl From<LoggedEvent> for EventOut {
    fn from(event: LoggedEvent) -> Self {
        let LoggedEvent { occurred_at, source, id, event_type, data } = event;
        Self { occurred_at, source, id, event_type, data }
    }
}

fn gib(bytes: i64) -> String {
    let thousandths = (i128::from(bytes) * 1_000 + i128::from(GIB / 2)) / i128::from(GIB);
    format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_gib_with_three_decimals() {
        assert_eq!((gib(GIB).as_str(), gib(GIB / 2 * 3).as_str(), gib(0).as_str()), ("1.000", "1.500", "0.000"));
    }
}
