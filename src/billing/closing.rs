//! Closing a month, with what has to be looked at before: drafts → approved → closed and finalised.
//!
//! A control plane that was silent, refused events and amounts that do not meet block the close until somebody accepts them by
//! name and with a reason; drafts that changed since they were approved are approved again. The close freezes a customer at a time:
//! while nobody ingests for it, its month is measured and rated once more, compared with the draft, sealed and frozen. Killed
//! anywhere, closing again finishes it; whoever's draft changed meanwhile is drafted and approved again, and who is frozen stays so.

use futures::{StreamExt, stream};
use granary_foundation::{Boxed, SharedProgress};
use granary_metering::{
    Acceptance, FindingKind, Findings, PeriodProgress, PeriodState, close_month, list_acceptances, list_findings, mark_closed,
    period_progress,
};
use granary_tenants::{Actor, Customer, MspScope, MspTx, TenantScope, TenantTx, Tenants};
use granary_types::{Currency, CustomerId, Period};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use crate::context::{ACTOR, Agreement, Context};
use crate::draft::{draft_period_as, known_on, rating_input};
use crate::usage::measured;
use crate::{BillingError, Invoice, InvoiceFilter, InvoiceState, RatedLine, finalise_period, list_invoices, rate, store};

/// Customers that are frozen at the same time.
const AT_ONCE: usize = 3;
/// Blocking findings that an error names.
const NAMED: usize = 3;

/// What reconciliation found for a customer: whoever calls knows the second road to the amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Residual {
    pub customer_id: CustomerId,
    /// What the invoice said when it was compared; where that is no longer what it says, the comparison says nothing.
    pub invoiced_minor: i64,
    pub difference_minor: i64,
    /// Faults that were found, also those that change no amount.
    pub causes: usize,
}

/// How much is known of a customer's month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Completeness {
    /// Every control plane was heard.
    Complete,
    /// One was silent at the cut-off.
    Incomplete,
    /// What is not known is billed by what was known last.
    Estimated,
}

/// Something that blocks the close, or was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    /// How much of it there is; an acceptance stands for exactly that.
    pub extent: String,
    pub accepted: Option<Acceptance>,
}

/// Where a customer's month stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CustomerStanding {
    pub customer_id: CustomerId,
    pub customer_code: String,
    pub customer_name: String,
    pub completeness: Completeness,
    pub findings: Vec<Finding>,
    /// What was found, with pairs of machines that may be one; they block nothing.
    pub details: Findings,
    pub invoice_state: Option<InvoiceState>,
    pub net_minor: i64,
    pub currency: Option<Currency>,
    /// The second road to the amount was gone since the draft; without an invoice there is nothing to compare.
    pub is_reconciled: bool,
    pub is_closed: bool,
    /// The root of the Merkle tree over the events, and how many there are, once closed.
    pub events_hash: Option<String>,
    pub events_count: Option<i64>,
}

/// Where a period stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PeriodStanding {
    pub period: Period,
    pub cut_off_at: Timestamp,
    pub progress: PeriodProgress,
    /// Whether whoever drafted may approve.
    pub editor_may_approve: bool,
    pub customers: Vec<CustomerStanding>,
}

impl CustomerStanding {
    /// Returns what blocks the close, in words.
    pub fn blockers(&self) -> Vec<String> {
        let open = self.findings.iter().filter(|finding| finding.accepted.is_none());
        let mut words: Vec<String> = open.map(|finding| format!("{}: {} ({})", self.customer_code, finding.kind, finding.extent)).collect();
        if !self.is_reconciled {
            words.push(format!("{}: not reconciled since it was drafted; export a night first", self.customer_code));
        }
        if self.is_closed { Vec::new() } else { words }
    }
}

impl PeriodStanding {
    /// Returns what blocks the close, in words.
    pub fn blockers(&self) -> Vec<String> {
        self.customers.iter().flat_map(CustomerStanding::blockers).collect()
    }

    /// Counts drafts that nobody approved as they are.
    pub fn unapproved(&self) -> usize {
        self.customers.iter().filter(|customer| customer.invoice_state == Some(InvoiceState::Draft)).count()
    }
}

