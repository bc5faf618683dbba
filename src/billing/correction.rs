//! What later facts make of a month that is closed: charges on a later invoice, credit notes; the month itself never changes.
//!
//! The month is measured and rated again at its own prices and tax. What differs from its lines, less what was corrected before,
//! is an entry for each item. A charge goes on the next invoice as a line that names the month, or, where that invoice has another
//! currency or tax or there is none, on a debit note; a credit is a credit note that cites the month's invoice.

use granary_foundation::{Boxed, SharedProgress};
use granary_metering::PeriodUsage;
use granary_tenants::{Customer, Msp, MspScope, RetentionMark, TenantScope, Tenants};
use granary_types::{Currency, CustomerId, InvoiceId, Money, Period, Quantity, UnitPrice, line_amount};
use jiff::Timestamp;
use rust_decimal::Decimal;
use serde::Serialize;
use uuid::Uuid;

use crate::context::{ACTOR, Context};
use crate::draft::rating_input;
use crate::usage::measured;
use crate::{BillingError, Item, RatedLine, rate, store};

/// A charge names a month that lies at most so many months back; credits always.
const CHARGES_BACK_MONTHS: i32 = 3;
/// A smaller amount, in whole units of the currency, waits for more to come.
const SMALL_UNITS: i64 = 5;
/// It waits for so many months.
const SMALL_WAITS_MONTHS: i32 = 3;
/// What a closed month is measured from; where a rule of retention let go of it, the month is not measured again.
const EVIDENCE: [&str; 3] = ["backup_runs", "replication_cycles", "storage_samples"];

/// A difference in money, for one item of one closed month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorrectionEntry {
    pub id: Uuid,
    pub customer_id: CustomerId,
    /// The month that is closed.
    pub period: Period,
    pub item: Item,
    pub description: String,
    pub quantity: Quantity,
    pub unit_price: UnitPrice,
    /// Above zero a charge, below zero a credit.
    pub amount_minor: i64,
    pub currency: Currency,
    pub tax_percent: Decimal,
    pub found_at: Timestamp,
    /// The later month with whose invoices it goes out.
    pub chosen_for: Option<Period>,
    /// The invoice or note that it stands on.
    pub document_id: Option<InvoiceId>,
}

impl CorrectionEntry {
    /// Returns the line of a later invoice that charges it.
    pub(crate) fn line(&self) -> RatedLine {
        RatedLine {
            item: Item::Correction,
            description: self.description.clone(),
            quantity: self.quantity,
            unit_price: self.unit_price,
            amount_minor: self.amount_minor,
            currency: self.currency,
            is_recurring: false,
        }
    }

    const fn is_charge(&self) -> bool {
        self.amount_minor > 0
    }
}

/// What comparing a closed period with what is known now came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CorrectionReport {
    pub period: Period,
    /// Customers that were compared.
    pub compared: usize,
    /// Customers whose month would be another one, by code.
    pub differing: Vec<String>,
    /// Customers that cannot be compared, by code, and why.
    pub skipped: Vec<(String, String)>,
}

/// Compares every closed month of a period with what is known now, and keeps the differences: quantities by meter, and what they
/// come to. Nothing closed is touched; doing it again changes nothing.
///
/// # Errors
/// When the store fails.
pub fn correct_period<'a>(
    tenants: &'a Tenants,
    msp: &'a Msp,
    period: Period,
    progress: SharedProgress,
) -> Boxed<'a, Result<CorrectionReport, BillingError>> {
    Box::pin(async move {
        let mut report = CorrectionReport { period, compared: 0, differing: Vec::new(), skipped: Vec::new() };
        let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?;
        let closed = granary_metering::list_closed(&tx, period).await?;
        tx.commit().await?;
        let context = Context::load(tenants, msp, period).await?;
        let marks = tenants.list_retention_marks(msp.id).await?;
        progress.begin(&format!("comparing {period}"), closed.len() as u64);
        for customer in context.customers.iter().filter(|customer| closed.contains(&customer.id)) {
            progress.advance(1);
            let code = customer.code.to_string();
            if !has_evidence(&marks, customer.id, period) {
                report.skipped.push((code, "a rule of retention let go of what it was measured from".to_owned()));
                continue;
            }
            match correct_customer(tenants, &context, customer).await {
                Ok(Compared::Silent) => report.skipped.push((code, "it was estimated, and its control plane is still silent".to_owned())),
                Ok(compared) => {
                    report.compared += 1;
                    report.differing.extend((compared == Compared::Differs).then_some(code));
                }
                Err(error) => report.skipped.push((code, error.to_string())),
            }
        }
        progress.end();
        Ok(report)
    })
}

