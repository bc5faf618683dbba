//! How good a ranking and how true a probability is. All functions take scores and outcomes of the same length.

use rand::Rng;

/// A measured value with the interval in which it lies at 95 %.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// Returns the area under the ROC curve: the chance that a departure outranks a stay, ties counting half.
///
/// By ranks (Mann-Whitney), since linfa's own curve drops its first trapezoid when the lowest score is zero. None when
/// all outcomes are alike.
pub fn roc_auc(scores: &[f64], outcomes: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*a].total_cmp(&scores[*b]));
    let (mut rank_sum, mut first) = (0.0, 0);
    while first < order.len() {
        let tied = order[first..].iter().take_while(|index| scores[**index] == scores[order[first]]).count();
        let rank = first as f64 + (tied as f64 + 1.0) / 2.0;
        rank_sum += rank * order[first..first + tied].iter().filter(|index| outcomes[**index]).count() as f64;
        first += tied;
    }
    let positive = outcomes.iter().filter(|outcome| **outcome).count() as f64;
    let negative = outcomes.len() as f64 - positive;
    (positive > 0.0 && negative > 0.0).then(|| (rank_sum - positive * (positive + 1.0) / 2.0) / (positive * negative))
}

/// Returns the ROC-AUC with its interval by drawing whole customers again and again: a customer's months are not independent.
pub fn roc_auc_interval(scores: &[f64], outcomes: &[bool], customers: &[u32], rng: &mut impl Rng) -> Option<Interval> {
    const DRAWS: usize = 200;
    let value = roc_auc(scores, outcomes)?;
    let count = customers.iter().max().map_or(0, |last| *last as usize + 1);
    let mut rows: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (row, customer) in customers.iter().enumerate() {
        rows[*customer as usize].push(row);
    }
    rows.retain(|rows| !rows.is_empty());
    let mut drawn = Vec::with_capacity(DRAWS);
    let (mut some_scores, mut some_outcomes) = (Vec::new(), Vec::new());
    for _ in 0..DRAWS {
        some_scores.clear();
        some_outcomes.clear();
        for _ in 0..rows.len() {
            for row in &rows[rng.random_range(0..rows.len())] {
                some_scores.push(scores[*row]);
                some_outcomes.push(outcomes[*row]);
            }
        }
        drawn.extend(roc_auc(&some_scores, &some_outcomes));
    }
    drawn.sort_unstable_by(f64::total_cmp);
    let at = |share: f64| drawn.get((share * (drawn.len().saturating_sub(1)) as f64).round() as usize).copied();
    Some(Interval { value, low: at(0.025).unwrap_or(0.0), high: at(0.975).unwrap_or(1.0) })
}

/// Returns the area under the precision-recall curve (average precision); to be read against the base rate.
pub fn pr_auc(scores: &[f64], outcomes: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_unstable_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let positive = outcomes.iter().filter(|outcome| **outcome).count() as f64;
    if positive == 0.0 {
        return None;
    }
    let (mut found, mut seen, mut area) = (0.0, 0.0, 0.0);
    let mut first = 0;
    while first < order.len() {
        let tied = order[first..].iter().take_while(|index| scores[**index] == scores[order[first]]).count();
        let hits = order[first..first + tied].iter().filter(|index| outcomes[**index]).count() as f64;
        found += hits;
        seen += tied as f64;
        area += hits / positive * found / seen;
        first += tied;
    }
    Some(area)
}

/// Returns the mean squared error of probabilities; the base rate alone scores `p (1 - p)`.
pub fn brier(probabilities: &[f64], outcomes: &[bool]) -> f64 {
    mean(probabilities.iter().zip(outcomes).map(|(p, y)| (p - f64::from(u8::from(*y))).powi(2)))
}

/// Returns the share of right answers when everybody above one half is said to leave.
pub fn accuracy(probabilities: &[f64], outcomes: &[bool]) -> f64 {
    mean(probabilities.iter().zip(outcomes).map(|(p, y)| f64::from(u8::from((*p >= 0.5) == *y))))
}