/// Returns where a period stands by its last draft. `residuals` is what reconciliation finds.
///
/// # Errors
/// When the store fails.
pub fn period_standing<'a>(
    tenants: &'a Tenants,
    scope: &'a MspScope,
    period: Period,
    residuals: &'a [Residual],
) -> Boxed<'a, Result<PeriodStanding, BillingError>> {
    Box::pin(async move {
        let mut customers = tenants.list_customers(scope.msp.id).await?;
        customers.sort_by(|one, two| one.code.cmp(&two.code));
        let tx = tenants.begin_msp(scope).await?;
        let loaded = Loaded::load(&tx, period, residuals).await?;
        let standing = PeriodStanding {
            period,
            cut_off_at: granary_metering::cut_off(period, &scope.msp.time_zone),
            progress: period_progress(&tx, period).await?,
            editor_may_approve: store::closing::editor_may_approve(&tx).await?,
            customers: customers.iter().filter_map(|customer| loaded.standing_of(customer)).collect(),
        };
        tx.commit().await?;
        Ok(standing)
    })
}

/// What the control schema and reconciliation know of a period.
struct Loaded<'a> {
    months: Vec<granary_metering::CustomerMonth>,
    findings: Vec<(CustomerId, Findings)>,
    accepted: Vec<Acceptance>,
    invoices: Vec<Invoice>,
    residuals: &'a [Residual],
}

impl<'a> Loaded<'a> {
    async fn load(tx: &MspTx, period: Period, residuals: &'a [Residual]) -> Result<Self, BillingError> {
        Ok(Self {
            months: granary_metering::list_customer_months(tx, period).await?,
            findings: list_findings(tx, period).await?,
            accepted: list_acceptances(tx, period).await?,
            invoices: list_invoices(tx, &InvoiceFilter { period: Some(period), customer: None }).await?,
            residuals,
        })
    }

    /// Returns where a customer stands; none when it has nothing to do with the period.
    fn standing_of(&self, customer: &Customer) -> Option<CustomerStanding> {
        let id = customer.id;
        let month = self.months.iter().find(|month| month.customer_id == id);
        let found = self.findings.iter().find(|(of, _)| *of == id).map(|(_, findings)| findings.clone());
        let invoice = self.invoices.iter().find(|invoice| invoice.customer_id == id);
        if found.is_none() && invoice.is_none() && month.is_none() {
            return None;
        }
        let details = found.unwrap_or_default();
        let residual = self.residuals.iter().find(|residual| residual.customer_id == id);
        let kinds = [FindingKind::Incomplete, FindingKind::Quarantine];
        let mut extents: Vec<_> = kinds.into_iter().filter_map(|kind| Some((kind, details.extent(kind)?))).collect();
        extents.extend(residual.and_then(|residual| Some((FindingKind::Residual, extent_of(residual, invoice)?))));
        let of = |(kind, extent): (FindingKind, String)| Finding {
            kind,
            accepted: self.accepted.iter().find(|one| (one.customer_id, one.finding) == (id, kind) && one.extent == extent).cloned(),
            extent,
        };
        Some(CustomerStanding {
            customer_id: id,
            customer_code: customer.code.to_string(),
            customer_name: customer.name.clone(),
            completeness: match (details.is_estimated, details.silent.is_empty()) {
                (true, _) => Completeness::Estimated,
                (false, false) => Completeness::Incomplete,
                (false, true) => Completeness::Complete,
            },
            findings: extents.into_iter().map(of).collect(),
            invoice_state: invoice.map(|invoice| invoice.state),
            net_minor: invoice.map_or(0, |invoice| invoice.net_minor),
            currency: invoice.map(|invoice| invoice.currency),
            is_reconciled: invoice.is_none_or(|invoice| residual.is_some_and(|residual| residual.invoiced_minor == invoice.net_minor)),
            is_closed: month.is_some_and(|month| month.is_closed),
            events_hash: month.and_then(|month| month.events_hash.clone()),
            events_count: month.and_then(|month| month.events_count),
            details,
        })
    }
}

