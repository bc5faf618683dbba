//! `/api/v1/msp/periods/{period}`: closing a month.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_billing::{
    Completeness, CustomerStanding, InvoiceState, PeriodStanding, accept_finding, approve_period, draft_period_as, list_entries,
};
use granary_foundation::Silent;
use granary_metering::{FindingKind, PeriodState, list_corrections};
use granary_tenants::MspScope;
use granary_types::{CustomerCode, CustomerId, LONGEST_TEXT, Period, is_printable};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::Sent;
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

/// A month on its way to its close.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PeriodOut {
    #[schema(value_type = words::Month)]
    period: Period,
    #[schema(value_type = words::PeriodState)]
    state: PeriodState,
    /// From when on it may be drafted: 72 hours after its end.
    cut_off_at: Timestamp,
    drafted_at: Option<Timestamp>,
    drafted_by: Option<String>,
    approved_at: Option<Timestamp>,
    approved_by: Option<String>,
    closed_at: Option<Timestamp>,
    closed_by: Option<String>,
    /// Whether whoever drafted may approve.
    editor_may_approve: bool,
    /// Drafts that nobody approved as they are.
    unapproved: usize,
    /// What blocks the close, in words.
    blockers: Vec<String>,
    customers: Vec<CustomerPeriodOut>,
}

/// A customer's month on its way to its close.
#[derive(Debug, Serialize, ToSchema)]
struct CustomerPeriodOut {
    customer_code: String,
    #[schema(value_type = words::Completeness)]
    completeness: Completeness,
    findings: Vec<FindingOut>,
    /// Machines that look like one machine under two ids; they block nothing.
    suspected_pairs: Vec<PairOut>,
    #[schema(value_type = Option<words::InvoiceState>)]
    invoice_state: Option<InvoiceState>,
    net_minor: i64,
    #[schema(value_type = Option<words::Currency>)]
    currency: Option<String>,
    /// Whether reconciliation has seen the draft as it is.
    is_reconciled: bool,
    is_closed: bool,
    /// The root of the Merkle tree over the month's events, once closed.
    events_hash: Option<String>,
    events_count: Option<i64>,
}

/// Something that blocks the close until somebody accepts it.
#[derive(Debug, Serialize, ToSchema)]
struct FindingOut {
    #[schema(value_type = words::Finding)]
    kind: FindingKind,
    /// How much of it there is; an acceptance stands for exactly that.
    extent: String,
    accepted_by: Option<String>,
    accepted_at: Option<Timestamp>,
    reason: Option<String>,
}

/// Two machines that may be one.
#[derive(Debug, Serialize, ToSchema)]
struct PairOut {
    name: String,
    /// Source system and vendor id.
    one: MachineKeyOut,
    other: MachineKeyOut,
}

/// What a source system calls a machine.
#[derive(Debug, Serialize, ToSchema)]
struct MachineKeyOut {
    source_system: String,
    vendor_id: String,
}

/// What drafting came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DraftedOut {
    #[schema(value_type = words::Month)]
    period: Period,
    invoices: usize,
    net_minor: i64,
    statement_minor: i64,
    /// It was finalised before; nothing was drafted.
    is_final: bool,
    failures: Vec<FailureOut>,
}

/// A customer that could not be rated.
#[derive(Debug, Serialize, ToSchema)]
struct FailureOut {
    customer_code: String,
    reason: String,
}

/// A finding to accept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptIn {
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    #[schema(value_type = words::Finding)]
    finding: FindingKind,
    #[schema(value_type = words::Text)]
    reason: String,
}

/// What was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedOut {
    #[schema(value_type = words::Code)]
    customer_code: CustomerCode,
    #[schema(value_type = words::Finding)]
    finding: FindingKind,
}

/// How many drafts were approved.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApprovedOut {
    #[schema(value_type = words::Month)]
    period: Period,
    approved: u64,
}

/// What closing came to.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ClosedOut {
    #[schema(value_type = words::Month)]
    period: Period,
    /// Months that were frozen now.
    frozen: usize,
    /// Invoices that got their number now.
    numbered: usize,
    /// It was closed before; nothing was done.
    was_closed: bool,
}

/// What later facts would have made of a closed month, as it was compared last: every night, and by command.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CorrectionsOut {
    #[schema(value_type = words::Month)]
    period: Period,
    meters: Vec<MeterOut>,
    amounts: Vec<AmountOut>,
}

/// A quantity that would be another one.
#[derive(Debug, Serialize, ToSchema)]
struct MeterOut {
    customer_code: String,
    meter: String,
    /// What the month was closed with, as text: an exact number.
    closed: String,
    now: String,
    found_at: Timestamp,
}

