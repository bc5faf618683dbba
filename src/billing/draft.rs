//! Drafting a period: lines and an invoice per customer, a statement for the MSP. Doing it again changes nothing.

use std::collections::HashMap;

use futures::{StreamExt, stream};
use granary_foundation::Boxed;
use granary_foundation::SharedProgress;
use granary_metering::{Acceptance, FindingKind, Findings, PeriodUsage, examine, rebuild_days};
use granary_tenants::{Customer, Msp, MspScope, MspTx, TenantScope, TenantTx, Tenants};
use granary_types::{Currency, CustomerId, InvoiceId, Period, StatementId};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::Serialize;

use crate::context::{ACTOR, Agreement, Context};
use crate::correction::{CorrectionEntry, choose};
use crate::usage::{Usage, counted, measured};
use crate::{
    BillingError, Coverage, RatedLine, RatingInput, Statement, Totals, WholesaleCustomer, overage_gib, rate, store, totals, wholesale,
};

/// Customers that are measured at the same time.
const AT_ONCE: usize = 3;

/// A draft on its way into the store.
#[derive(Debug)]
pub(crate) struct InvoiceDraft {
    pub(crate) invoice: InvoiceId,
    pub(crate) customer: CustomerId,
    pub(crate) period: Period,
    pub(crate) currency: Currency,
    pub(crate) tax_percent: Decimal,
    pub(crate) totals: Totals,
    pub(crate) payment_terms_days: i32,
    pub(crate) is_estimated: bool,
    pub(crate) lines: Vec<RatedLine>,
}

/// What drafting a period came to.
#[derive(Debug, Clone, Serialize)]
pub struct DraftReport {
    pub period: Period,
    /// Customers with an invoice.
    pub invoices: usize,
    /// What the invoices add up to before tax, in the MSP's currency.
    pub net_minor: i64,
    /// What the operator charges.
    pub statement_minor: i64,
    /// The period is finalised; nothing was drafted.
    pub is_final: bool,
    /// Customers that could not be rated, and why; without them there is no statement.
    pub failures: Vec<DraftFailure>,
}

/// A customer that could not be rated.
#[derive(Debug, Clone, Serialize)]
pub struct DraftFailure {
    pub customer_code: String,
    pub reason: String,
}

struct Rated {
    draft: Option<InvoiceDraft>,
    wholesale: WholesaleCustomer,
    customer: CustomerId,
    /// None for a customer whose month is frozen: its draft stays.
    findings: Option<Findings>,
}

/// Drafts a period of an MSP by itself, see [`draft_period_as`].
///
/// # Errors
/// As [`draft_period_as`].
pub fn draft_period<'a>(
    tenants: &'a Tenants,
    msp: &'a Msp,
    period: Period,
    progress: SharedProgress,
) -> Boxed<'a, Result<DraftReport, BillingError>> {
    Box::pin(async move { draft_period_as(tenants, &MspScope::for_job(msp.clone(), ACTOR), period, progress).await })
}

/// Drafts a period of an MSP for whoever acts: measures and rates each customer, looks for what speaks against closing, writes
/// lines, invoices and the statement, and notes who drafted. Killed anywhere and started again it ends with the same rows; a
/// finalised period stays as it is, and so do customers that a close which was begun has frozen.
///
/// # Errors
/// When the period ended less than 72 hours ago, or the store fails. A customer that cannot be rated is in the report.
pub fn draft_period_as<'a>(
    tenants: &'a Tenants,
    scope: &'a MspScope,
    period: Period,
    progress: SharedProgress,
) -> Boxed<'a, Result<DraftReport, BillingError>> {
    Box::pin(async move {
        let msp = &scope.msp;
        let from = granary_metering::cut_off(period, &msp.time_zone);
        if tenants.clock().now() < from {
            return Err(BillingError::TooEarly { period, from });
        }
        if let Some(report) = finalised_report(tenants, msp, period).await? {
            return Ok(report);
        }
        let context = Context::load(tenants, msp, period).await?;
        let grounds = Grounds::load(tenants, scope, &context).await?;
        progress.begin(&format!("rating {period}"), context.customers.len() as u64);
        let (context, grounds, progress) = (&context, &grounds, &progress);
        let work = stream::iter(0..context.customers.len()).map(|index| async move {
            let customer = &context.customers[index];
            let rated = rate_customer(tenants, context, grounds, customer).await;
            progress.advance(1);
            (customer, rated)
        });
        let outcomes: Vec<_> = work.buffered(AT_ONCE).collect().await;
        progress.end();
        let (mut rated, mut failures) = (Vec::new(), Vec::new());
        for (customer, outcome) in outcomes {
            match outcome {
                Ok(one) => rated.extend(one),
                Err(error) => failures.push(DraftFailure { customer_code: customer.code.to_string(), reason: error.to_string() }),
            }
        }
        store_drafts(tenants, scope, context, &rated, failures).await
    })
}

