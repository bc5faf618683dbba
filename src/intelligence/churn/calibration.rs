//! From log-odds to probabilities that come true: Platt's two numbers.

use serde::{Deserialize, Serialize};

use crate::IntelligenceError;
use crate::churn::held::newton;
use crate::churn::linear::sigmoid;

/// Departures under which only the level is adjusted, not the slope.
const ENOUGH_FOR_SLOPE: usize = 20;

/// `probability = σ(slope × log-odds + offset)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub slope: f64,
    pub offset: f64,
}

impl Calibration {
    /// Leaves log-odds as they are.
    pub const IDENTITY: Self = Self { slope: 1.0, offset: 0.0 };

    /// Fits slope and offset on rows that the model has not learned from; a slope that turns the order around is refused.
    ///
    /// # Errors
    /// When the fit does not arrive.
    pub fn fit(log_odds: &[f64], outcomes: &[bool]) -> Result<Self, IntelligenceError> {
        let left = outcomes.iter().filter(|outcome| **outcome).count();
        if left == 0 || left == outcomes.len() {
            return Ok(Self::IDENTITY);
        }
        let rows: Vec<(Vec<f64>, f64)> =
            log_odds.iter().zip(outcomes).map(|(log_odds, left)| (vec![*log_odds], f64::from(u8::from(*left)))).collect();
        let hold = if left < ENOUGH_FOR_SLOPE { 1e9 } else { 4.0 };
        let fitted = newton(&rows, &[1.0, 0.0], &[hold, 0.0])?;
        Ok(Self { slope: fitted[0].clamp(0.2, 3.0), offset: fitted[1] })
    }

    /// Keeps the slope and moves the offset so that the mean probability of these rows is their base rate: the final model is
    /// fitted on more rows than the one that the slope was measured with, and has a level of its own.
    ///
    /// # Errors
    /// When the fit does not arrive.
    pub fn leveled(self, log_odds: &[f64], outcomes: &[bool]) -> Result<Self, IntelligenceError> {
        if outcomes.iter().all(|outcome| !outcome) {
            return Ok(self);
        }
        let rows: Vec<(Vec<f64>, f64)> =
            log_odds.iter().zip(outcomes).map(|(log_odds, left)| (vec![self.slope * log_odds], f64::from(u8::from(*left)))).collect();
        let fitted = newton(&rows, &[1.0, self.offset], &[1e9, 0.0])?;
        Ok(Self { slope: self.slope, offset: fitted[1] })
    }

    /// Returns calibrated log-odds.
    pub fn log_odds(&self, log_odds: f64) -> f64 {
        self.slope * log_odds + self.offset
    }

    /// Returns a calibrated probability.
    pub fn probability(&self, log_odds: f64) -> f64 {
        sigmoid(self.log_odds(log_odds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{base_rate, mean};

    #[test]
    fn overconfident_log_odds_are_drawn_in_and_the_level_is_right() {
        let log_odds: Vec<f64> = (0..1_000).map(|row| f64::from(row % 10) - 4.5).collect();
        let outcomes: Vec<bool> =
            (0..1_000_u32).map(|row| f64::from((row / 10 * 37) % 100) / 100.0 < sigmoid(log_odds[row as usize] / 3.0)).collect();
        let fitted = Calibration::fit(&log_odds, &outcomes).unwrap();
        assert!((0.2..0.5).contains(&fitted.slope), "{fitted:?}");
        let said = mean(log_odds.iter().map(|log_odds| fitted.probability(*log_odds)));
        assert!((said - base_rate(&outcomes)).abs() < 0.005);
    }

    #[test]
    fn few_departures_move_the_level_only() {
        let log_odds = [-3.0, -2.0, -1.0, -2.5, -1.5, -3.5];
        let fitted = Calibration::fit(&log_odds, &[false, true, false, false, true, false]).unwrap();
        assert!((fitted.slope - 1.0).abs() < 1e-6 && fitted.offset > 0.0);
        assert_eq!(Calibration::fit(&log_odds, &[false; 6]).unwrap(), Calibration::IDENTITY);
    }
}
