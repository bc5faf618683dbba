//! Two roads, one cent: a billed month recomputed from what happened.
//!
//! Billing goes from daily usage to lines. This room goes from the runs, cycles, tier assignments and storage samples in the
//! lake, with polars and an arithmetic of its own in integers, and compares: recomputed, rated, invoiced, paid. Where the
//! amounts differ, or a counted machine-day has no run behind it, it names the cause: which machine, which day, which line.
//!
//! Contracts, the state of customers and the MSP's zone and rule come from the catalog. Daily usage is read for one purpose
//! only: to say where the roads part. Nothing is written here, and nothing of `billing` is called to come to an amount.

mod error;
mod explain;
mod facts;
#[cfg(test)]
mod faults;
mod load;
mod price;
mod recount;
mod store;
mod terms;

use granary_foundation::Boxed;
use std::collections::{BTreeMap, HashMap};

use granary_billing::Residual;
use granary_tenants::{Granted, Msp, MspScope, ReadGrant, Tenants};
use granary_types::{Classify, CountingRule, Currency, CustomerId, ErrorKind, Period};
use granary_warehouse::Warehouse;
use serde::Serialize;

use crate::explain::Case;
use crate::facts::day_number;
use crate::load::{Loaded, load};
use crate::price::{CORRECTION, Line, Usage, in_force, lines, net_minor};
use crate::recount::{Counted, Disagreement, Ranks, Rule, Span, billed_ranks, count_machines, disagreements, stored_bytes_average};
use crate::store::DAYS_BEFORE;
use crate::terms::{Agreed, agreed, history};

pub use error::ReconciliationError;
pub use explain::{Cause, CauseKind};

/// What a month is recomputed from; a rule of retention may let go of it.
const EVIDENCE: [&str; 4] = ["backup_runs", "replication_cycles", "storage_samples", "machine_days"];

/// One customer's period on every road, net of tax but for what was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    pub customer_id: CustomerId,
    pub customer_code: String,
    pub currency: Currency,
    /// From the runs in the lake.
    pub recomputed_minor: i64,
    /// What the rated lines add up to.
    pub rated_minor: i64,
    /// What the invoice says.
    pub invoiced_minor: i64,
    /// What came in for the invoice, tax included.
    pub paid_minor: i64,
    /// What later documents charge for the month, or give back: lines of later invoices, and notes.
    pub corrected_minor: i64,
    /// Invoiced and corrected less recomputed; rated less recomputed while there is no invoice; zero while the period is open.
    pub difference_minor: i64,
    /// False when a rule of retention let go of what the month is recomputed from: what was rated then stands for it.
    pub has_evidence: bool,
    /// Every fault that was found, also one that changes no amount.
    pub causes: Vec<Cause>,
}

/// A period of an MSP, customer by customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reconciliation {
    pub period: Period,
    /// The version of the lake that was read.
    pub lake_version: i64,
    /// Whether the period was billed; an open one is recomputed only, and has no amounts to differ from.
    pub is_billed: bool,
    pub rows: Vec<Row>,
}

impl Reconciliation {
    /// Tells whether every amount agrees and no fault was found.
    pub fn is_clean(&self) -> bool {
        self.differing() == 0
    }

    /// Counts the customers with a difference or a fault.
    pub fn differing(&self) -> usize {
        self.rows.iter().filter(|row| row.difference_minor != 0 || !row.causes.is_empty()).count()
    }
}

