//! Scoring an MSP: reads the warehouse, trains by evidence, publishes health and churn of its closed months.

use granary_foundation::Boxed;
use granary_lake::{Lake, Publication, arrow_schema};
use granary_tenants::{Granted, Msp, ReadGrant, Tenants};
use granary_types::{Period, Role, day_of};
use granary_warehouse::Warehouse;
use jiff::ToSpan;
use jiff::civil::Date;
use serde::Serialize;

use crate::IntelligenceError;
use crate::churn::{self, ChurnModel, Row, Score};
use crate::datasets::{CHURN_SCORES, HEALTH_SCORES};
use crate::health::{Allowance, HealthScore, explain_change, score_history};
use crate::metrics::{Interval, mean};
use crate::observation::CustomerHistory;
use crate::portfolio::{Catalog, Known, Overdue, histories};
use crate::publication::{churn_batch, health_batch};
use crate::store::list_inputs;

/// Periods that are published, the newest included.
const PERIODS: i32 = 18;

/// What a scoring did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    pub as_of: Period,
    pub periods: usize,
    pub health_scores: usize,
    pub churn_scores: usize,
    /// The model in charge, and how far it may be trusted.
    pub model: &'static str,
    pub state: String,
    pub departures: usize,
    /// How well the model in charge ranked months that it had not seen.
    pub auc: Option<Interval>,
    pub challenger: Option<&'static str>,
    pub challenger_auc: Option<Interval>,
    /// The version of the lake that holds the scores.
    pub version: i64,
}

/// A health score with what stands beside it.
#[derive(Debug)]
pub(crate) struct HealthRow<'a> {
    pub(crate) history: &'a CustomerHistory,
    pub(crate) period: Period,
    pub(crate) score: HealthScore,
    pub(crate) previous: Option<u32>,
    pub(crate) explanation: String,
    pub(crate) overdue: Overdue,
}

/// A churn score with its place among the others of its period.
#[derive(Debug)]
pub(crate) struct ChurnRow<'a> {
    pub(crate) history: &'a CustomerHistory,
    pub(crate) period: Period,
    pub(crate) score: Score,
    pub(crate) risk: &'static str,
}

/// Trains on what is known of an MSP today.
///
/// # Errors
/// When warehouse or catalog cannot be read, or the model in charge does not converge.
pub fn train_msp<'a>(warehouse: &'a Warehouse, tenants: &'a Tenants, msp: &'a Msp) -> Boxed<'a, Result<ChurnModel, IntelligenceError>> {
    Box::pin(async move {
        let today = Period::containing(tenants.clock().now(), &msp.time_zone);
        let known = read(warehouse, tenants, msp, ended(tenants, msp, today)).await?;
        churn::train(&churn::rows(&known.histories, known_until(tenants, msp)))
    })
}

/// Scores every period up to `as_of`, at most eighteen, and publishes them as one version of the lake. A period that has not
/// ended is not scored: half a month of tickets would look like peace.
///
/// The churn model is trained on what is known today, and says the past again with that; a period's features never look past
/// its end. Months that come out as before are not written again.
///
/// # Errors
/// When warehouse, catalog or lake fail, or the model in charge does not converge.
pub fn score_msp<'a>(
    warehouse: &'a Warehouse,
    lake: &'a Lake,
    tenants: &'a Tenants,
    msp: &'a Msp,
    as_of: Period,
) -> Boxed<'a, Result<Summary, IntelligenceError>> {
    Box::pin(async move {
        let as_of = ended(tenants, msp, as_of);
        let known = read(warehouse, tenants, msp, as_of).await?;
        let rows = churn::rows(&known.histories, known_until(tenants, msp));
        let model = churn::train(&rows)?;
        let (mut publications, mut health_count, mut churn_count) = (Vec::new(), 0, 0);
        let health = health_rows(&known);
        let mut periods = 0;
        for period in (0..PERIODS).map(|back| as_of.plus_months(-back)) {
            let health: Vec<&HealthRow<'_>> = health.iter().filter(|row| row.period == period).collect();
            let churn = churn_rows(&known, &rows, &model, period);
            if health.is_empty() && churn.is_empty() {
                continue;
            }
            periods += 1;
            health_count += health.len();
            churn_count += churn.len();
            let month = period.to_string();
            let publication = |dataset, batch| Publication {
                dataset,
                month: month.clone(),
                schema: arrow::array::RecordBatch::schema(&batch),
                batches: vec![batch],
            };
            publications.push(publication(HEALTH_SCORES.name.to_owned(), health_batch(arrow_schema(&HEALTH_SCORES), &health)?));
            publications.push(publication(CHURN_SCORES.name.to_owned(), churn_batch(arrow_schema(&CHURN_SCORES), &churn, &model)?));
        }
        let version = lake.publish_all(msp.id, publications, "scores").await?;
        Ok(Summary {
            as_of,
            periods,
            health_scores: health_count,
            churn_scores: churn_count,
            model: model.champion.kind.as_str(),
            state: model.state(),
            departures: model.evidence.departures,
            auc: model.champion.auc,
            challenger: model.challenger.as_ref().map(|challenger| challenger.kind.as_str()),
            challenger_auc: model.challenger.as_ref().and_then(|challenger| challenger.auc),
            version,
        })
    })
}

