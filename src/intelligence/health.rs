//! The health of a customer: five factors, each linear between two bounds, that add up to 0–100.
//!
//! | factor | weight | no points at | all points at |
//! | --- | --- | --- | --- |
//! | backup success | 25 | 85 % | 98 % |
//! | payment | 20 | 30 days late | 0 days late |
//! | support tickets | 15 | three times the customer's own baseline | once |
//! | feature adoption | 20 | 20 % of the tier's list | 70 % |
//! | licence utilisation | 20 | 40 % of the agreed quantity | 85 % |
//!
//! A factor without data drops out and the others are re-weighted; under 60 % of the weight the score is unknown. A factor
//! at zero caps the total at 49, and the cap is a line of its own: points are whole and add up to the score exactly.

use std::collections::BTreeMap;

use granary_types::Period;

use crate::metrics::{mean, median};
use crate::observation::{CustomerHistory, MonthSeen};

/// The factors, in the order in which they are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Factor {
    Backup,
    Payment,
    Tickets,
    Adoption,
    Utilisation,
}

impl Factor {
    /// Every factor, in order.
    pub const ALL: [Self; 5] = [Self::Backup, Self::Payment, Self::Tickets, Self::Adoption, Self::Utilisation];

    /// Returns the weight in points.
    pub const fn weight(self) -> u32 {
        match self {
            Self::Backup => 25,
            Self::Payment | Self::Adoption | Self::Utilisation => 20,
            Self::Tickets => 15,
        }
    }

    /// Returns the values that earn nothing and everything.
    pub const fn bounds(self) -> (f64, f64) {
        match self {
            Self::Backup => (0.85, 0.98),
            Self::Payment => (30.0, 0.0),
            Self::Tickets => (3.0, 1.0),
            Self::Adoption => (0.20, 0.70),
            Self::Utilisation => (0.40, 0.85),
        }
    }

    /// Returns the name that people read.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Backup => "backup success",
            Self::Payment => "payment",
            Self::Tickets => "support tickets",
            Self::Adoption => "feature adoption",
            Self::Utilisation => "licence utilisation",
        }
    }

    /// Returns the share of its points, 0 to 1, that a value earns.
    pub fn share(self, value: f64) -> f64 {
        let (nothing, everything) = self.bounds();
        ((value - nothing) / (everything - nothing)).clamp(0.0, 1.0)
    }

    /// Writes a value with its unit: `91.2 % of backups succeeded`.
    pub fn words(self, value: f64) -> String {
        match self {
            Self::Backup => format!("{:.1} % of backups succeeded", value * 100.0),
            Self::Payment => format!("invoices paid {value:.0} days late"),
            Self::Tickets => format!("{value:.1} times its usual support tickets"),
            Self::Adoption => format!("{:.0} % of the features on offer used", value * 100.0),
            Self::Utilisation => format!("{:.0} % of the agreed machines protected", value * 100.0),
        }
    }
}

/// The values of the five factors in a month, in the order of [`Factor::ALL`].
pub type Values = [Option<f64>; 5];

/// Where a score lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    Healthy,
    AtRisk,
    Critical,
    Unknown,
}

impl HealthState {
    /// Returns the word as it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::AtRisk => "at_risk",
            Self::Critical => "critical",
            Self::Unknown => "unknown",
        }
    }

    const fn of(score: Option<u32>) -> Self {
        match score {
            None => Self::Unknown,
            Some(70..) => Self::Healthy,
            Some(40..=69) => Self::AtRisk,
            Some(..=39) => Self::Critical,
        }
    }
}

/// A score with all that adds up to it.
#[derive(Debug, Clone, PartialEq)]
pub struct HealthScore {
    pub values: Values,
    /// None when less than 60 % of the weight is known.
    pub score: Option<u32>,
    /// Whole points per factor; with `cap_points` they add up to the score.
    pub points: [Option<u32>; 5],
    /// Zero, or the negative number that brings the total down to 49.
    pub cap_points: i32,
    /// The known share of the weight.
    pub coverage_percent: u32,
    /// The state after hysteresis; of a single month, simply where the score lies.
    pub state: HealthState,
}

