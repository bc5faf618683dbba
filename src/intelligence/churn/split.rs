//! Earlier months to learn from, later months to be tested on, and 90 days between.

use granary_types::Period;

use crate::churn::Row;

/// Days after the scoring date within which notice counts.
pub const LABEL_DAYS: i64 = 90;
/// Periods between the last one learned from and the first one tested: their labels reach into one another.
const PURGE: i32 = 3;

/// Rows with known labels, divided by time.
#[derive(Debug, Clone, PartialEq)]
pub struct Split {
    pub train: Vec<Row>,
    pub test: Vec<Row>,
    /// The first period that is tested.
    pub tested_from: Period,
}

/// Divides rows so that about `share` of the labelled periods are tested; none when there are too few periods.
pub fn split(rows: &[Row], share: f64) -> Option<Split> {
    let mut periods: Vec<Period> = rows.iter().filter(|row| row.left.is_some()).map(|row| row.period).collect();
    periods.sort_unstable();
    periods.dedup();
    let tested = ((periods.len() as f64 * share).round() as usize).max(1);
    let tested_from = *periods.get(periods.len().checked_sub(tested)?)?;
    let learned_until = tested_from.plus_months(-PURGE);
    let labelled = rows.iter().filter(|row| row.left.is_some());
    let (mut train, mut test) = (Vec::new(), Vec::new());
    for row in labelled {
        if row.period >= tested_from {
            test.push(row.clone());
        } else if row.period <= learned_until {
            train.push(row.clone());
        }
    }
    (!train.is_empty() && !test.is_empty()).then_some(Split { train, test, tested_from })
}
