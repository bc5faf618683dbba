//! Finalising a period: lines freeze, invoices get their numbers, the statement becomes final.

use granary_foundation::Boxed;
use granary_tenants::{Msp, MspScope, MspTx, TenantScope, Tenants};
use granary_types::{InvoiceId, Period, day_of};
use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;

use crate::context::ACTOR;
use crate::{BillingError, Invoice, InvoiceFilter, InvoiceState, list_invoices, store};

/// What finalising a period came to.
#[derive(Debug, Clone, Serialize)]
pub struct FinaliseReport {
    pub period: Period,
    /// Invoices that got their number now, in its order.
    pub numbered: Vec<(InvoiceId, String)>,
    /// Invoices that had one before.
    pub already_final: usize,
}

/// Finalises every draft of a period, issued today in the MSP's zone: freezes the lines of each customer, then numbers all invoices and
/// closes the statement in one transaction, so that numbers have no gap. Corrections of earlier months that were chosen for this
/// one are settled with it: by its lines, or by notes. Started again it goes on where it stopped.
///
/// # Errors
/// When the period is not over, has no statement, or a draft does not agree with its lines: then draft the period again.
pub fn finalise_period<'a>(tenants: &'a Tenants, msp: &'a Msp, period: Period) -> Boxed<'a, Result<FinaliseReport, BillingError>> {
    Box::pin(async move {
        let issued_on = day_of(tenants.clock().now(), &msp.time_zone);
        if issued_on <= period.last_day() {
            return Err(BillingError::IssueDay { period, issued_on });
        }
        let scope = MspScope::for_job(msp.clone(), ACTOR);
        let tx = tenants.begin_msp(&scope).await?;
        let invoices = list_invoices(&tx, &InvoiceFilter { period: Some(period), customer: None }).await?;
        tx.commit().await?;
        let (already_final, drafts): (Vec<_>, Vec<_>) = invoices.into_iter().partition(|invoice| invoice.state == InvoiceState::Finalised);
        let customers = tenants.list_customers(msp.id).await?;
        for draft in &drafts {
            let customer = customers.iter().find(|customer| customer.id == draft.customer_id).ok_or(BillingError::NotFound("customer"))?;
            freeze_lines(tenants, &TenantScope::for_job(msp.clone(), customer.clone(), ACTOR), draft).await?;
        }
        let tx = tenants.begin_msp(&scope).await?;
        store::closing::lock(&tx, period).await?;
        let numbered = number(&tx, &drafts, issued_on).await?;
        crate::note::settle(&tx, period, issued_on).await?;
        let statement = store::statements::find_statement(&tx, msp.id, period).await?;
        let statement = statement.ok_or_else(|| BillingError::NotDrafted(msp.code.clone(), period))?;
        store::statements::finalise_statement(&tx, statement.id).await?;
        tx.commit().await?;
        Ok(FinaliseReport { period, numbered, already_final: already_final.len() })
    })
}

async fn freeze_lines(tenants: &Tenants, scope: &TenantScope, draft: &Invoice) -> Result<(), BillingError> {
    let tx = tenants.begin_tenant(scope).await?;
    let standing = store::lines::list_lines(&tx, draft.period).await?;
    let net_minor: i64 = standing.lines.iter().map(|line| line.amount_minor).sum();
    if net_minor != draft.net_minor || standing.invoice != Some(draft.id) {
        return Err(BillingError::StaleDraft(draft.customer_code.clone(), net_minor, draft.net_minor));
    }
    store::lines::finalise_lines(&tx, draft.period).await?;
    Ok(tx.commit().await?)
}

/// Numbers invoices by customer code under the lock of their series, the year of issue.
async fn number(tx: &MspTx, drafts: &[Invoice], issued_on: Date) -> Result<Vec<(InvoiceId, String)>, BillingError> {
    let msp = tx.msp();
    let series = issued_on.year().to_string();
    let mut next = store::invoices::lock_series(tx, msp.id, &series).await?;
    let mut numbered = Vec::new();
    for draft in drafts {
        let number = format!("{}-{series}-{next:05}", msp.code);
        let due_on = issued_on.checked_add(draft.payment_terms_days.days()).unwrap_or(Date::MAX);
        if store::invoices::finalise_invoice(tx, draft.id, &number, issued_on, due_on).await? {
            numbered.push((draft.id, number));
            next += 1;
        }
    }
    store::invoices::update_series(tx, msp.id, &series, next).await?;
    Ok(numbered)
}