/// What it comes to for one item: above zero a charge, below zero a credit, at the original price and tax.
#[derive(Debug, Serialize, ToSchema)]
struct AmountOut {
    customer_code: String,
    item: String,
    description: String,
    quantity: String,
    unit_price: String,
    amount_minor: i64,
    #[schema(value_type = words::Currency)]
    currency: String,
    tax_percent: String,
    found_at: Timestamp,
    /// The later month with whose invoices it goes out.
    #[schema(value_type = Option<words::Month>)]
    goes_out_with: Option<Period>,
    /// The invoice or note that it stands on.
    document_id: Option<uuid::Uuid>,
}

impl From<PeriodStanding> for PeriodOut {
    fn from(standing: PeriodStanding) -> Self {
        let (unapproved, blockers) = (standing.unapproved(), standing.blockers());
        let progress = standing.progress;
        Self {
            period: standing.period,
            state: progress.state,
            cut_off_at: standing.cut_off_at,
            drafted_at: progress.drafted_at,
            drafted_by: progress.drafted_by,
            approved_at: progress.approved_at,
            approved_by: progress.approved_by,
            closed_at: progress.closed_at,
            closed_by: progress.closed_by,
            editor_may_approve: standing.editor_may_approve,
            unapproved,
            blockers,
            customers: standing.customers.into_iter().map(CustomerPeriodOut::from).collect(),
        }
    }
}

impl From<CustomerStanding> for CustomerPeriodOut {
    fn from(of: CustomerStanding) -> Self {
        let key = |(source_system, vendor_id)| MachineKeyOut { source_system, vendor_id };
        let pairs = of.details.suspected_pairs.into_iter();
        let findings = of.findings.into_iter().map(|finding| {
            let (accepted_by, accepted_at, reason) =
                finding.accepted.map_or((None, None, None), |by| (Some(by.accepted_by), Some(by.accepted_at), Some(by.reason)));
            FindingOut { kind: finding.kind, extent: finding.extent, accepted_by, accepted_at, reason }
        });
        Self {
            customer_code: of.customer_code,
            completeness: of.completeness,
            findings: findings.collect(),
            suspected_pairs: pairs.map(|pair| PairOut { name: pair.name, one: key(pair.one), other: key(pair.other) }).collect(),
            invoice_state: of.invoice_state,
            net_minor: of.net_minor,
            currency: of.currency.map(|currency| currency.code().to_owned()),
            is_reconciled: of.is_reconciled,
            is_closed: of.is_closed,
            events_hash: of.events_hash,
            events_count: of.events_count,
        }
    }
}

/// Returns where a period stands, with what the second road to its amounts says.
pub(crate) async fn standing(app: &AppState, visitor: &Visitor, period: Period) -> Result<(MspScope, PeriodStanding), Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    let residuals = residuals(app, visitor, period).await?;
    let standing = granary_billing::period_standing(&app.tenants, &scope, period, &residuals).await?;
    Ok((scope, standing))
}

async fn residuals(app: &AppState, visitor: &Visitor, period: Period) -> Result<Vec<granary_billing::Residual>, Problem> {
    let grant = visitor.principal.read_grant()?;
    Ok(granary_reconciliation::residuals(&app.warehouse, &grant, &app.tenants, visitor.msp()?, period).await?)
}

/// Closes a period.
pub(crate) async fn close_period(app: &AppState, visitor: &Visitor, period: Period) -> Result<granary_billing::ClosingReport, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    let residuals = residuals(app, visitor, period).await?;
    Ok(granary_billing::close(&app.tenants, &scope, period, &residuals, Silent::shared()).await?)
}

/// Shows where a period stands.
pub(crate) async fn show(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
) -> Result<Json<PeriodOut>, Problem> {
    Ok(Json(standing(&app, &visitor, period).await?.1.into()))
}