/// What a draft depends on besides usage, contracts and prices.
struct Grounds {
    /// The sources of each customer's control planes.
    planes: HashMap<CustomerId, Vec<String>>,
    accepted: Vec<Acceptance>,
    /// What later facts charge for earlier months with this one.
    charges: Vec<CorrectionEntry>,
    /// What the months of customers were sealed with that a close has frozen, which did not end.
    frozen: HashMap<CustomerId, PeriodUsage>,
}

impl Grounds {
    async fn load(tenants: &Tenants, scope: &MspScope, context: &Context) -> Result<Self, BillingError> {
        let period = context.period;
        let tx = tenants.begin_msp(scope).await?;
        store::corrections::lock(&tx).await?;
        let mut frozen = HashMap::new();
        for customer in granary_metering::list_closed(&tx, period).await? {
            frozen.extend(granary_metering::closed_usage(&tx, customer, period).await?.map(|usage| (customer, usage)));
        }
        let mut planes = HashMap::new();
        for customer in &context.customers {
            planes.insert(customer.id, crate::closing::planes(&tx, customer, period).await?);
        }
        let accepted = granary_metering::list_acceptances(&tx, period).await?;
        let stay: Vec<CustomerId> = frozen.keys().copied().collect();
        store::corrections::let_go(&tx, period, &stay).await?;
        let mut pending = store::corrections::list_pending(&tx).await?;
        pending.retain(|entry| !frozen.contains_key(&entry.customer_id));
        let chosen = choose(&pending, period, &scope.msp.time_zone);
        store::corrections::choose(&tx, &chosen, period).await?;
        let mut charges = store::corrections::list_chosen(&tx, period).await?;
        charges.retain(|entry| entry.amount_minor > 0);
        tx.commit().await?;
        Ok(Self { planes, accepted, charges, frozen })
    }

    /// Returns the lines that charge a customer for earlier months, where an invoice of these terms can carry them.
    fn lines(&self, customer: CustomerId, agreement: &Agreement) -> impl Iterator<Item = RatedLine> {
        let (currency, tax_percent) = (agreement.terms.currency, agreement.terms.tax_percent);
        let fits =
            move |entry: &&CorrectionEntry| (entry.customer_id, entry.currency, entry.tax_percent) == (customer, currency, tax_percent);
        self.charges.iter().filter(fits).map(CorrectionEntry::line)
    }
}

async fn finalised_report(tenants: &Tenants, msp: &Msp, period: Period) -> Result<Option<DraftReport>, BillingError> {
    let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?;
    let report = final_report(&tx, period).await?;
    tx.commit().await?;
    Ok(report)
}

async fn final_report(tx: &MspTx, period: Period) -> Result<Option<DraftReport>, BillingError> {
    let msp = tx.msp();
    let statement = store::statements::find_statement(tx, msp.id, period).await?;
    Ok(match statement.filter(|statement| statement.is_final) {
        Some(statement) => {
            let totals = store::invoices::list_item_totals(tx, msp.id, period, msp.currency.code()).await?;
            let filter = crate::InvoiceFilter { period: Some(period), customer: None };
            Some(DraftReport {
                period,
                invoices: store::invoices::list_invoices(tx, msp.id, &filter).await?.len(),
                net_minor: totals.iter().map(|total| total.amount_minor).sum(),
                statement_minor: statement.total_minor,
                is_final: true,
                failures: Vec::new(),
            })
        }
        None => None,
    })
}

