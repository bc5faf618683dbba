//! A logistic model that is held to a prior: Newton's method on the log-likelihood less `strength / 2` × the squared distance
//! from the prior's weights. With few departures it stays at the rule; with many it goes where the data goes.

use crate::IntelligenceError;
use crate::churn::linear::{inputs, logit, sigmoid};
use crate::churn::{Feature, LinearModel, Row, Scale};
use crate::metrics::base_rate;

/// What the rule says of each health factor: a full factor lowers the log-odds by one against an empty one.
const RULE_WEIGHT: f64 = -1.0;
/// The share of points at which the rule says nothing.
const RULE_CENTER: f64 = 0.7;
/// Four per factor, times three, since the labels of three consecutive months are nearly the same.
const STRENGTH: f64 = 12.0;
/// The share of customers that give notice within 90 days, where nothing is known: 12 % a year.
const USUAL_RATE: f64 = 0.032;
/// How many customer-months the usual rate is worth.
const USUAL_WORTH: f64 = 300.0;
const MOST_STEPS: usize = 50;

/// Returns the fixed rule with the portfolio's base rate.
pub(crate) fn rule(rows: &[Row]) -> LinearModel {
    let outcomes: Vec<bool> = rows.iter().filter_map(|row| row.left).collect();
    let count = outcomes.len() as f64;
    let rate = (base_rate(&outcomes) * count + USUAL_RATE * USUAL_WORTH) / (count + USUAL_WORTH);
    let features = Feature::FACTORS.to_vec();
    let scales = vec![Scale { center: RULE_CENTER, spread: 1.0 }; features.len()];
    let weights = vec![RULE_WEIGHT; features.len()];
    let mut model = LinearModel { features, scales, weights, intercept: logit(rate) };
    // the intercept at which the mean probability is the rate
    for _ in 0..MOST_STEPS {
        let said: Vec<f64> = rows.iter().map(|row| sigmoid(model.log_odds(row))).collect();
        let (sum, slope) = said.iter().fold((0.0, 0.0), |(sum, slope), p| (sum + p, slope + p * (1.0 - p)));
        if slope <= 0.0 {
            break;
        }
        let step = (rate * said.len() as f64 - sum) / slope;
        model.intercept += step.clamp(-2.0, 2.0);
        if step.abs() < 1e-9 {
            break;
        }
    }
    model
}

/// Fits the five factors, held to the rule.
///
/// # Errors
/// When Newton's method does not arrive, which a strictly concave function does not let happen.
pub(crate) fn fit(rows: &[Row]) -> Result<LinearModel, IntelligenceError> {
    let prior = rule(rows);
    let labelled: Vec<(Vec<f64>, f64)> = rows
        .iter()
        .filter_map(|row| row.left.map(|left| (inputs(&prior.features, &prior.scales, row), f64::from(u8::from(left)))))
        .collect();
    let mut start = prior.weights.clone();
    start.push(prior.intercept);
    let mut strengths = vec![STRENGTH; prior.weights.len()];
    strengths.push(0.0);
    let mut weights = newton(&labelled, &start, &strengths)?;
    let intercept = weights.pop().unwrap_or(prior.intercept);
    Ok(LinearModel { weights, intercept, ..prior })
}

/// Maximises the log-likelihood less the penalty; the last weight is the intercept.
///
/// # Errors
/// When the gradient is not zero after fifty steps.
pub(crate) fn newton(rows: &[(Vec<f64>, f64)], prior: &[f64], strengths: &[f64]) -> Result<Vec<f64>, IntelligenceError> {
    let size = prior.len();
    let mut weights = prior.to_vec();
    for _ in 0..MOST_STEPS {
        let mut gradient: Vec<f64> = (0..size).map(|index| strengths[index] * (prior[index] - weights[index])).collect();
        let mut hessian = vec![vec![0.0; size]; size];
        for (index, row) in hessian.iter_mut().enumerate() {
            // the tiny term keeps a constant outcome solvable
            row[index] = strengths[index] + 1e-9;
        }
        for (inputs, outcome) in rows {
            let with_one: Vec<f64> = inputs.iter().copied().chain([1.0]).collect();
            let said = sigmoid(with_one.iter().zip(&weights).map(|(input, weight)| input * weight).sum());
            for (index, input) in with_one.iter().enumerate() {
                gradient[index] += (outcome - said) * input;
                for (other, other_input) in with_one.iter().enumerate() {
                    hessian[index][other] += said * (1.0 - said) * input * other_input;
                }
            }
        }
        if gradient.iter().all(|slope| slope.abs() < 1e-7 * (rows.len() as f64 + 1.0)) {
            return Ok(weights);
        }
        let step = solve(hessian, gradient);
        let longest = step.iter().fold(0.0_f64, |longest, step| longest.max(step.abs()));
        let damping = if longest > 2.0 { 2.0 / longest } else { 1.0 };
        weights.iter_mut().zip(step).for_each(|(weight, step)| *weight += damping * step);
    }
    Err(IntelligenceError::NotConverged)
}

/// Solves a small system of equations by elimination with pivots.
fn solve(mut matrix: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let pivot = (column..size).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs())).unwrap_or(column);
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        let (above, below) = matrix.split_at_mut(column + 1);
        let pivot_row = &above[column];
        for (row, cells) in below.iter_mut().enumerate() {
            let factor = cells[column] / pivot_row[column];
            cells.iter_mut().zip(pivot_row).skip(column).for_each(|(cell, pivot)| *cell -= factor * pivot);
            right[column + 1 + row] -= factor * right[column];
        }
    }
    let mut solution = vec![0.0; size];
    for row in (0..size).rev() {
        let known: f64 = (row + 1..size).map(|index| matrix[row][index] * solution[index]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution
}