/// Returns how much two roads differ by, in words; none when they meet.
fn extent_of(residual: &Residual, invoice: Option<&Invoice>) -> Option<String> {
    let invoice = invoice?;
    let amount = granary_types::Money::new(residual.difference_minor, invoice.currency);
    match (residual.difference_minor, residual.causes) {
        (0, 0) => None,
        (0, causes) => Some(format!("{causes} faults that change no amount")),
        _ => Some(amount.to_string()),
    }
}

/// Returns the sources of the control planes of a customer that stood in a period and are not retired.
pub(crate) async fn planes(tx: &MspTx, customer: &Customer, period: Period) -> Result<Vec<String>, BillingError> {
    let end_at = period.end_at(&tx.msp().time_zone);
    let planes = granary_tenants::list_control_planes(tx, customer).await?;
    Ok(planes.into_iter().filter(|plane| plane.retired_at.is_none() && plane.enrolled_at < end_at).map(|plane| plane.source).collect())
}

/// Accepts a finding of a customer's month by name and with a reason. The period is drafted again before it is closed: a silent
/// customer is billed by its last known machines then.
///
/// # Errors
/// When there is no such finding, or the period is closed.
pub fn accept_finding<'a>(
    tx: &'a MspTx,
    standing: &'a PeriodStanding,
    customer: CustomerId,
    kind: FindingKind,
    reason: &'a str,
) -> Boxed<'a, Result<(), BillingError>> {
    Box::pin(async move {
        let period = standing.period;
        if standing.progress.state == PeriodState::Closed {
            return Err(granary_metering::MeteringError::PeriodClosed(period).into());
        }
        let of =
            standing.customers.iter().find(|one| one.customer_id == customer).ok_or(BillingError::NotFound("customer in this period"))?;
        let found = of.findings.iter().find(|finding| finding.kind == kind);
        let missing = || BillingError::NothingToAccept { customer: of.customer_code.clone(), finding: kind.as_str(), period };
        let found = found.ok_or_else(missing)?;
        granary_metering::accept(tx, customer, period, (kind, &found.extent), reason).await?;
        let detail = json!({"period": period, "finding": kind, "extent": found.extent, "reason": reason});
        Ok(granary_tenants::note(tx, Some(customer), "period.accept", &format!("period:{period}"), &detail).await?)
    })
}

/// Approves the drafts of a period. Whoever drafted it, or accepted something in it, is not who approves, unless the MSP allows it;
/// commands are machines, and whoever has the machine has both hands.
///
/// # Errors
/// When it is one's own work, or there are no drafts.
pub fn approve_period<'a>(tx: &'a MspTx, period: Period) -> Boxed<'a, Result<u64, BillingError>> {
    Box::pin(async move {
        let progress = period_progress(tx, period).await?;
        if let Actor::User(_) = tx.actor() {
            let me = tx.actor().to_string();
            let accepted = list_acceptances(tx, period).await?;
            let is_own = progress.drafted_by.as_ref() == Some(&me) || accepted.iter().any(|one| one.accepted_by == me);
            if is_own && !store::closing::editor_may_approve(tx).await? {
                return Err(BillingError::OwnWork(period));
            }
        }
        granary_metering::mark_approved(tx, period).await?;
        let approved = store::invoices::approve(tx, period).await?;
        let detail = json!({"period": period, "invoices": approved});
        granary_tenants::note(tx, None, "period.approve", &format!("period:{period}"), &detail).await?;
        Ok(approved)
    })
}

/// Says whether whoever drafted a period may approve it.
///
/// # Errors
/// When the store fails.
pub fn let_editor_approve(tx: &MspTx, is_allowed: bool) -> Boxed<'_, Result<(), BillingError>> {
    Box::pin(async move {
        store::closing::let_editor_approve(tx, is_allowed).await?;
        let (subject, detail) = (format!("msp:{}", tx.msp().code), json!({"editor_may_approve": is_allowed}));
        Ok(granary_tenants::note(tx, None, "period.rule", &subject, &detail).await?)
    })
}

