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
use crate::observation::CustomerHistory;

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
    let points = whole_points(&exact, total);
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

/// Rounds points so that they add up to the total: by largest remainder.
fn whole_points(exact: &[Option<f64>; 5], total: u32) -> [Option<u32>; 5] {
    let mut points = exact.map(|points| points.map(|points| (points + 1e-9).floor() as u32));
    let mut order: Vec<usize> = (0..5).filter(|index| exact[*index].is_some()).collect();
    let rest = |index: usize| exact[index].map_or(0.0, |points| (points + 1e-9).fract());
    order.sort_by(|a, b| rest(*b).total_cmp(&rest(*a)).then(a.cmp(b)));
    let missing = total.saturating_sub(points.iter().flatten().sum());
    for index in order.into_iter().take(missing as usize) {
        points[index] = points[index].map(|points| points + 1);
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

/// Returns the values of the five factors at a month, from that month and those before it.
pub fn values_at(history: &CustomerHistory, index: usize, allowance: &Allowance) -> Values {
    let month = &history.months[index];
    let recent = &history.months[index.saturating_sub(2)..=index];
    let late: Vec<f64> = recent.iter().filter_map(|month| month.days_late).collect();
    let backup = month.runs.and_then(share_of).map(|share| (share + allowance.at(month.period)).min(1.0));
    let adoption = month.features.filter(|(_, offered)| *offered > 0).map(|(used, offered)| f64::from(used) / f64::from(offered));
    let agreed = month.machines_agreed.filter(|agreed| *agreed > 0);
    let utilisation = month.machines.zip(agreed).map(|(machines, agreed)| f64::from(machines) / f64::from(agreed));
    [backup, (!late.is_empty()).then(|| mean(late.into_iter())), tickets_ratio(history, index), adoption, utilisation]
}

/// Tickets a month over the last three months, against the up to twelve months before them; at least three of those are
/// needed. Half a ticket stands on both sides, so that a customer that never writes does not triple with its first line.
fn tickets_ratio(history: &CustomerHistory, index: usize) -> Option<f64> {
    let from = index.saturating_sub(2);
    let tickets = |months: &[crate::MonthSeen]| -> Vec<f64> { months.iter().filter_map(|month| month.tickets).map(f64::from).collect() };
    let (recent, usual) = (tickets(&history.months[from..=index]), tickets(&history.months[from.saturating_sub(12)..from]));
    (!recent.is_empty() && usual.len() >= 3).then(|| (mean(recent.into_iter()) + 0.5) / (mean(usual.into_iter()) + 0.5))
}