/// Scores one month.
pub fn score(values: &Values) -> HealthScore {
    let known: u32 = Factor::ALL.iter().zip(values).filter(|(_, value)| value.is_some()).map(|(factor, _)| factor.weight()).sum();
    if known < 60 {
        let state = HealthState::Unknown;
        return HealthScore { values: *values, score: None, points: [None; 5], cap_points: 0, coverage_percent: known, state };
    }
    let exact: [Option<f64>; 5] = std::array::from_fn(|index| {
        let factor = Factor::ALL[index];
        values[index].map(|value| factor.share(value) * f64::from(factor.weight()) * 100.0 / f64::from(known))
    });
    let total = (exact.iter().flatten().sum::<f64>() + 1e-9).round() as u32;
    let points = whole_points(&exact, total, &most_points(&values.map(|value| value.is_some())));
    let has_zero = Factor::ALL.iter().zip(values).any(|(factor, value)| value.is_some_and(|value| factor.share(value) == 0.0));
    let capped = if has_zero { total.min(49) } else { total };
    HealthScore {
        values: *values,
        score: Some(capped),
        points,
        cap_points: capped as i32 - total as i32,
        coverage_percent: known,
        state: HealthState::of(Some(capped)),
    }
}

/// The most points that each factor can earn when only those told are known: whole, and 100 together.
pub fn most_points(known: &[bool; 5]) -> [Option<u32>; 5] {
    let weights: [Option<f64>; 5] = std::array::from_fn(|index| known[index].then(|| f64::from(Factor::ALL[index].weight())));
    let all: f64 = weights.iter().flatten().sum();
    let exact = weights.map(|weight| weight.map(|weight| weight * 100.0 / all));
    whole_points(&exact, if all > 0.0 { 100 } else { 0 }, &[Some(100); 5])
}

/// Rounds points so that they add up to the total: by largest remainder, and none above its most.
fn whole_points(exact: &[Option<f64>; 5], total: u32, most: &[Option<u32>; 5]) -> [Option<u32>; 5] {
    let mut points = exact.map(|points| points.map(|points| (points + 1e-9).floor() as u32));
    let mut order: Vec<usize> = (0..5).filter(|index| exact[*index].is_some()).collect();
    let rest = |index: usize| exact[index].map_or(0.0, |points| (points + 1e-9).fract());
    order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)).then(a.cmp(b)));
    let mut missing = total.saturating_sub(points.iter().flatten().sum());
    // The exact points lie below the most, so there is room for all that is missing.
    while missing > 0 && order.iter().any(|index| points[*index] < most[*index]) {
        for index in order.iter().copied() {
            if missing > 0 && points[index] < most[index] {
                points[index] = points[index].map(|points| points + 1);
                missing -= 1;
            }
        }
    }
    points
}

/// Scores a customer's months, changing the state only after two months in a row or ten points.
pub fn score_history(history: &CustomerHistory, allowance: &Allowance) -> Vec<HealthScore> {
    let mut scores: Vec<HealthScore> = Vec::with_capacity(history.months.len());
    for index in 0..history.months.len() {
        let mut next = score(&values_at(history, index, allowance));
        if let Some(last) = scores.last() {
            next.state = settle(last, &next);
        }
        scores.push(next);
    }
    scores
}

fn settle(last: &HealthScore, next: &HealthScore) -> HealthState {
    let (lies, lay) = (HealthState::of(next.score), HealthState::of(last.score));
    let is_sudden = match (last.score, next.score) {
        (Some(before), Some(now)) => before.abs_diff(now) >= 10,
        _ => true,
    };
    if is_sudden || lies == lay { lies } else { last.state }
}

/// Explains a change factor by factor: `payment -8, feature adoption +3`.
pub fn explain_change(last: Option<&HealthScore>, next: &HealthScore) -> String {
    let (Some(last), Some(_)) = (last.filter(|last| last.score.is_some()), next.score) else { return String::new() };
    let mut parts: Vec<(i64, &str)> = Factor::ALL
        .iter()
        .enumerate()
        .map(|(index, factor)| (i64::from(next.points[index].unwrap_or(0)) - i64::from(last.points[index].unwrap_or(0)), factor.label()))
        .collect();
    parts.push((i64::from(next.cap_points) - i64::from(last.cap_points), "cap"));
    parts.retain(|(change, _)| *change != 0);
    parts.sort_by_key(|(change, _)| -change.abs());
    parts.iter().map(|(change, label)| format!("{label} {change:+}")).collect::<Vec<_>>().join(", ")
}

/// How far a whole fleet's backups fell below its own year, per period: the platform's fault, not the customer's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Allowance(BTreeMap<Period, f64>);

impl Allowance {
    /// Compares each period's median with the median of the twelve periods before; fewer than five customers, no allowance.
    pub fn of(histories: &[CustomerHistory]) -> Self {
        let mut shares: BTreeMap<Period, Vec<f64>> = BTreeMap::new();
        for month in histories.iter().flat_map(|history| &history.months) {
            if let Some(share) = month.runs.and_then(share_of) {
                shares.entry(month.period).or_default().push(share);
            }
        }
        let medians: Vec<(Period, f64)> = shares
            .into_iter()
            .filter(|(_, shares)| shares.len() >= 5)
            .filter_map(|(period, mut shares)| median(&mut shares).map(|median| (period, median)))
            .collect();
        let mut allowance = BTreeMap::new();
        for (index, (period, now)) in medians.iter().enumerate() {
            let mut before: Vec<f64> = medians[index.saturating_sub(12)..index].iter().map(|(_, median)| *median).collect();
            if let Some(usual) = median(&mut before).filter(|usual| usual > now) {
                allowance.insert(*period, usual - now);
            }
        }
        Self(allowance)
    }