async fn rate_customer(
    tenants: &Tenants,
    context: &Context,
    grounds: &Grounds,
    customer: &Customer,
) -> Result<Option<Rated>, BillingError> {
    let Some(agreement) = context.agreement(customer) else { return Ok(None) };
    let coverage = agreement.standing.coverage(context.period);
    if coverage.is_empty() && coverage.wholesale_from.is_none() {
        return Ok(None);
    }
    let tx = tenants.begin_tenant(&TenantScope::for_job(context.msp.clone(), customer.clone(), ACTOR)).await?;
    if let Some(sealed) = grounds.frozen.get(&customer.id) {
        let cost = counted(&tx, context, &agreement, &coverage, coverage.wholesale_from, sealed.clone()).await?;
        let lines = store::lines::list_lines(&tx, context.period).await?.lines;
        tx.rollback().await?;
        let wholesale = wholesale_of(customer, &agreement, coverage, &cost, &lines);
        return Ok(Some(Rated { draft: None, wholesale, customer: customer.id, findings: None }));
    }
    rebuild_days(&tx, context.period, context.period).await?;
    let planes = grounds.planes.get(&customer.id).map_or(&[][..], Vec::as_slice);
    let mut findings = examine(&tx, context.period, planes).await?;
    let known_on = known_on(&findings, &grounds.accepted, customer.id, context);
    let usage = measured(&tx, context, &agreement, &coverage, coverage.billable_from, known_on).await?;
    findings.is_estimated = usage.is_estimated;
    let cost = if coverage.wholesale_from == coverage.billable_from {
        usage.clone()
    } else {
        measured(&tx, context, &agreement, &coverage, coverage.wholesale_from, known_on).await?
    };
    let mut lines = rate(&rating_input(context, customer, coverage, &agreement, &usage))?;
    if !coverage.is_empty() {
        lines.extend(grounds.lines(customer.id, &agreement));
    }
    let draft = write_lines(&tx, customer, context.period, &agreement, usage.is_estimated, lines).await?;
    tx.commit().await?;
    let lines = draft.as_ref().map_or(&[][..], |draft| draft.lines.as_slice());
    let wholesale = wholesale_of(customer, &agreement, coverage, &cost, lines);
    Ok(Some(Rated { draft, wholesale, customer: customer.id, findings: Some(findings) }))
}

/// Returns what the MSP pays for: `cost` from the first day that it is charged for, and whether anything is billed.
fn wholesale_of(customer: &Customer, agreement: &Agreement, coverage: Coverage, cost: &Usage, lines: &[RatedLine]) -> WholesaleCustomer {
    let is_charged = coverage.wholesale_from.is_some();
    WholesaleCustomer {
        customer: customer.id,
        code: customer.code.to_string(),
        machines: if is_charged { cost.machines } else { crate::MachineCounts::default() },
        overage_gib: if is_charged { overage_gib(cost.stored_bytes_average, agreement.terms.storage_limit) } else { Decimal::ZERO },
        share: coverage.wholesale_share(),
        has_premium_support: agreement.terms.has_premium_support,
        has_white_label: agreement.terms.has_white_label,
        has_retail_line: lines.iter().any(|line| line.amount_minor != 0),
    }
}

/// Returns the day whose machines stand in for those of a silent control plane, once somebody accepted that it is silent.
pub(crate) fn known_on(findings: &Findings, accepted: &[Acceptance], customer: CustomerId, context: &Context) -> Option<Date> {
    let extent = findings.extent(FindingKind::Incomplete)?;
    let is_accepted = granary_metering::is_accepted(accepted, customer, FindingKind::Incomplete, &extent);
    is_accepted.then(|| findings.known_on(context.period, &context.msp.time_zone)).flatten()
}

