//! From histories to rows: what was known at a month's end, and whether notice came within 90 days.

use granary_types::Period;
use jiff::ToSpan;
use jiff::civil::Date;

use crate::churn::LABEL_DAYS;
use crate::health::{Allowance, Factor, Values, values_at};
use crate::metrics::mean;
use crate::observation::{CustomerHistory, MonthSeen};

/// What a model may look at. The first five are the health factors as shares of their points, 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    Backup,
    Payment,
    Tickets,
    Adoption,
    Utilisation,
    /// Adoption over six months, instead of one.
    UsualAdoption,
    /// Utilisation over six months, instead of one.
    UsualUtilisation,
    /// Adoption of the last three months less that of the six before.
    AdoptionTrend,
    /// Utilisation of the last three months less that of the six before.
    UtilisationTrend,
    /// Days late beyond the customer's own usual, in tens.
    PaymentTrend,
    /// A contract by the month, which can be left at any time.
    Monthly,
    /// A longer contract that renews within three months.
    RenewsSoon,
    /// In the third to ninth month.
    Young,
    /// The logarithm of the machines.
    Size,
}

impl Feature {
    /// Every feature, in order.
    pub const ALL: [Self; 14] = [
        Self::Backup,
        Self::Payment,
        Self::Tickets,
        Self::Adoption,
        Self::Utilisation,
        Self::UsualAdoption,
        Self::UsualUtilisation,
        Self::AdoptionTrend,
        Self::UtilisationTrend,
        Self::PaymentTrend,
        Self::Monthly,
        Self::RenewsSoon,
        Self::Young,
        Self::Size,
    ];

    /// The health factors alone.
    pub const FACTORS: [Self; 5] = [Self::Backup, Self::Payment, Self::Tickets, Self::Adoption, Self::Utilisation];

    /// Returns the place among [`Feature::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Says in plain words what a row shows.
    pub fn words(self, row: &Row) -> String {
        let value = row.features[self.index()];
        let factor = Factor::ALL.get(self.index()).copied();
        match (self, value, factor) {
            (_, None, Some(factor)) => format!("{}: no data", factor.label()),
            (_, Some(_), Some(factor)) => row.values[self.index()].map_or_else(String::new, |value| factor.words(value)),
            (_, None, None) => "no data".to_owned(),
            (Self::UsualAdoption, Some(value), _) => format!("{:.0} % of features used over six months", value * 100.0),
            (Self::UsualUtilisation, Some(value), _) => format!("{:.0} % of agreed machines over six months", value * 100.0),
            (Self::AdoptionTrend, Some(value), _) => format!("feature use {} by {:.0} points", rose(value), value.abs() * 100.0),
            (Self::UtilisationTrend, Some(value), _) => format!("utilisation {} by {:.0} points", rose(value), value.abs() * 100.0),
            (Self::PaymentTrend, Some(value), _) if value > 0.0 => format!("pays {:.0} days later than usual", value * 10.0),
            (Self::PaymentTrend, Some(value), _) => format!("pays {:.0} days sooner than usual", value.abs() * 10.0),
            (Self::Monthly, Some(value), _) if value > 0.0 => "contract by the month".to_owned(),
            (Self::Monthly, Some(_), _) => "contract for a year or more".to_owned(),
            (Self::RenewsSoon, Some(value), _) if value > 0.0 => "contract renews within three months".to_owned(),
            (Self::RenewsSoon, Some(_), _) => "no renewal soon".to_owned(),
            (Self::Young, Some(value), _) if value > 0.0 => "a customer for three to nine months".to_owned(),
            (Self::Young, Some(_), _) => "not in the first months".to_owned(),
            (Self::Size, Some(value), _) => format!("{:.0} machines", value.exp()),
            (Self::Backup | Self::Payment | Self::Tickets | Self::Adoption | Self::Utilisation, ..) => String::new(),
        }
    }
}

const fn rose(value: f64) -> &'static str {
    if value < 0.0 { "fell" } else { "rose" }
}

/// A customer at risk at a month's end.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The customer's place among the histories.
    pub customer: u32,
    pub period: Period,
    /// The factors as they are measured, for words.
    pub values: Values,
    /// By [`Feature::ALL`]; none without data.
    pub features: [Option<f64>; 14],
    /// Whether notice came within 90 days; none when those have not passed yet at `known_until`.
    pub left: Option<bool>,
}

/// Makes the rows of a portfolio: every month of every customer that is at risk at its end.
///
/// `known_until` is the last day whose notices are known. The features of a row depend on nothing after its period.
pub fn rows(histories: &[CustomerHistory], known_until: Date) -> Vec<Row> {
    let allowance = Allowance::of(histories);
    let mut rows = Vec::new();
    for (customer, history) in histories.iter().enumerate() {
        for (index, month) in history.months.iter().enumerate() {
            let scored_on = month.period.last_day();
            let has_left = history.departed_on.is_some_and(|departed| departed <= scored_on);
            if !month.is_at_risk || has_left || month.tenure_months < 2 {
                continue;
            }
            let values = values_at(history, index, &allowance);
            let horizon = scored_on.saturating_add(LABEL_DAYS.days());
            let left = history.departed_on.is_some_and(|departed| departed > scored_on && departed <= horizon);
            rows.push(Row {
                customer: customer as u32,
                period: month.period,
                features: features_of(history, index, &values),
                values,
                // departures of the last days are known, stays are not: such a month counts for neither
                left: (horizon <= known_until).then_some(left),
            });
        }
    }
    rows.sort_by_key(|row| (row.period, row.customer));
    rows
}

fn features_of(history: &CustomerHistory, index: usize, values: &Values) -> [Option<f64>; 14] {
    let month = &history.months[index];
    let share = |factor: usize| values[factor].map(|value| Factor::ALL[factor].share(value));
    let utilisation = |month: &MonthSeen| {
        let agreed = month.machines_agreed.filter(|agreed| *agreed > 0);
        month.machines.zip(agreed).map(|(machines, agreed)| f64::from(machines) / f64::from(agreed))
    };
    let adoption = |month: &MonthSeen| month.features.map(|(used, offered)| f64::from(used) / f64::from(offered.max(1)));
    let last =
        |count: usize, of: &dyn Fn(&MonthSeen) -> Option<f64>| mean_of(&history.months[(index + 1).saturating_sub(count)..=index], of);
    let earlier = |of: &dyn Fn(&MonthSeen) -> Option<f64>| {
        let end = (index + 1).saturating_sub(3);
        mean_of(&history.months[end.saturating_sub(6)..end], of)
    };
    let trend = |of: &dyn Fn(&MonthSeen) -> Option<f64>| last(3, of).zip(earlier(of)).map(|(now, before)| now - before);
    let is_monthly = month.contract_months <= 1;
    let flag = |is: bool| Some(f64::from(u8::from(is)));
    [
        share(0),
        share(1),
        share(2),
        share(3),
        share(4),
        last(6, &adoption),
        last(6, &utilisation),
        trend(&adoption),
        trend(&utilisation),
        trend(&|month| month.days_late).map(|days| days / 10.0),
        flag(is_monthly),
        flag(!is_monthly && month.months_to_renewal <= 3),
        flag((3..=9).contains(&month.tenure_months)),
        month.machines.map(|machines| f64::from(machines.max(1)).ln()),
    ]
}

fn mean_of(months: &[MonthSeen], of: &dyn Fn(&MonthSeen) -> Option<f64>) -> Option<f64> {
    let known: Vec<f64> = months.iter().filter_map(of).collect();
    (!known.is_empty()).then(|| mean(known.into_iter()))
}
