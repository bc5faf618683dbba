//! Invoices outlive their customer: the law wants them, nobody else may read them.

use granary_foundation::Boxed;
use granary_tenants::{Extent, LifecycleStep, Msp, MspScope, StepFailure, Subject, TenantScope, Tenants};
use granary_types::{InvoiceId, day_of};
use granary_vault::{Keys, Owner};
use jiff::ToSpan;
use serde_json::{Value, json};

use crate::store::keeping::{self, Kept};
use crate::{BillingError, InvoiceFilter, InvoiceState, list_entries, list_invoices, list_lines, list_notes};

const ACTOR: &str = "billing";

/// The step of an erasure that seals finalised invoices and notes with their lines under the MSP's key, adds what they billed to totals
/// without a name, and deletes drafts.
#[derive(Debug)]
pub struct KeepInvoices {
    pub keys: Keys,
    /// For how many years the law wants them.
    pub years: i16,
}

/// What a sealed invoice is sealed for, so that two cannot be exchanged.
fn name_of(id: InvoiceId) -> Vec<u8> {
    format!("granary kept invoice {id}").into_bytes()
}

impl KeepInvoices {
    async fn keep(&self, subject: &Subject) -> Result<(), BillingError> {
        let scope = MspScope::for_job(subject.msp.clone(), ACTOR);
        let (customer, owner) = (&subject.customer, (subject.msp.id, subject.customer.id));
        let tx = subject.tenants.begin_msp(&scope).await?;
        if keeping::lock_erasure(&tx, customer.id).await? {
            return Ok(tx.rollback().await?);
        }
        let filter = InvoiceFilter { period: None, customer: Some(customer.id) };
        let invoices = list_invoices(&tx, &filter).await?;
        let silo = subject.tenants.begin_tenant(&TenantScope::for_job(subject.msp.clone(), customer.clone(), ACTOR)).await?;
        let mut numbers = Vec::new();
        let (finalised, drafts): (Vec<_>, Vec<_>) = invoices.into_iter().partition(|invoice| invoice.state == InvoiceState::Finalised);
        let debtor = json!({"code": customer.code, "name": customer.name, "country": customer.country});
        for invoice in finalised {
            let (Some(number), id) = (invoice.number.clone(), invoice.id) else { continue };
            let lines = list_lines(&silo, invoice.period).await?;
            let period = invoice.period;
            let issued_on = invoice.issued_on.unwrap_or_else(|| period.first_day());
            let keep_until = issued_on.saturating_add(self.years.years());
            let document = json!({"customer": debtor, "invoice": invoice, "lines": lines}).to_string();
            let (sealed, wrapped) = self.keys.seal(Owner::Msp(subject.msp.id), document.as_bytes(), &name_of(id)).await?;
            let kept = Kept { id, sealed, wrapped };
            keeping::insert_kept(&tx, owner, &kept, (&number, &period.to_string()), keep_until).await?;
            numbers.push(number);
        }
        let entries = list_entries(&tx, None).await?;
        for note in list_notes(&tx, &filter).await? {
            let (Some(number), id) = (note.number.clone(), note.id) else { continue };
            let lines: Vec<_> = entries.iter().filter(|entry| entry.document_id == Some(id)).collect();
            let period = note.period;
            let keep_until = note.issued_on.unwrap_or_else(|| period.first_day()).saturating_add(self.years.years());
            let document = json!({"customer": debtor, "note": note, "lines": lines}).to_string();
            let (sealed, wrapped) = self.keys.seal(Owner::Msp(subject.msp.id), document.as_bytes(), &name_of(id)).await?;
            keeping::insert_kept(&tx, owner, &Kept { id, sealed, wrapped }, (&number, &period.to_string()), keep_until).await?;
            numbers.push(number);
        }
        silo.rollback().await?;
        keeping::anonymise(&tx, customer.id).await?;
        keeping::note(&tx, customer.id, &json!({"invoices_kept": numbers.len(), "drafts": drafts.len()})).await?;
        Ok(tx.commit().await?)
    }
}

impl LifecycleStep for KeepInvoices {
    fn name(&self) -> &'static str {
        "billing.keep"
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(self.keep(subject).await?) })
    }

    /// Names that were let go of do not come back.
    fn undo<'a>(&'a self, _subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async { Err(granary_tenants::TenantsError::Irrevocable.into()) })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_msp(&MspScope::for_job(subject.msp.clone(), ACTOR)).await?;
            let is_done = keeping::lock_erasure(&tx, subject.customer.id).await;
            tx.rollback().await?;
            match is_done {
                Err(BillingError::NotFound(_)) => Ok(Extent::Nothing),
                is_done => Ok(Extent::of([is_done?])),
            }
        })
    }
}

/// Opens an invoice that was kept of an erased customer: the document as JSON.
///
/// # Errors
/// When none of that number was kept, or the MSP's key does not open it.
pub fn open_kept<'a>(tenants: &'a Tenants, keys: &'a Keys, msp: &'a Msp, number: &'a str) -> Boxed<'a, Result<Value, BillingError>> {
    Box::pin(async move {
        let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?;
        let kept = keeping::find_kept(&tx, msp.id, number).await?.ok_or(BillingError::NotFound("kept invoice"))?;
        tx.commit().await?;
        let plain = keys.unseal(Owner::Msp(msp.id), &kept.sealed, &kept.wrapped, &name_of(kept.id)).await?;
        serde_json::from_slice(&plain).map_err(|error| BillingError::Corrupt("kept invoice", error.to_string()))
    })
}

/// Deletes the kept invoices whose time is over; returns how many there were.
///
/// # Errors
/// When Postgres refuses.
pub fn forget_kept<'a>(tenants: &'a Tenants) -> Boxed<'a, Result<u64, BillingError>> {
    Box::pin(async move {
        let mut forgotten = 0;
        for msp in tenants.list_msps().await? {
            let today = day_of(tenants.clock().now(), &msp.time_zone);
            let tx = tenants.begin_msp(&MspScope::for_job(msp, ACTOR)).await?;
            forgotten += keeping::delete_kept(&tx, today).await?;
            tx.commit().await?;
        }
        Ok(forgotten)
    })
}