pub(crate) fn rating_input<'a>(
    context: &'a Context,
    customer: &Customer,
    coverage: Coverage,
    agreement: &Agreement,
    usage: &Usage,
) -> RatingInput<'a> {
    RatingInput {
        customer: customer.id,
        coverage,
        machines: usage.machines,
        counting_rule: context.msp.counting_rule,
        stored_bytes_average: usage.stored_bytes_average,
        is_estimated: usage.is_estimated,
        terms: agreement.terms,
        prices: &context.prices,
    }
}

/// Writes the lines unless they are final; then the ones that stand make the draft.
async fn write_lines(
    tx: &TenantTx,
    customer: &Customer,
    period: Period,
    agreement: &Agreement,
    is_estimated: bool,
    lines: Vec<RatedLine>,
) -> Result<Option<InvoiceDraft>, BillingError> {
    let standing = store::lines::list_lines(tx, period).await?;
    let invoice = standing.invoice.unwrap_or_default();
    let lines = if standing.is_final { standing.lines } else { lines };
    if !standing.is_final {
        store::lines::replace_lines(tx, period, invoice, &lines).await?;
    }
    if lines.is_empty() {
        return Ok(None);
    }
    let terms = &agreement.terms;
    Ok(Some(InvoiceDraft {
        invoice,
        customer: customer.id,
        period,
        currency: terms.currency,
        tax_percent: terms.tax_percent,
        totals: totals(&lines, terms.tax_percent, terms.currency)?,
        payment_terms_days: agreement.payment_terms_days,
        is_estimated,
        lines,
    }))
}

async fn store_drafts(
    tenants: &Tenants,
    scope: &MspScope,
    context: &Context,
    rated: &[Rated],
    failures: Vec<DraftFailure>,
) -> Result<DraftReport, BillingError> {
    let (msp, period) = (&context.msp, context.period);
    let tx = tenants.begin_msp(scope).await?;
    store::closing::lock(&tx, period).await?;
    // Somebody may have finalised it meanwhile.
    if let Some(report) = final_report(&tx, period).await? {
        tx.rollback().await?;
        return Ok(report);
    }
    let mut report = DraftReport { period, invoices: 0, net_minor: 0, statement_minor: 0, is_final: false, failures };
    let standing = crate::list_invoices(&tx, &crate::InvoiceFilter { period: Some(period), customer: None }).await?;
    // A close that runs beside it may have frozen more customers than there were before.
    let frozen = granary_metering::list_closed(&tx, period).await?;
    for one in rated {
        let invoice = standing.iter().find(|invoice| invoice.customer_id == one.customer);
        let Some(findings) = one.findings.as_ref().filter(|_| !frozen.contains(&one.customer)) else {
            report.invoices += usize::from(invoice.is_some());
            report.net_minor += invoice.filter(|invoice| invoice.currency == msp.currency).map_or(0, |invoice| invoice.net_minor);
            continue;
        };
        granary_metering::write_findings(&tx, one.customer, period, findings).await?;
        match (&one.draft, invoice) {
            (Some(draft), _) => {
                store::invoices::upsert_draft(&tx, msp.id, draft).await?;
                report.invoices += 1;
                report.net_minor += if draft.currency == msp.currency { draft.totals.net_minor } else { 0 };
            }
            (None, Some(invoice)) => store::invoices::delete_draft(&tx, one.customer, period, invoice.id).await?,
            (None, None) => {}
        }
    }
    if report.failures.is_empty() {
        let customers: Vec<_> = rated.iter().map(|one| one.wholesale.clone()).collect();
        let lines = wholesale(&customers, &context.prices, msp.partner_tier, msp.currency, period)?;
        report.statement_minor = lines.iter().map(|line| line.amount_minor).sum();
        let statement = Statement {
            id: StatementId::new(),
            period,
            currency: msp.currency,
            margin_percent: msp.partner_tier.margin_percent().into(),
            total_minor: report.statement_minor,
            is_final: false,
        };
        store::statements::replace_statement(&tx, msp.id, &statement, &lines).await?;
        granary_metering::mark_drafted(&tx, period).await?;
    }
    tx.commit().await?;
    Ok(report)
}
