//! The parts that a dataset is cut into: UTC months, or one whole.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use granary_types::{ColumnKind, Period, PeriodError};
use jiff::civil::{Date, date};

/// Postgres counts days and microseconds from 2000-01-01; Arrow counts them from 1970-01-01.
pub(crate) const EPOCH_SHIFT_DAYS: i32 = 10_957;
/// The same shift in microseconds.
pub(crate) const EPOCH_SHIFT_US: i64 = EPOCH_SHIFT_DAYS as i64 * DAY_US;
const DAY_US: i64 = 86_400_000_000;
const POSTGRES_EPOCH: Date = date(2000, 1, 1);

/// Which part of a dataset a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The rows of one UTC month.
    Month(Period),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("all"),
            Self::Month(period) => period.fmt(f),
        }
    }
}

impl FromStr for Part {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::Whole) } else { text.parse().map(Self::Month) }
    }
}

/// A UTC month as the half-open range of values that its column has on the wire.
#[derive(Debug, Clone)]
pub(crate) struct MonthSpan {
    pub(crate) period: Period,
    pub(crate) raw: Range<i64>,
}

impl MonthSpan {
    /// Returns the month that a value on the wire lies in; none when it is infinite or absurd.
    pub(crate) fn containing(raw: i64, kind: ColumnKind) -> Option<Self> {
        let unit = if kind == ColumnKind::Date { 1 } else { DAY_US };
        let days = i32::try_from(raw.div_euclid(unit)).ok()?;
        let day = POSTGRES_EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let period = Period::of(day);
        let at = |day: Date| Some(i64::from(POSTGRES_EPOCH.until(day).ok()?.get_days()) * unit);
        Some(Self { period, raw: at(period.first_day())?..at(period.next().first_day())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_holds_its_first_instant_and_not_the_next_months() {
        let span = MonthSpan::containing(-1, ColumnKind::Timestamp).unwrap();
        assert_eq!((span.period.to_string(), span.raw), ("1999-12".to_owned(), -31 * DAY_US..0));
        let span = MonthSpan::containing(0, ColumnKind::Timestamp).unwrap();
        assert_eq!((span.period.to_string(), span.raw), ("2000-01".to_owned(), 0..31 * DAY_US));
        let span = MonthSpan::containing(31 + 28, ColumnKind::Date).unwrap();
        assert_eq!((span.period.to_string(), span.raw), ("2000-02".to_owned(), 31..60));
        assert!(MonthSpan::containing(i64::MAX, ColumnKind::Timestamp).is_none());
        assert!(MonthSpan::containing(i64::from(i32::MIN), ColumnKind::Date).is_none());
    }

    #[test]
    fn parts_are_written_as_they_are_read() {
        for text in ["all", "2025-10"] {
            assert_eq!(text.parse::<Part>().unwrap().to_string(), text);
        }
        assert!("2025".parse::<Part>().is_err());
    }
}