/// What closing a period came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClosingReport {
    pub period: Period,
    /// Months that were frozen now.
    pub frozen: usize,
    /// Invoices that got their number now.
    pub numbered: usize,
    /// It was closed before; nothing was done.
    pub was_closed: bool,
}

/// Closes a period: drafts it once more, and when nothing blocks and what was approved still stands, freezes every customer's
/// month, numbers the invoices and says so. Closing a closed period does nothing.
///
/// # Errors
/// When something blocks, drafts are not approved as they are, or the store fails.
pub fn close<'a>(
    tenants: &'a Tenants,
    scope: &'a MspScope,
    period: Period,
    residuals: &'a [Residual],
    progress: SharedProgress,
) -> Boxed<'a, Result<ClosingReport, BillingError>> {
    Box::pin(async move {
        let standing = period_standing(tenants, scope, period, residuals).await?;
        let mut report = ClosingReport { period, frozen: 0, numbered: 0, was_closed: standing.progress.state == PeriodState::Closed };
        if report.was_closed {
            return Ok(report);
        }
        make_ready(tenants, scope, period, residuals, &progress).await?;
        let context = Context::load(tenants, &scope.msp, period).await?;
        progress.begin(&format!("closing {period}"), context.customers.len() as u64);
        let (context, progress) = (&context, &progress);
        let freezing = stream::iter(0..context.customers.len()).map(|index| async move {
            let was_open = freeze(tenants, scope, context, &context.customers[index]).await?;
            progress.advance(1);
            Ok::<_, BillingError>(usize::from(was_open))
        });
        // Who cannot be frozen keeps no other from it; the close goes on with those who are left.
        let frozen: Vec<Result<usize, BillingError>> = freezing.buffer_unordered(AT_ONCE).collect().await;
        progress.end();
        report.frozen = frozen.into_iter().sum::<Result<usize, BillingError>>()?;
        report.numbered = finalise_period(tenants, &scope.msp, period).await?.numbered.len();
        let tx = tenants.begin_msp(scope).await?;
        mark_closed(&tx, period).await?;
        let detail = json!({"period": period, "frozen": report.frozen, "numbered": report.numbered});
        granary_tenants::note(&tx, None, "period.close", &format!("period:{period}"), &detail).await?;
        tx.commit().await?;
        Ok(report)
    })
}