/// Recomputes a period for the customers of a grant and compares it with lines, invoices and payments as they are in the lake.
///
/// # Errors
/// When the grant is for another MSP, or the lake cannot be read.
pub fn reconcile<'a>(
    warehouse: &'a Warehouse,
    grant: &'a ReadGrant,
    tenants: &'a Tenants,
    msp: &'a Msp,
    period: Period,
) -> Boxed<'a, Result<Reconciliation, ReconciliationError>> {
    Box::pin(async move {
        if grant.msp != msp.id {
            return Err(ReconciliationError::OtherMsp);
        }
        let session = warehouse.session(grant).await?;
        let span = Span::of(period);
        // The list and the book belong to no customer: a reader of some customers still needs them, and gets amounts only.
        let everything = ReadGrant { customers: Granted::All, ..grant.clone() };
        let loaded = load(&session, &warehouse.session(&everything).await?, period, span).await?;
        let history = history(tenants.list_status_changes(msp.id).await?, &msp.time_zone);
        // Marked before a row goes: read after the lake, they explain whatever is missing there.
        let marks = tenants.list_retention_marks(msp.id).await?;
        let contracts = tenants.list_contracts(msp.id).await?;
        let corrected = corrected(tenants, msp, period).await?;
        let mut customers = tenants.list_customers(msp.id).await?;
        customers.retain(|customer| grant.customers.includes(customer.id));
        customers.sort_by(|one, two| one.code.cmp(&two.code));
        let mut evidence_from: HashMap<CustomerId, i32> = HashMap::new();
        for mark in marks.into_iter().filter(|mark| EVIDENCE.contains(&mark.dataset.as_str())) {
            let from = evidence_from.entry(mark.customer_id).or_insert(i32::MIN);
            *from = (*from).max(day_number(mark.kept_from));
        }
        let has_evidence = |id: CustomerId| evidence_from.get(&id).is_none_or(|from| *from <= span.first - DAYS_BEFORE);
        let terms_of = |id: CustomerId| agreed(&contracts, &loaded.limits, id, history.get(&id).map_or(&[], Vec::as_slice), period);
        let parties: Vec<Party> = customers
            .iter()
            .map(|customer| Party {
                id: customer.id,
                code: customer.code.to_string(),
                agreed: terms_of(customer.id),
                has_evidence: has_evidence(customer.id),
                corrected_minor: corrected.get(&customer.id).copied().unwrap_or(0),
            })
            .collect();
        let (rule, currency, is_billed) = (rule_of(msp.counting_rule), msp.currency, loaded.is_billed);
        // Arithmetic does not belong on a thread that answers requests, and polars refuses one.
        let compared = tokio::task::spawn_blocking(move || compare(&loaded, &parties, span, rule, currency)).await;
        let rows = compared.map_err(|_| ReconciliationError::Stopped)??;
        Ok(Reconciliation { period, lake_version: session.version(), is_billed, rows })
    })
}

impl Reconciliation {
    /// Returns what closing asks: where the two roads do not meet; nothing while the lake holds no drafts of the period.
    pub fn residuals(&self) -> Vec<Residual> {
        let rows = self.rows.iter().filter(|_| self.is_billed);
        let residual = |row: &Row| Residual {
            customer_id: row.customer_id,
            invoiced_minor: row.invoiced_minor,
            difference_minor: row.difference_minor,
            causes: row.causes.len(),
        };
        rows.map(residual).collect()
    }
}

/// Recomputes a period for its close; nothing is known of a period that the lake does not hold yet.
///
/// # Errors
/// As [`reconcile`].
pub fn residuals<'a>(
    warehouse: &'a Warehouse,
    grant: &'a ReadGrant,
    tenants: &'a Tenants,
    msp: &'a Msp,
    period: Period,
) -> Boxed<'a, Result<Vec<Residual>, ReconciliationError>> {
    Box::pin(async move {
        match reconcile(warehouse, grant, tenants, msp, period).await {
            Ok(found) => Ok(found.residuals()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    })
}

/// Returns what documents of later months say of a period, by customer.
async fn corrected(tenants: &Tenants, msp: &Msp, period: Period) -> Result<HashMap<CustomerId, i64>, ReconciliationError> {
    let tx = tenants.begin_msp(&MspScope::for_job(msp.clone(), "reconciliation")).await?;
    let entries = granary_billing::list_entries(&tx, Some(period)).await?;
    tx.commit().await?;
    let mut corrected = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.document_id.is_some()) {
        *corrected.entry(entry.customer_id).or_default() += entry.amount_minor;
    }
    Ok(corrected)
}

/// A customer and its terms in the period, if it has any.
#[derive(Debug)]
struct Party {
    id: CustomerId,
    code: String,
    agreed: Option<Agreed>,
    has_evidence: bool,
    corrected_minor: i64,
}

/// Recomputes and compares every customer that has an amount on either road.
fn compare(loaded: &Loaded, parties: &[Party], span: Span, rule: Rule, currency: Currency) -> Result<Vec<Row>, ReconciliationError> {
    let from = |party: &Party| Some((party.id.to_string(), party.agreed.as_ref()?.billed_from?));
    let billed_from: HashMap<String, i32> = parties.iter().filter_map(from).collect();
    let counted = count_machines(&loaded.facts, span, &billed_from)?;
    let metered = billed_ranks(&loaded.facts.machine_days, span, &billed_from)?;
    let stored = stored_bytes_average(&loaded.facts, span)?;
    let mut differing: BTreeMap<String, Vec<Disagreement>> = BTreeMap::new();
    for one in disagreements(&loaded.facts, span)? {
        differing.entry(one.customer.clone()).or_default().push(one);
    }
    let none = Counted::default();
    let rows = parties.iter().map(|party| {
        let key = party.id.to_string();
        let recounted = Recounted {
            counted: counted.get(&key).unwrap_or(&none),
            metered: metered.get(&key).unwrap_or(&none.machines),
            stored_bytes_average: stored.get(&key).copied().unwrap_or(0),
            disagreements: differing.get(&key).map_or(&[], Vec::as_slice),
        };
        row(loaded, party, &key, &recounted, span, rule, currency)
    });
    Ok(rows.flatten().collect())
}

