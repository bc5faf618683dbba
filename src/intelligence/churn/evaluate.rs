//! How good the models are on months they have not seen, beside what costs nothing.

use granary_types::Period;
use jiff::civil::Date;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::IntelligenceError;
use crate::churn::model::{Calibrated, calibrated};
use crate::churn::split::{Split, split};
use crate::churn::{Evidence, ModelKind, Row, rows};
use crate::health;
use crate::metrics::{self, CalibrationBin, Interval};
use crate::observation::CustomerHistory;

/// The last third of the labelled periods is the test.
const TESTED: f64 = 0.34;

/// One model, or one of the things that a model must beat.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelQuality {
    pub name: &'static str,
    pub is_in_charge: bool,
    /// None for what ranks nobody.
    pub roc_auc: Option<Interval>,
    pub pr_auc: Option<f64>,
    pub brier: Option<f64>,
    pub accuracy: Option<f64>,
    pub top_decile_lift: Option<f64>,
    /// Departures that came, over departures that were said; 1 is right.
    pub observed_to_expected: Option<f64>,
    pub calibration: Vec<CalibrationBin>,
}

/// An out-of-time evaluation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evaluation {
    pub customers: usize,
    pub tested_from: Period,
    pub learned_from: Evidence,
    pub tested_on: Evidence,
    /// The share of tested customer-months that notice followed within 90 days.
    pub base_rate: f64,
    /// The model in charge first.
    pub models: Vec<ModelQuality>,
}

impl Evaluation {
    /// Returns the quality of the model in charge.
    pub fn in_charge(&self) -> Option<&ModelQuality> {
        self.models.iter().find(|model| model.is_in_charge)
    }
}

/// Evaluates every model on a portfolio's later months.
///
/// # Errors
/// When there are too few months, or nobody left in the earlier ones.
pub fn evaluate(histories: &[CustomerHistory], known_until: Date, seed: u64) -> Result<Evaluation, IntelligenceError> {
    let all = rows(histories, known_until);
    let months = histories.iter().map(|history| history.months.len()).max().unwrap_or(0);
    let parts = split(&all, TESTED).ok_or(IntelligenceError::TooFewMonths { months })?;
    let learned_from = Evidence::of(&parts.train);
    let kind = ModelKind::in_charge(learned_from.departures);
    let mut models = Vec::new();
    for candidate in [ModelKind::Learned, ModelKind::Held, ModelKind::Rule] {
        // what cannot be fitted is left out, unless it is in charge
        match calibrated(candidate, &parts.train) {
            Ok(model) => models.push(quality_of(&model, candidate == kind, &parts, seed)),
            Err(error) if candidate == kind => return Err(error),
            Err(_) => {}
        }
    }
    models.sort_by_key(|model| !model.is_in_charge);
    let outcomes: Vec<bool> = parts.test.iter().map(|row| row.left == Some(true)).collect();
    let base_rate = metrics::base_rate(&outcomes);
    models.push(health_score(&parts.test, &outcomes, seed));
    let nobody = vec![0.0; outcomes.len()];
    models.push(ModelQuality {
        name: "nobody churns",
        is_in_charge: false,
        roc_auc: None,
        pr_auc: None,
        brier: Some(metrics::brier(&nobody, &outcomes)),
        accuracy: Some(metrics::accuracy(&nobody, &outcomes)),
        top_decile_lift: None,
        observed_to_expected: None,
        calibration: Vec::new(),
    });
    Ok(Evaluation {
        customers: histories.len(),
        tested_from: parts.tested_from,
        learned_from,
        tested_on: Evidence::of(&parts.test),
        base_rate,
        models,
    })
}

fn quality_of(model: &Calibrated, is_in_charge: bool, parts: &Split, seed: u64) -> ModelQuality {
    let said: Vec<f64> = parts.test.iter().map(|row| model.calibration.probability(model.model.log_odds(row))).collect();
    let outcomes: Vec<bool> = parts.test.iter().map(|row| row.left == Some(true)).collect();
    let expected: f64 = said.iter().sum();
    let observed = outcomes.iter().filter(|left| **left).count() as f64;
    ModelQuality {
        name: model.kind.as_str(),
        is_in_charge,
        roc_auc: interval(&said, &outcomes, &parts.test, seed),
        pr_auc: metrics::pr_auc(&said, &outcomes),
        brier: Some(metrics::brier(&said, &outcomes)),
        accuracy: Some(metrics::accuracy(&said, &outcomes)),
        top_decile_lift: metrics::top_decile_lift(&said, &outcomes),
        observed_to_expected: (expected > 0.0).then(|| observed / expected),
        calibration: metrics::calibration(&said, &outcomes, 5),
    }
}

/// The health score as a ranking: the lower, the sooner gone. It is no probability.
fn health_score(rows: &[Row], outcomes: &[bool], seed: u64) -> ModelQuality {
    let ill: Vec<f64> = rows.iter().map(|row| health::score(&row.values).score.map_or(-60.0, |score| -f64::from(score))).collect();
    ModelQuality {
        name: "health score",
        is_in_charge: false,
        roc_auc: interval(&ill, outcomes, rows, seed),
        pr_auc: metrics::pr_auc(&ill, outcomes),
        brier: None,
        accuracy: None,
        top_decile_lift: metrics::top_decile_lift(&ill, outcomes),
        observed_to_expected: None,
        calibration: Vec::new(),
    }
}

fn interval(scores: &[f64], outcomes: &[bool], rows: &[Row], seed: u64) -> Option<Interval> {
    let customers: Vec<u32> = rows.iter().map(|row| row.customer).collect();
    metrics::roc_auc_interval(scores, outcomes, &customers, &mut ChaCha8Rng::seed_from_u64(seed))
}