/// Drafts the period as it is now, and refuses what is not ready.
async fn make_ready(
    tenants: &Tenants,
    scope: &MspScope,
    period: Period,
    residuals: &[Residual],
    progress: &SharedProgress,
) -> Result<(), BillingError> {
    let before = period_standing(tenants, scope, period, residuals).await?;
    if before.progress.state == PeriodState::Open {
        let (from, now) = (before.cut_off_at, tenants.clock().now());
        let undrafted = BillingError::NotDrafted(scope.msp.code.to_string(), period);
        return Err(if now < from { BillingError::TooEarly { period, from } } else { undrafted });
    }
    if before.progress.approved_at.is_none() {
        return Err(BillingError::NotApproved { period, count: before.unapproved() });
    }
    // Who drafted it stays who it was: this is the same draft, or it is refused.
    let house = MspScope::for_job(scope.msp.clone(), ACTOR);
    let drafted = draft_period_as(tenants, &house, period, progress.clone()).await?;
    let standing = period_standing(tenants, scope, period, residuals).await?;
    let failed = drafted.failures.iter().map(|failure| format!("{}: {}", failure.customer_code, failure.reason));
    let blockers: Vec<String> = failed.chain(standing.blockers()).collect();
    if !blockers.is_empty() {
        let more = blockers.len().saturating_sub(NAMED);
        let more = if more > 0 { format!("; and {more} more") } else { String::new() };
        let reasons = format!("{}{more}", blockers.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; "));
        return Err(BillingError::Blocked { period, reasons });
    }
    match standing.unapproved() {
        0 => Ok(()),
        count => Err(BillingError::NotApproved { period, count }),
    }
}

/// Freezes a customer's month: measured, rated, compared, sealed in the control schema, its lines made final. Returns whether it was
/// open.
async fn freeze(tenants: &Tenants, scope: &MspScope, context: &Context, customer: &Customer) -> Result<bool, BillingError> {
    let period = context.period;
    let tx = tenants.begin_tenant(&TenantScope::for_job(context.msp.clone(), customer.clone(), ACTOR)).await?;
    let control = tenants.begin_msp(scope).await?;
    if granary_metering::find_seal(&control, customer.id, period).await?.is_some() {
        control.commit().await?;
        store::lines::finalise_lines(&tx, period).await?;
        tx.commit().await?;
        return Ok(false);
    }
    // The log is locked first: what comes from here on is later than the close.
    let measured = granary_metering::seal(&tx, period, None).await?;
    let planes = planes(&control, customer, period).await?;
    let accepted = list_acceptances(&control, period).await?;
    let findings = granary_metering::examine(&tx, period, &planes).await?;
    let known_on = known_on(&findings, &accepted, customer.id, context);
    let seal = match known_on {
        None => measured,
        Some(_) => granary_metering::Seal { usage: granary_metering::measure_known(&tx, period, known_on).await?, ..measured },
    };
    if let Some(agreement) = context.agreement(customer) {
        check_lines((&tx, &control), context, customer, &agreement, known_on).await?;
    }
    let was_open = close_month(&control, customer.id, &seal).await?;
    control.commit().await?;
    store::lines::finalise_lines(&tx, period).await?;
    tx.commit().await?;
    Ok(was_open)
}

/// Refuses a draft that is not what the month is rated at now, or not as somebody approved it. Charges for earlier months stand behind
/// its own lines. Lines that are final already stay as they are: what came after them is a correction of theirs.
async fn check_lines(
    (tx, control): (&TenantTx, &MspTx),
    context: &Context,
    customer: &Customer,
    agreement: &Agreement,
    known_on: Option<jiff::civil::Date>,
) -> Result<(), BillingError> {
    let coverage = agreement.standing.coverage(context.period);
    if coverage.is_empty() {
        return Ok(());
    }
    let standing = store::lines::list_lines(tx, context.period).await?;
    if standing.is_final {
        return Ok(());
    }
    let net = |lines: &[RatedLine]| lines.iter().map(|line| line.amount_minor).sum::<i64>();
    let usage = measured(tx, context, agreement, &coverage, coverage.billable_from, known_on).await?;
    let now = rate(&rating_input(context, customer, coverage, agreement, &usage))?;
    let mut drafted = standing.lines;
    let drafted_minor = net(&drafted);
    let invoice = list_invoices(control, &InvoiceFilter { period: Some(context.period), customer: Some(customer.id) }).await?;
    match invoice.first() {
        Some(invoice) if invoice.state == InvoiceState::Draft => {
            return Err(BillingError::NotApproved { period: context.period, count: 1 });
        }
        Some(invoice) if invoice.net_minor != drafted_minor => {
            return Err(BillingError::StaleDraft(customer.code.to_string(), drafted_minor, invoice.net_minor));
        }
        Some(_) | None => {}
    }
    drafted.retain(|line| line.item != crate::Item::Correction);
    if drafted == now { Ok(()) } else { Err(BillingError::StaleDraft(customer.code.to_string(), net(&now), net(&drafted))) }
}

#[cfg(test)]
mod tests {
    use granary_metering::is_accepted;

    use super::*;

    #[test]
    fn an_acceptance_stands_for_what_there_was() {
        let customer = CustomerId::new();
        let one = Acceptance {
            customer_id: customer,
            finding: FindingKind::Quarantine,
            extent: "3".to_owned(),
            reason: "duplicates of an old agent".to_owned(),
            accepted_by: "user:1".to_owned(),
            accepted_at: Timestamp::UNIX_EPOCH,
        };
        let accepted = [one];
        assert!(is_accepted(&accepted, customer, FindingKind::Quarantine, "3"));
        assert!(!is_accepted(&accepted, customer, FindingKind::Quarantine, "4"));
        assert!(!is_accepted(&accepted, customer, FindingKind::Incomplete, "3"));
        assert!(!is_accepted(&accepted, CustomerId::new(), FindingKind::Quarantine, "3"));
    }
}