fn has_evidence(marks: &[RetentionMark], customer: CustomerId, period: Period) -> bool {
    let needed = granary_metering::evidence_from(period);
    let is_gone = |mark: &RetentionMark| EVIDENCE.contains(&mark.dataset.as_str()) && mark.kept_from > needed;
    !marks.iter().any(|mark| mark.customer_id == customer && is_gone(mark))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Compared {
    Same,
    Differs,
    /// What was estimated stands until the control plane speaks.
    Silent,
}

async fn correct_customer(tenants: &Tenants, context: &Context, customer: &Customer) -> Result<Compared, BillingError> {
    let (period, scope) = (context.period, MspScope::for_job(context.msp.clone(), ACTOR));
    let control = tenants.begin_msp(&scope).await?;
    let Some(closed) = granary_metering::closed_usage(&control, customer.id, period).await? else { return Ok(Compared::Same) };
    let planes = crate::closing::planes(&control, customer, period).await?;
    control.commit().await?;
    let tx = tenants.begin_tenant(&TenantScope::for_job(context.msp.clone(), customer.clone(), ACTOR)).await?;
    if closed.is_estimated && !granary_metering::examine(&tx, period, &planes).await?.silent.is_empty() {
        tx.rollback().await?;
        return Ok(Compared::Silent);
    }
    let now = granary_metering::remeasure(&tx, period).await?;
    let standing = store::lines::list_lines(&tx, period).await?.lines;
    let rerated = match context.agreement(customer) {
        Some(agreement) => {
            let coverage = agreement.standing.coverage(period);
            let usage = measured(&tx, context, &agreement, &coverage, coverage.billable_from, None).await?;
            rate(&rating_input(context, customer, coverage, &agreement, &usage))?
        }
        None => Vec::new(),
    };
    // The closed month's days stay as they are.
    tx.rollback().await?;
    let control = tenants.begin_msp(&scope).await?;
    granary_metering::write_corrections(&control, customer.id, &closed, &now).await?;
    let differs = write_entries(&control, customer, context, (&standing, &rerated)).await?;
    control.commit().await?;
    Ok(if differs || differs_in_usage(&closed, &now) { Compared::Differs } else { Compared::Same })
}

fn differs_in_usage(closed: &PeriodUsage, now: &PeriodUsage) -> bool {
    let bare = |usage: &PeriodUsage| PeriodUsage { api_calls: 0, is_estimated: false, ..usage.clone() };
    bare(closed) != bare(now)
}

/// Replaces the entries that are not chosen yet; tells whether money differs.
async fn write_entries(
    tx: &granary_tenants::MspTx,
    customer: &Customer,
    context: &Context,
    (standing, rerated): (&[RatedLine], &[RatedLine]),
) -> Result<bool, BillingError> {
    let period = context.period;
    store::corrections::lock(tx).await?;
    let known = store::corrections::list_entries(tx, customer.id, period).await?;
    let (settled, pending): (Vec<_>, Vec<_>) = known.into_iter().partition(|entry| entry.chosen_for.is_some());
    let invoice = store::invoices::find_invoice_of(tx, customer.id, period).await?;
    // A month of which nothing was billed has no invoice, and is taxed as its contract says.
    let agreed = context.agreement(customer).map_or(Decimal::ZERO, |agreement| agreement.terms.tax_percent);
    let tax_percent = invoice.map_or(agreed, |invoice| invoice.tax_percent);
    let found = differences(period, standing, rerated, &settled)?;
    let is_same = found.len() == pending.len()
        && found
            .iter()
            .zip(&pending)
            .all(|(found, entry)| (found.item, found.amount_minor, found.quantity) == (entry.item, entry.amount_minor, entry.quantity));
    if !is_same {
        // What differs has waited since it was found first.
        let since = pending.iter().map(|entry| entry.found_at).min().unwrap_or_else(|| tx.now());
        store::corrections::replace_pending(tx, customer.id, period, &found, tax_percent, since).await?;
    }
    Ok(!found.is_empty() || !settled.is_empty())
}

/// Returns a line for each item whose lines would be others now, less what was corrected before.
fn differences(
    period: Period,
    standing: &[RatedLine],
    rerated: &[RatedLine],
    settled: &[CorrectionEntry],
) -> Result<Vec<RatedLine>, BillingError> {
    let sums = |lines: &[RatedLine], item: Item| {
        let own = lines.iter().filter(|line| line.item == item);
        own.fold((Decimal::ZERO, 0_i64), |(quantity, amount), line| (quantity + line.quantity, amount.saturating_add(line.amount_minor)))
    };
    let mut found = Vec::new();
    for &item in Item::ALL.iter().filter(|item| **item != Item::Correction) {
        let (was, is) = (sums(standing, item), sums(rerated, item));
        let done = settled.iter().filter(|entry| entry.item == item);
        let done = done.fold((Decimal::ZERO, 0_i64), |sum, entry| (sum.0 + entry.quantity, sum.1.saturating_add(entry.amount_minor)));
        let (quantity, amount_minor) = (is.0 - was.0 - done.0, is.1.saturating_sub(was.1).saturating_sub(done.1));
        let Some(line) = rerated.iter().chain(standing).find(|line| line.item == item && amount_minor != 0) else { continue };
        let multiplies = line_amount(quantity, line.unit_price, line.currency)?.amount_minor == amount_minor;
        // What is printed multiplies: a difference that does not is one piece.
        let piece = Money::new(amount_minor, line.currency).to_decimal().abs();
        let (quantity, unit_price) = if multiplies { (quantity, line.unit_price) } else { (amount_minor.signum().into(), piece) };
        let description = format!("{} of {period}, corrected", item.title());
        found.push(RatedLine { item, description, quantity, unit_price, amount_minor, currency: line.currency, is_recurring: false });
    }
    Ok(found)
}

/// Returns which entries go out with a later month: those of the last three months; of an older one when they are a credit in all;
/// small amounts when they waited for three months, charges and credits of one month as sums of their own.
pub(crate) fn choose(pending: &[CorrectionEntry], later: Period, zone: &jiff::tz::TimeZone) -> Vec<Uuid> {
    let is_whole = |entry: &&CorrectionEntry| {
        let alike = pending.iter().filter(|other| {
            (other.customer_id, other.period, other.is_charge(), other.currency)
                == (entry.customer_id, entry.period, entry.is_charge(), entry.currency)
        });
        let sum: i64 = alike.map(|other| other.amount_minor.saturating_abs()).sum();
        let small_minor = SMALL_UNITS * 10_i64.pow(entry.currency.exponent());
        let has_waited = Period::containing(entry.found_at, zone).plus_months(SMALL_WAITS_MONTHS) <= later.next();
        sum >= small_minor || has_waited
    };
    // What goes the other way of an old month, such as the discount on more machines, goes only with what it belongs to.
    let is_credit_in_all = |entry: &CorrectionEntry| {
        let of_month = pending
            .iter()
            .filter(|other| (other.customer_id, other.period, other.currency) == (entry.customer_id, entry.period, entry.currency));
        of_month.map(|other| other.amount_minor).sum::<i64>() < 0
    };
    let is_in_time = |entry: &&CorrectionEntry| entry.period >= later.plus_months(-CHARGES_BACK_MONTHS) || is_credit_in_all(entry);
    pending.iter().filter(|entry| entry.period < later).filter(is_in_time).filter(is_whole).map(|entry| entry.id).collect()
}

/// Lists what later facts come to in money, for a closed period or for all of them.
///
/// # Errors
/// When the store fails.
pub fn list_entries<'a>(tx: &'a granary_tenants::MspTx, period: Option<Period>) -> Boxed<'a, Result<Vec<CorrectionEntry>, BillingError>> {
    Box::pin(async move { store::corrections::list_all(tx, period).await })
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;

    fn line(item: Item, quantity: i64, price: i64) -> RatedLine {
        RatedLine {
            item,
            description: String::new(),
            quantity: quantity.into(),
            unit_price: price.into(),
            amount_minor: quantity * price * 100,
            currency: Currency::USD,
            is_recurring: true,
        }
    }

    fn entry(period: &str, amount_minor: i64, found: &str) -> CorrectionEntry {
        CorrectionEntry {
            id: Uuid::now_v7(),
            customer_id: CustomerId::from(Uuid::nil()),
            period: period.parse().unwrap(),
            item: Item::MachineBackup,
            description: String::new(),
            quantity: Decimal::ONE,
            unit_price: Decimal::ONE,
            amount_minor,
            currency: Currency::USD,
            tax_percent: Decimal::ZERO,
            found_at: format!("{found}T12:00:00Z").parse().unwrap(),
            chosen_for: None,
            document_id: None,
        }
    }

    #[test]
    fn what_was_corrected_is_not_corrected_again() {
        let october = "2025-10".parse().unwrap();
        let was = [line(Item::MachineBackup, 3, 10), line(Item::MachineEnterprise, 2, 25)];
        let is = [line(Item::MachineBackup, 5, 10), line(Item::MachineEnterprise, 1, 25)];
        let found = differences(october, &was, &is, &[]).unwrap();
        assert_eq!(found.iter().map(|line| line.amount_minor).collect::<Vec<_>>(), [2_000, -2_500]);
        assert_eq!((found[0].quantity, found[0].unit_price), (2.into(), 10.into()));
        assert_eq!(found[0].description, "Machines, backup of 2025-10, corrected");
        let settled = CorrectionEntry { quantity: 2.into(), ..entry("2025-10", 2_000, "2025-11-10") };
        let left = differences(october, &was, &is, std::slice::from_ref(&settled)).unwrap();
        assert_eq!(left.iter().map(|line| line.item).collect::<Vec<_>>(), [Item::MachineEnterprise]);
        // The events are voided again: what was charged comes back.
        let back = differences(october, &was, &was, &[settled]).unwrap();
        assert_eq!(back.iter().map(|line| line.amount_minor).collect::<Vec<_>>(), [-2_000]);
        let gone = differences(october, &was, &[], &[]).unwrap();
        assert_eq!(gone.iter().map(|line| line.amount_minor).collect::<Vec<_>>(), [-3_000, -5_000]);
    }

    #[test]
    fn a_difference_that_does_not_multiply_is_one_piece() {
        let third = |quantity: &str, amount_minor| RatedLine {
            quantity: quantity.parse().unwrap(),
            amount_minor,
            ..line(Item::StorageOverage, 0, 10)
        };
        let found = differences("2025-10".parse().unwrap(), &[third("0.3334", 333)], &[third("0.6666", 667)], &[]).unwrap();
        assert_eq!((found[0].amount_minor, found[0].quantity, found[0].unit_price), (334, 1.into(), Decimal::new(334, 2)));
    }

    #[test]
    fn credits_go_always_charges_three_months_back_and_small_amounts_wait() {
        let (zone, november) = (TimeZone::UTC, "2025-11".parse().unwrap());
        let chosen = |entry: CorrectionEntry| !choose(&[entry], november, &zone).is_empty();
        assert!(chosen(entry("2025-10", 500, "2025-11-10")));
        assert!(!chosen(entry("2025-10", 499, "2025-11-10")), "under 5.00 waits");
        assert!(chosen(entry("2025-10", 499, "2025-09-10")), "but three months only");
        assert!(chosen(entry("2025-08", 500, "2025-11-10")));
        assert!(!chosen(entry("2025-07", 500, "2025-11-10")), "too old for a charge");
        assert!(chosen(entry("2024-07", -500, "2025-11-10")), "never for a credit");
        assert!(!chosen(entry("2025-11", 500, "2025-11-10")), "not with its own month");
        let two = [entry("2025-10", 300, "2025-11-10"), entry("2025-10", 200, "2025-11-10"), entry("2025-10", -300, "2025-11-10")];
        assert_eq!(choose(&two, november, &zone), [two[0].id, two[1].id]);
        // An old month that is no credit in all stays as it is: neither its charge goes out nor the discount on it.
        let old = |charge, credit| [entry("2025-06", charge, "2025-11-10"), entry("2025-06", credit, "2025-11-10")];
        assert!(choose(&old(5_000, -500), november, &zone).is_empty());
        assert!(choose(&old(1_500, -1_500), november, &zone).is_empty());
        assert_eq!(choose(&old(1_000, -1_500), november, &zone).len(), 2);
        let yen = CorrectionEntry { currency: "JPY".parse().unwrap(), ..entry("2025-10", 5, "2025-11-10") };
        assert!(chosen(yen));
    }
}