/// Returns how many times more departures the tenth with the highest scores holds than a tenth drawn at random would.
pub fn top_decile_lift(scores: &[f64], outcomes: &[bool]) -> Option<f64> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let top = (order.len() / 10).max(1);
    let base = base_rate(outcomes);
    let hits = order.iter().take(top).filter(|index| outcomes[**index]).count() as f64;
    (base > 0.0).then(|| hits / top.min(order.len()) as f64 / base)
}

/// Returns the share of departures.
pub fn base_rate(outcomes: &[bool]) -> f64 {
    mean(outcomes.iter().map(|outcome| f64::from(u8::from(*outcome))))
}

/// A group of rows with similar probabilities.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct CalibrationBin {
    pub rows: usize,
    /// The mean of what was said.
    pub predicted: f64,
    /// The share that left.
    pub observed: f64,
}

/// Returns what was said beside what happened, in groups of equal size from low to high.
pub fn calibration(probabilities: &[f64], outcomes: &[bool], bins: usize) -> Vec<CalibrationBin> {
    let mut order: Vec<usize> = (0..probabilities.len()).collect();
    order.sort_by(|a, b| probabilities[*a].total_cmp(&probabilities[*b]));
    let size = order.len().div_ceil(bins.max(1)).max(1);
    let bin = |rows: &[usize]| CalibrationBin {
        rows: rows.len(),
        predicted: mean(rows.iter().map(|row| probabilities[*row])),
        observed: mean(rows.iter().map(|row| f64::from(u8::from(outcomes[*row])))),
    };
    order.chunks(size).map(bin).collect()
}

pub(crate) fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (count, sum) = values.fold((0_usize, 0.0), |(count, sum), value| (count + 1, sum + value));
    if count == 0 { 0.0 } else { sum / count as f64 }
}

/// Returns the middle value, none of nothing.
pub(crate) fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        even if even % 2 == 0 => Some((values[middle - 1] + values[middle]) / 2.0),
        _ => Some(values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn the_area_counts_every_pair_once_also_when_scores_are_zero_or_tied() {
        let outcomes = [false, true, false, true, true, false];
        assert_eq!(roc_auc(&[0.0, 0.0, 0.1, 0.4, 0.9, 0.3], &outcomes), Some(6.5 / 9.0));
        assert_eq!(roc_auc(&[0.5; 6], &outcomes), Some(0.5));
        assert_eq!(roc_auc(&[0.1, 0.2], &[true, true]), None);
    }

    #[test]
    fn a_perfect_ranking_has_full_precision_and_lift() {
        let scores: Vec<f64> = (0..100).map(f64::from).collect();
        let outcomes: Vec<bool> = (0..100).map(|row| row >= 90).collect();
        assert!((pr_auc(&scores, &outcomes).unwrap() - 1.0).abs() < 1e-9);
        assert!((top_decile_lift(&scores, &outcomes).unwrap() - 10.0).abs() < 1e-9);
        assert!((pr_auc(&[0.5; 4], &[true, false, false, false]).unwrap() - 0.25).abs() < 1e-9);
    }

    #[test]
    fn few_departures_give_a_wide_interval() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let width = |customers: u32, rng: &mut rand_chacha::ChaCha8Rng| {
            let scores: Vec<f64> = (0..customers).map(|_| rng.random()).collect();
            let outcomes: Vec<bool> = (0..customers).map(|customer| customer % 10 == 0).collect();
            let interval = roc_auc_interval(&scores, &outcomes, &(0..customers).collect::<Vec<_>>(), rng).unwrap();
            assert!(interval.low <= interval.value && interval.value <= interval.high);
            interval.high - interval.low
        };
        assert!(width(50, &mut rng) > 2.0 * width(1_000, &mut rng));
    }

    #[test]
    fn calibration_puts_what_was_said_beside_what_happened() {
        let bins = calibration(&[0.1, 0.1, 0.8, 0.8], &[false, false, true, true], 2);
        assert_eq!((bins[0].rows, bins[0].observed, bins[1].observed), (2, 0.0, 1.0));
        assert!((brier(&[0.1, 0.8], &[false, true]) - 0.025).abs() < 1e-12);
        assert_eq!(accuracy(&[0.1, 0.8], &[false, false]), 0.5);
    }
}