/// What was counted again for one customer.
struct Recounted<'a> {
    counted: &'a Counted,
    metered: &'a BTreeMap<String, i32>,
    stored_bytes_average: i64,
    disagreements: &'a [Disagreement],
}

fn row(loaded: &Loaded, party: &Party, key: &str, recounted: &Recounted<'_>, span: Span, rule: Rule, currency: Currency) -> Option<Row> {
    let terms = party.agreed.as_ref().map(|agreed| &agreed.terms);
    let currency = terms.map_or(currency, |terms| terms.currency);
    let price = |item: &str| in_force(&loaded.prices, key, item, currency.code(), span.first);
    let is_trial = terms.is_some_and(|terms| terms.billable_days == 0);
    let mut recomputed = terms.map_or_else(Vec::new, |terms| {
        let worth =
            |ranks: Ranks| worth_of(ranks, |item| if is_trial { list_price(&loaded.prices, item, currency, span) } else { price(item) });
        let machines_e4 = recounted.counted.quantity_e4(rule, span, &worth);
        lines(&Usage { machines_e4, stored_bytes_average: recounted.stored_bytes_average }, terms, &price)
    });
    let rated = loaded.lines.get(key).map_or(&[][..], Vec::as_slice);
    let carried = rated.iter().filter(|line| line.item == CORRECTION).map(|line| Line {
        item: CORRECTION,
        is_recurring: line.is_recurring,
        quantity_e4: line.quantity_e4,
        price_e8: line.price_e8,
        amount_minor: line.amount_minor,
    });
    recomputed.extend(carried);
    let invoice = loaded.invoices.get(key).copied();
    if recomputed.is_empty() && rated.is_empty() && invoice.is_none() {
        return None;
    }
    let case = Case {
        currency,
        rule,
        tax_e3: terms.map_or(0, |terms| terms.tax_e3),
        recomputed: &recomputed,
        rated,
        invoice,
        is_billed: loaded.is_billed,
        disagreements: recounted.disagreements,
        counted: &recounted.counted.machines,
        metered: recounted.metered,
        names: &loaded.names,
        price_of: &|item| if is_trial { 0 } else { price(item).unwrap_or(0) },
    };
    let rated_minor = rated.iter().map(|line| line.amount_minor).sum();
    let recomputed_minor = if party.has_evidence { net_minor(&recomputed) } else { rated_minor };
    let invoiced_minor = invoice.map_or(0, |invoice| invoice.net_minor);
    let corrected_minor = party.corrected_minor;
    let billed_minor = invoice.map_or(rated_minor, |invoice| invoice.net_minor) + corrected_minor;
    let difference_minor = if loaded.is_billed { billed_minor - recomputed_minor } else { 0 };
    // What the month was closed without is billed by now: that is no fault of its lines.
    let is_settled = corrected_minor != 0 && difference_minor == 0;
    Some(Row {
        customer_id: party.id,
        customer_code: party.code.clone(),
        currency,
        recomputed_minor,
        rated_minor,
        invoiced_minor,
        paid_minor: loaded.paid.get(key).copied().unwrap_or(0),
        corrected_minor,
        difference_minor,
        has_evidence: party.has_evidence,
        causes: if party.has_evidence && !is_settled { case.causes() } else { case.document_causes() },
    })
}

/// What one day's machines cost, to find the peak day.
fn worth_of(ranks: Ranks, price: impl Fn(&str) -> Option<i128>) -> i128 {
    let worth = price::MACHINE_ITEMS.iter().zip(ranks).map(|(item, count)| price(item).unwrap_or(0) * i128::from(count));
    worth.sum()
}

fn list_price(prices: &[price::PriceVersion], item: &str, currency: Currency, span: Span) -> Option<i128> {
    let list: Vec<_> = prices.iter().filter(|price| price.is_list).cloned().collect();
    in_force(&list, "", item, currency.code(), span.first)
}

fn rule_of(rule: CountingRule) -> Rule {
    match rule {
        CountingRule::DistinctInPeriod => Rule::DistinctInPeriod,
        CountingRule::AverageDaily => Rule::AverageDaily,
        CountingRule::PeakDaily => Rule::PeakDaily,
        CountingRule::LastDay => Rule::LastDay,
    }
}