async fn read(warehouse: &Warehouse, tenants: &Tenants, msp: &Msp, as_of: Period) -> Result<Known, IntelligenceError> {
    let grant = ReadGrant { msp: msp.id, customers: Granted::All, role: Role::OperatorAdmin, can_read_billing: true };
    let session = warehouse.session(&grant).await?;
    let inputs = list_inputs(&session).await?;
    let catalog = Catalog {
        zone: msp.time_zone.clone(),
        customers: tenants.list_customers(msp.id).await?,
        contracts: tenants.list_contracts(msp.id).await?,
        changes: tenants.list_status_changes(msp.id).await?,
    };
    Ok(histories(&catalog, &inputs, as_of, known_until(tenants, msp)))
}

/// Returns the last day of which everything is known: yesterday, by the MSP's clock.
fn known_until(tenants: &Tenants, msp: &Msp) -> Date {
    day_of(tenants.clock().now(), &msp.time_zone).saturating_sub(1.day())
}

/// Returns the period, or the last one that has ended.
fn ended(tenants: &Tenants, msp: &Msp, period: Period) -> Period {
    period.min(Period::containing(tenants.clock().now(), &msp.time_zone).previous())
}

/// Scores the health of every month in which a customer was active at the end.
fn health_rows(known: &Known) -> Vec<HealthRow<'_>> {
    let allowance = Allowance::of(&known.histories);
    let mut rows = Vec::new();
    for history in &known.histories {
        let scores = score_history(history, &allowance);
        for (index, (month, score)) in history.months.iter().zip(&scores).enumerate() {
            let last = index.checked_sub(1).and_then(|index| scores.get(index));
            rows.push(HealthRow {
                history,
                period: month.period,
                score: score.clone(),
                previous: last.and_then(|last| last.score),
                explanation: explain_change(last, score),
                overdue: known.overdue.get(&(history.customer.clone(), month.period)).copied().unwrap_or_default(),
            });
        }
    }
    rows.sort_by(|a, b| a.history.code.cmp(&b.history.code));
    rows
}

fn churn_rows<'a>(known: &'a Known, rows: &[Row], model: &ChurnModel, period: Period) -> Vec<ChurnRow<'a>> {
    let scored: Vec<(&CustomerHistory, Score)> = rows
        .iter()
        .filter(|row| row.period == period)
        .filter_map(|row| known.histories.get(row.customer as usize).map(|history| (history, model.score(row))))
        .collect();
    let usual = mean(scored.iter().map(|(_, score)| score.probability));
    let mut rows: Vec<ChurnRow<'a>> =
        scored.into_iter().map(|(history, score)| ChurnRow { history, period, risk: risk(score.probability, usual), score }).collect();
    rows.sort_by(|a, b| a.history.code.cmp(&b.history.code));
    rows
}

/// Twice the mean is high, a quarter above it medium.
fn risk(probability: f64, usual: f64) -> &'static str {
    if probability >= 2.0 * usual {
        "high"
    } else if probability >= 1.25 * usual {
        "medium"
    } else {
        "low"
    }
}