    fn at(&self, period: Period) -> f64 {
        self.0.get(&period).copied().unwrap_or(0.0)
    }
}

fn share_of((good, all): (u64, u64)) -> Option<f64> {
    (all > 0).then(|| good as f64 / all as f64)
}

/// Returns the values of the five factors at a month, from that month and those before it: backups and utilisation of the
/// month, tickets against their baseline, payment and adoption as means of three months.
pub fn values_at(history: &CustomerHistory, index: usize, allowance: &Allowance) -> Values {
    let month = &history.months[index];
    let recent = &history.months[index.saturating_sub(2)..=index];
    let average = |of: &dyn Fn(&MonthSeen) -> Option<f64>| {
        let known: Vec<f64> = recent.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| mean(known.into_iter()))
    };
    let backup = month.runs.and_then(share_of).map(|share| (share + allowance.at(month.period)).min(1.0));
    let adoption = average(&|month| month.features.and_then(|(used, offered)| share_of((used.into(), offered.into()))));
    let agreed = month.machines_agreed.filter(|agreed| *agreed > 0);
    let utilisation = month.machines.zip(agreed).map(|(machines, agreed)| f64::from(machines) / f64::from(agreed));
    [backup, average(&|month| month.days_late), tickets_ratio(history, index), adoption, utilisation]
}