/// Answers with what was done, which may be done again without harm, once for each key.
async fn answer_once<T: Serialize>(app: &AppState, scope: &MspScope, sent: &Sent, out: &T) -> Result<Response, Problem> {
    let tx = app.tenants.begin_msp(scope).await?;
    if let Some(answer) = sent.replay(app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    sent.answer(app, tx, StatusCode::OK, out).await
}

/// Returns the answer that the same request was given before, without taking its key.
async fn answered(app: &AppState, scope: &MspScope, sent: &Sent) -> Result<Option<Response>, Problem> {
    let tx = app.tenants.begin_msp(scope).await?;
    let answer = sent.replay(app, &tx).await?;
    tx.rollback().await?;
    Ok(answer)
}

/// Drafts a period.
pub(crate) async fn draft(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
    sent: Sent,
) -> Result<Response, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    if let Some(answer) = answered(&app, &scope, &sent).await? {
        return Ok(answer);
    }
    let report = draft_period_as(&app.tenants, &scope, period, Silent::shared()).await?;
    let failures = report.failures.into_iter().map(|one| FailureOut { customer_code: one.customer_code, reason: one.reason });
    let out = DraftedOut {
        period,
        invoices: report.invoices,
        net_minor: report.net_minor,
        statement_minor: report.statement_minor,
        is_final: report.is_final,
        failures: failures.collect(),
    };
    answer_once(&app, &scope, &sent, &out).await
}

/// Accepts what blocks the close of a customer's month.
pub(crate) async fn accept(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
    sent: Sent,
) -> Result<Response, Problem> {
    let wanted: AcceptIn = sent.read()?;
    let (scope, standing) = standing(&app, &visitor, period).await?;
    let tx = app.tenants.begin_msp(&scope).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    let customer = customer_of(&standing, wanted.customer_code.as_str())?;
    accept_finding(&tx, &standing, customer, wanted.finding, reason_of(&wanted.reason)?).await?;
    let out = AcceptedOut { customer_code: wanted.customer_code, finding: wanted.finding };
    sent.answer(&app, tx, StatusCode::OK, &out).await
}

/// Returns a customer of the period by its code.
pub(crate) fn customer_of(standing: &PeriodStanding, code: &str) -> Result<CustomerId, Problem> {
    let found = standing.customers.iter().find(|customer| customer.customer_code == code);
    Ok(found.ok_or_else(|| Problem::not_found("such customer in this period"))?.customer_id)
}

/// Reads why somebody accepts something.
pub(crate) fn reason_of(text: &str) -> Result<&str, Problem> {
    let text = text.trim();
    is_printable(text, LONGEST_TEXT).then_some(text).ok_or_else(|| Problem::invalid("a reason has 1 to 200 characters"))
}

/// Approves the drafts of a period.
pub(crate) async fn approve(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
    sent: Sent,
) -> Result<Response, Problem> {
    let tx = app.tenants.begin_msp(&app.access.msp_scope(&visitor.principal).await?).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        tx.commit().await?;
        return Ok(answer);
    }
    let approved = approve_period(&tx, period).await?;
    sent.answer(&app, tx, StatusCode::OK, &ApprovedOut { period, approved }).await
}

/// Closes a period for good.
pub(crate) async fn close(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
    sent: Sent,
) -> Result<Response, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    if let Some(answer) = answered(&app, &scope, &sent).await? {
        return Ok(answer);
    }
    let report = close_period(&app, &visitor, period).await?;
    let out = ClosedOut { period, frozen: report.frozen, numbered: report.numbered, was_closed: report.was_closed };
    answer_once(&app, &scope, &sent, &out).await
}

/// Lists what later facts would have made of a closed period.
pub(crate) async fn corrections(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(period): Path<Period>,
) -> Result<Json<CorrectionsOut>, Problem> {
    let scope = app.access.msp_scope(&visitor.principal).await?;
    let customers = app.tenants.list_customers(scope.msp.id).await?;
    let tx = app.tenants.begin_msp(&scope).await?;
    let (meters, entries) = (list_corrections(&tx, period).await?, list_entries(&tx, Some(period)).await?);
    tx.commit().await?;
    let code = |id: CustomerId| customers.iter().find(|customer| customer.id == id).map_or_else(String::new, |one| one.code.to_string());
    let meters = meters.into_iter().map(|one| MeterOut {
        customer_code: one.customer_code,
        meter: one.meter,
        closed: one.closed.to_string(),
        now: one.now.to_string(),
        found_at: one.found_at,
    });
    let amounts = entries.into_iter().map(|entry| AmountOut {
        customer_code: code(entry.customer_id),
        item: entry.item.to_string(),
        description: entry.description,
        quantity: entry.quantity.to_string(),
        unit_price: entry.unit_price.to_string(),
        amount_minor: entry.amount_minor,
        currency: entry.currency.code().to_owned(),
        tax_percent: entry.tax_percent.normalize().to_string(),
        found_at: entry.found_at,
        goes_out_with: entry.chosen_for,
        document_id: entry.document_id.map(|id| id.uuid()),
    });
    Ok(Json(CorrectionsOut { period, meters: meters.collect(), amounts: amounts.collect() }))
}
