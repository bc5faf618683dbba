//! The model in charge, its challenger, and what they say of a customer.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use crate::IntelligenceError;
use crate::churn::linear::sigmoid;
use crate::churn::split::split;
use crate::churn::{Calibration, Feature, LinearModel, Row, held, learned};
use crate::metrics::{Interval, roc_auc_interval};

/// The log-odds from which a reason is told: it raises the odds by a tenth. What weighs less does not stand out.
pub const TOLD_FROM_LOG_ODDS: f64 = 0.1;

/// What is said where no reason is told.
pub const NOTHING_STANDS_OUT: &str = "nothing stands out";

/// The share of the labelled periods that calibrates, and tells how good the model is.
const HELD_OUT: f64 = 0.35;

/// The three models, from the one that needs no departures to the one that needs many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelKind {
    /// Fixed weights of the health factors.
    Rule,
    /// The health factors, held to the rule.
    Held,
    /// All features, by linfa.
    Learned,
}

impl ModelKind {
    /// Returns the word as it is stored.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Held => "held",
            Self::Learned => "learned",
        }
    }

    /// Returns the model that so many departures put in charge.
    pub const fn in_charge(departures: usize) -> Self {
        match departures {
            0..20 => Self::Rule,
            20..=100 => Self::Held,
            _ => Self::Learned,
        }
    }

    const fn challenger(self) -> Option<Self> {
        match self {
            Self::Rule => Some(Self::Held),
            Self::Held => Some(Self::Learned),
            Self::Learned => None,
        }
    }

    /// Fits the model to rows with known labels.
    ///
    /// # Errors
    /// When there is nothing to learn from or the fit does not arrive; never for the rule.
    pub fn fit(self, rows: &[Row]) -> Result<LinearModel, IntelligenceError> {
        match self {
            Self::Rule => Ok(held::rule(rows)),
            Self::Held => held::fit(rows),
            Self::Learned => learned::fit(rows),
        }
    }
}

/// What a model was made from.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Evidence {
    /// Customers that gave notice within 90 days of some month learned from.
    pub departures: usize,
    pub customers: usize,
    pub rows: usize,
}

impl Evidence {
    /// Counts what rows hold.
    pub fn of(rows: &[Row]) -> Self {
        let labelled = || rows.iter().filter(|row| row.left.is_some());
        let left: BTreeSet<u32> = labelled().filter(|row| row.left == Some(true)).map(|row| row.customer).collect();
        let customers: BTreeSet<u32> = labelled().map(|row| row.customer).collect();
        Self { departures: left.len(), customers: customers.len(), rows: labelled().count() }
    }
}

/// A model with its calibration and how well it ranked months it had not seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Calibrated {
    pub kind: ModelKind,
    pub model: LinearModel,
    pub calibration: Calibration,
    /// None when the months held out have no departures, or too few months are known.
    pub auc: Option<Interval>,
}

/// The model in charge and the one that would like to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChurnModel {
    pub evidence: Evidence,
    pub champion: Calibrated,
    pub challenger: Option<Calibrated>,
}

/// One part of a score.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reason {
    pub factor: Feature,
    pub words: String,
    pub log_odds: f64,
}

/// What the model in charge says of a customer at a month's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    pub probability: f64,
    /// `base_log_odds` and all reasons add up to this.
    pub log_odds: f64,
    pub base_log_odds: f64,
    /// The heaviest first.
    pub reasons: Vec<Reason>,
    pub challenger_probability: Option<f64>,
}

/// Trains by evidence: rows with known labels decide which model is in charge.
///
/// # Errors
/// When the model in charge cannot be fitted; a challenger that cannot is left out.
pub fn train(rows: &[Row]) -> Result<ChurnModel, IntelligenceError> {
    let evidence = Evidence::of(rows);
    let kind = ModelKind::in_charge(evidence.departures);
    let champion = calibrated(kind, rows)?;
    let challenger = kind.challenger().filter(|_| evidence.departures > 0).and_then(|kind| calibrated(kind, rows).ok());
    Ok(ChurnModel { evidence, champion, challenger })
}

/// Fits on earlier months to calibrate and measure on later ones, then on all.
pub(crate) fn calibrated(kind: ModelKind, rows: &[Row]) -> Result<Calibrated, IntelligenceError> {
    let labelled: Vec<Row> = rows.iter().filter(|row| row.left.is_some()).cloned().collect();
    let (mut calibration, mut auc) = (Calibration::IDENTITY, None);
    if let Some(parts) = split(&labelled, HELD_OUT)
        && let Ok(earlier) = kind.fit(&parts.train)
    {
        let log_odds: Vec<f64> = parts.test.iter().map(|row| earlier.log_odds(row)).collect();
        let outcomes: Vec<bool> = parts.test.iter().map(|row| row.left == Some(true)).collect();
        let customers: Vec<u32> = parts.test.iter().map(|row| row.customer).collect();
        if kind != ModelKind::Rule {
            calibration = Calibration::fit(&log_odds, &outcomes)?;
        }
        auc = roc_auc_interval(&log_odds, &outcomes, &customers, &mut ChaCha8Rng::seed_from_u64(0));
    }
    let model = kind.fit(&labelled)?;
    if kind != ModelKind::Rule {
        let log_odds: Vec<f64> = labelled.iter().map(|row| model.log_odds(row)).collect();
        let outcomes: Vec<bool> = labelled.iter().map(|row| row.left == Some(true)).collect();
        calibration = calibration.leveled(&log_odds, &outcomes)?;
    }
    Ok(Calibrated { kind, model, calibration, auc })
}

impl ChurnModel {
    /// Says how far the model may be trusted.
    pub fn state(&self) -> String {
        let count = self.evidence.departures;
        let noun = if count == 1 { "departure" } else { "departures" };
        match self.champion.kind {
            ModelKind::Rule => format!("{count} {noun}, too few to learn"),
            ModelKind::Held => format!("{count} {noun}: held to the rule"),
            ModelKind::Learned => format!("{count} {noun}: learned"),
        }
    }

    /// Scores a row and explains it.
    pub fn score(&self, row: &Row) -> Score {
        let Calibrated { model, calibration, .. } = &self.champion;
        let base_log_odds = calibration.log_odds(model.intercept);
        let mut reasons: Vec<Reason> = model
            .features
            .iter()
            .zip(model.contributions(row))
            .map(|(feature, log_odds)| Reason { factor: *feature, words: feature.words(row), log_odds: calibration.slope * log_odds })
            .collect();
        // what has no data says nothing
        reasons.retain(|reason| reason.log_odds != 0.0);
        reasons.sort_by(|a, b| b.log_odds.abs().total_cmp(&a.log_odds.abs()));
        let log_odds = base_log_odds + reasons.iter().map(|reason| reason.log_odds).sum::<f64>();
        let challenger_probability =
            self.challenger.as_ref().map(|challenger| challenger.calibration.probability(challenger.model.log_odds(row)));
        Score { probability: sigmoid(log_odds), log_odds, base_log_odds, reasons, challenger_probability }
    }
}

impl Score {
    /// Returns the heaviest reason to expect notice, if any raises the odds by a tenth.
    pub fn top_reason(&self) -> &str {
        let heaviest = self.reasons.iter().find(|reason| reason.log_odds > TOLD_FROM_LOG_ODDS);
        heaviest.map_or(NOTHING_STANDS_OUT, |reason| &reason.words)
    }
}