/// Tickets a month over the last three months, against the up to twelve months before them; at least three of those are
/// needed. Half a ticket stands on both sides, so that a customer that never writes does not triple with its first line.
fn tickets_ratio(history: &CustomerHistory, index: usize) -> Option<f64> {
    let from = index.saturating_sub(2);
    let tickets = |months: &[MonthSeen]| -> Vec<f64> { months.iter().filter_map(|month| month.tickets).map(f64::from).collect() };
    let (recent, usual) = (tickets(&history.months[from..=index]), tickets(&history.months[from.saturating_sub(12)..from]));
    (!recent.is_empty() && usual.len() >= 3).then(|| (mean(recent.into_iter()) + 0.5) / (mean(usual.into_iter()) + 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;
    const BEST: Values = [Some(0.99), Some(0.0), Some(1.0), Some(0.8), Some(0.9)];

    #[test]
    fn points_lie_linear_between_the_bounds_and_add_up() {
        assert_eq!(score(&BEST).score, Some(100));
        // half way on every factor: 12.5 + 10 + 7.5 + 10 + 10
        let half = score(&[Some(0.915), Some(15.0), Some(2.0), Some(0.45), Some(0.625)]);
        assert_eq!(half.score, Some(50));
        assert_eq!(half.points.iter().flatten().sum::<u32>(), 50);
        assert_eq!(half.state, HealthState::AtRisk);
    }

    #[test]
    fn a_missing_factor_drops_out_and_the_rest_are_weighted_anew() {
        let without_tickets = score(&[Some(0.98), Some(0.0), None, Some(0.45), Some(0.85)]);
        // (25 + 20 + 10 + 20) of 85
        assert_eq!(without_tickets.score, Some(88));
        assert_eq!(without_tickets.points[2], None);
        assert_eq!(without_tickets.points.iter().flatten().sum::<u32>(), 88);
        assert_eq!(without_tickets.coverage_percent, 85);
    }

    #[test]
    fn no_factor_earns_more_than_its_most() {
        assert_eq!(most_points(&[true; 5]), [25, 20, 15, 20, 20].map(Some));
        // 38.46, 30.77, 30.77: the points of a full score are the most that there is
        let best = score(&[Some(0.99), Some(0.0), None, Some(0.8), None]);
        assert_eq!(most_points(&[true, true, false, true, false]), [Some(38), Some(31), None, Some(31), None]);
        assert_eq!((best.score, best.points), (Some(100), [Some(38), Some(31), None, Some(31), None]));
    }

    #[test]
    fn under_sixty_per_cent_of_the_weight_nothing_is_known() {
        let little = score(&[Some(0.99), None, Some(1.0), None, None]);
        assert_eq!((little.score, little.state, little.coverage_percent), (None, HealthState::Unknown, 40));
        assert_eq!(score(&[Some(0.99), None, Some(1.0), Some(0.7), None]).score, Some(100), "exactly sixty is enough");
    }

    #[test]
    fn a_factor_at_zero_caps_the_total_in_a_line_of_its_own() {
        let late = score(&[Some(0.99), Some(45.0), Some(1.0), Some(0.8), Some(0.9)]);
        assert_eq!((late.score, late.cap_points), (Some(49), -31));
        assert_eq!(late.points.iter().flatten().sum::<u32>() as i32 + late.cap_points, 49);
    }

    #[test]
    fn points_add_up_whatever_the_values() {
        for seed in 0..2_000_u64 {
            let value = |index: u64, low: f64, high: f64| {
                let lot = (seed * 7_919 + index * 104_729) % 1_009;
                (!lot.is_multiple_of(11)).then(|| low + (high - low) * lot as f64 / 1_009.0)
            };
            let scored = score(&[value(1, 0.8, 1.0), value(2, 0.0, 35.0), value(3, 0.5, 3.5), value(4, 0.0, 1.0), value(5, 0.3, 1.1)]);
            if let Some(total) = scored.score {
                assert_eq!(scored.points.iter().flatten().sum::<u32>() as i32 + scored.cap_points, total as i32, "{scored:?}");
                let most = most_points(&scored.values.map(|value| value.is_some()));
                assert_eq!(most.iter().flatten().sum::<u32>(), 100, "{most:?}");
                assert!(scored.points.iter().zip(&most).all(|(points, most)| points <= most), "{scored:?} {most:?}");
            }
        }
    }

    fn history(shares: &[(u64, f64)]) -> CustomerHistory {
        let first: Period = "2025-01".parse().unwrap();
        let months = shares.iter().enumerate().map(|(index, (good, late))| MonthSeen {
            period: first.plus_months(index as i32),
            runs: Some((*good, 1_000)),
            days_late: Some(*late),
            tickets: Some(2),
            features: Some((9, 12)),
            machines: Some(10),
            machines_agreed: Some(10),
            tenure_months: 20,
            contract_months: 12,
            months_to_renewal: 6,
            is_at_risk: true,
        });
        CustomerHistory { customer: "1".into(), code: "ACME".into(), months: months.collect(), departed_on: None }
    }

    #[test]
    fn the_state_changes_after_two_months_or_ten_points() {
        let mut scores = vec![score(&BEST)];
        let mut next = |values: Values| {
            let mut next = score(&values);
            next.state = settle(scores.last().unwrap(), &next);
            scores.push(next.clone());
            (next.score.unwrap(), next.state)
        };
        let payment = |days: f64| [Some(0.99), Some(days), Some(1.0), Some(0.36), Some(0.85)];
        assert_eq!(next(payment(13.0)), (78, HealthState::Healthy));
        assert_eq!(next(payment(25.5)), (69, HealthState::Healthy), "nine points in one month may be chance");
        assert_eq!(next(payment(25.5)), (69, HealthState::AtRisk), "two months in a row are not");
        assert_eq!(next(payment(24.0)), (70, HealthState::AtRisk));
        assert_eq!(next(payment(0.0)).1, HealthState::Healthy, "ten points at once are not either");
    }

    #[test]
    fn the_change_since_last_month_is_explained_factor_by_factor() {
        let later = score(&[Some(0.99), Some(12.0), Some(1.0), Some(0.575), Some(0.9)]);
        assert_eq!(explain_change(Some(&score(&BEST)), &later), "payment -8, feature adoption -5");
        assert_eq!(explain_change(None, &later), "");
    }

    #[test]
    fn an_outage_of_the_platform_is_nobodys_fault() {
        let histories: Vec<CustomerHistory> = (0..6).map(|_| history(&[(990, 0.0), (992, 0.0), (880, 0.0)])).collect();
        let allowance = Allowance::of(&histories);
        let during = values_at(&histories[0], 2, &allowance)[0].unwrap();
        assert!((during - 0.991).abs() < 1e-9, "{during}");
        let mut own = histories.clone();
        own[0].months[1].runs = Some((880, 1_000));
        assert_eq!(values_at(&own[0], 1, &Allowance::of(&own))[0], Some(0.88), "one customer's own failures stay its own");
    }

    #[test]
    fn tickets_are_held_against_the_customers_own_baseline() {
        let mut calm = history(&[(1_000, 0.0); 6]);
        assert_eq!(values_at(&calm, 5, &Allowance::default())[2], Some(1.0));
        assert_eq!(values_at(&calm, 4, &Allowance::default())[2], None, "two months are no baseline");
        calm.months[3..].iter_mut().for_each(|month| month.tickets = Some(7));
        assert_eq!(values_at(&calm, 5, &Allowance::default())[2], Some(3.0));
    }
}
