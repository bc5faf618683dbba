//! The logistic model of linfa, with its three traps guarded: which class a probability is of, fits that did not arrive, and
//! inputs that are not on one scale. (The third known trap, its ROC area, is avoided by having our own.)

use linfa::Dataset;
use linfa::traits::Fit;
use linfa_logistic::LogisticRegression;
use ndarray::{Array1, Array2};

use crate::IntelligenceError;
use crate::churn::linear::{inputs, sigmoid};
use crate::churn::{Feature, LinearModel, Row, Scale};

/// The ridge penalty on standardised features; three times ten, since three months share a label.
const PENALTY: f64 = 30.0;

/// Fits all features.
///
/// # Errors
/// When all outcomes are alike, or the fit did not arrive.
pub(crate) fn fit(rows: &[Row]) -> Result<LinearModel, IntelligenceError> {
    let labelled: Vec<(&Row, bool)> = rows.iter().filter_map(|row| row.left.map(|left| (row, left))).collect();
    let features: Vec<Feature> = Feature::ALL.to_vec();
    let scales: Vec<Scale> = features.iter().map(|feature| scale_of(*feature, rows)).collect();
    let cells: Vec<f64> = labelled.iter().flat_map(|(row, _)| inputs(&features, &scales, row)).collect();
    let outcomes: Vec<bool> = labelled.iter().map(|(_, left)| *left).collect();
    let (weights, intercept) = logistic(cells, &outcomes, features.len(), PENALTY, 500)?;
    Ok(LinearModel { features, scales, weights, intercept })
}

fn scale_of(feature: Feature, rows: &[Row]) -> Scale {
    let known: Vec<f64> = rows.iter().filter_map(|row| row.features[feature.index()]).collect();
    let center = crate::metrics::mean(known.iter().copied());
    let spread = crate::metrics::mean(known.iter().map(|value| (value - center).powi(2))).sqrt();
    Scale { center, spread: if spread > 1e-9 { spread } else { 1.0 } }
}

/// Fits a logistic model of `true` on rows of `width` cells; returns weights and intercept.
///
/// # Errors
/// When all outcomes are alike, or the gradient at what linfa returns is not zero: it says nothing when it gives up.
pub(crate) fn logistic(
    cells: Vec<f64>,
    outcomes: &[bool],
    width: usize,
    penalty: f64,
    iterations: u64,
) -> Result<(Vec<f64>, f64), IntelligenceError> {
    if outcomes.iter().all(|outcome| *outcome == outcomes[0]) {
        return Err(IntelligenceError::OneClass);
    }
    let records = Array2::from_shape_vec((outcomes.len(), width), cells).map_err(|_| IntelligenceError::NotConverged)?;
    let dataset = Dataset::new(records, Array1::from(outcomes.to_vec()));
    let fitted = LogisticRegression::default()
        .alpha(penalty)
        .max_iterations(iterations)
        .gradient_tolerance(1e-6)
        .fit(&dataset)
        .map_err(|_| IntelligenceError::NotConverged)?;
    // linfa gives the probability of the more frequent class, whichever that is
    let sign = if fitted.labels().pos.class { 1.0 } else { -1.0 };
    let weights: Vec<f64> = fitted.params().iter().map(|weight| sign * weight).collect();
    let intercept = sign * fitted.intercept();
    let mut gradient: Vec<f64> = weights.iter().map(|weight| penalty * weight).collect();
    gradient.push(0.0);
    for (row, outcome) in dataset.records.rows().into_iter().zip(outcomes) {
        let log_odds = intercept + row.iter().zip(&weights).map(|(cell, weight)| cell * weight).sum::<f64>();
        let residual = sigmoid(log_odds) - f64::from(u8::from(*outcome));
        row.iter().chain([&1.0]).zip(&mut gradient).for_each(|(cell, slope)| *slope += residual * cell);
    }
    let has_arrived = gradient.iter().all(|slope| slope.abs() <= 1e-4 * outcomes.len() as f64 + 1e-3);
    has_arrived.then_some((weights, intercept)).ok_or(IntelligenceError::NotConverged)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One feature that raises the chance; `share` of the rows are `true`.
    fn toy(share: f64) -> (Vec<f64>, Vec<bool>) {
        let cells: Vec<f64> = (0..200).map(|row| f64::from(row % 20) / 10.0 - 1.0).collect();
        let outcomes = (0..200).map(|row| f64::from(row % 20) + f64::from(row % 7) * 0.8 > 22.0 * (1.0 - share)).collect();
        (cells, outcomes)
    }

    #[test]
    fn the_weight_points_to_departure_whichever_class_is_larger() {
        for share in [0.2, 0.5, 0.8] {
            let (cells, outcomes) = toy(share);
            let (weights, intercept) = logistic(cells.clone(), &outcomes, 1, 1.0, 500).unwrap();
            assert!(weights[0] > 0.5, "at {share} the weight is {}", weights[0]);
            let said = crate::metrics::mean(cells.iter().map(|cell| sigmoid(intercept + weights[0] * cell)));
            assert!((said - crate::metrics::base_rate(&outcomes)).abs() < 0.01, "the mean probability is the base rate");
        }
    }

    #[test]
    fn a_fit_that_did_not_arrive_is_an_error() {
        let (cells, outcomes) = toy(0.3);
        let wide: Vec<f64> = cells.iter().flat_map(|cell| [*cell * 1e4, cell.powi(2)]).collect();
        assert!(matches!(logistic(wide, &outcomes, 2, 1e-9, 2), Err(IntelligenceError::NotConverged)));
    }

    #[test]
    fn one_class_teaches_nothing() {
        assert!(matches!(logistic(vec![0.0, 1.0], &[false, false], 1, 1.0, 10), Err(IntelligenceError::OneClass)));
    }

    #[test]
    fn linfa_and_our_newton_agree_on_the_same_penalty() {
        let (cells, outcomes) = toy(0.3);
        let (weights, intercept) = logistic(cells.clone(), &outcomes, 1, 2.0, 500).unwrap();
        let rows: Vec<(Vec<f64>, f64)> = cells.iter().zip(&outcomes).map(|(cell, y)| (vec![*cell], f64::from(u8::from(*y)))).collect();
        let own = super::super::held::newton(&rows, &[0.0, 0.0], &[2.0, 0.0]).unwrap();
        assert!((own[0] - weights[0]).abs() < 1e-3 && (own[1] - intercept).abs() < 1e-3, "{own:?} {weights:?} {intercept}");
    }
}
