//! A model that is a weighted sum: its reasons add up to its log-odds by construction.

use serde::{Deserialize, Serialize};

use crate::churn::{Feature, Row};

/// How a feature enters: `(value - center) / spread`; without data it enters as the center and says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Scale {
    pub center: f64,
    pub spread: f64,
}

/// Log-odds as an intercept plus a weight per feature.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearModel {
    pub features: Vec<Feature>,
    pub scales: Vec<Scale>,
    pub weights: Vec<f64>,
    pub intercept: f64,
}

impl LinearModel {
    /// Returns a row as the model sees it.
    pub fn inputs(&self, row: &Row) -> Vec<f64> {
        inputs(&self.features, &self.scales, row)
    }

    /// Returns what each feature adds to the log-odds.
    pub fn contributions(&self, row: &Row) -> Vec<f64> {
        self.inputs(row).iter().zip(&self.weights).map(|(input, weight)| input * weight).collect()
    }

    /// Returns the log-odds of notice.
    pub fn log_odds(&self, row: &Row) -> f64 {
        self.intercept + self.contributions(row).iter().sum::<f64>()
    }
}

pub(crate) fn inputs(features: &[Feature], scales: &[Scale], row: &Row) -> Vec<f64> {
    let input =
        |(feature, scale): (&Feature, &Scale)| row.features[feature.index()].map_or(0.0, |value| (value - scale.center) / scale.spread);
    features.iter().zip(scales).map(input).collect()
}

/// The logistic function.
pub(crate) fn sigmoid(log_odds: f64) -> f64 {
    1.0 / (1.0 + (-log_odds).exp())
}

/// The inverse of [`sigmoid`].
pub(crate) fn logit(probability: f64) -> f64 {
    (probability / (1.0 - probability)).ln()
}
