//! The parts that a dataset is cut into: UTC months, the days of a month that is large and still changes, or one whole.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use granary_types::{ColumnKind, Period, PeriodError};
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Postgres counts days and microseconds from 2000-01-01; Arrow counts them from 1970-01-01.
pub(crate) const EPOCH_SHIFT_DAYS: i32 = 10_957;
/// The same shift in microseconds.
pub(crate) const EPOCH_SHIFT_US: i64 = EPOCH_SHIFT_DAYS as i64 * DAY_US;
const DAY_US: i64 = 86_400_000_000;
const POSTGRES_EPOCH: Date = date(2000, 1, 1);

/// Returns how long a day is in a column of days or of instants, on the wire.
pub(crate) fn day_of(kind: ColumnKind) -> i64 {
    if kind == ColumnKind::Date { 1 } else { DAY_US }
}

/// How long after its end a month is expected to change: a period's cut-off. Then its days become one file.
const SETTLES_AFTER: SignedDuration = SignedDuration::from_hours(72);

/// Which part of a dataset a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Part {
    /// All of it.
    Whole,
    /// The rows of one UTC month.
    Month(Period),
    /// The rows of one UTC day of a large month.
    Day(Date),
}

impl Part {
    /// Reads what the manifest calls a file's month and its part.
    pub(crate) fn of_manifest(month: &str, part: &str) -> Option<Self> {
        let whole: Self = month.parse().ok()?;
        if part.is_empty() {
            return Some(whole);
        }
        let day: Date = part.parse().ok()?;
        (whole == Self::Month(Period::of(day))).then_some(Self::Day(day))
    }

    /// Returns what the manifest calls the month: a UTC month, or `all`.
    pub(crate) fn month_text(self) -> String {
        self.month().map_or_else(|| "all".to_owned(), |month| month.to_string())
    }

    /// Returns what the manifest calls the part: a day, or nothing.
    pub(crate) fn part_text(self) -> String {
        match self {
            Self::Whole | Self::Month(_) => String::new(),
            Self::Day(day) => day.to_string(),
        }
    }

    /// Returns the month that it is or lies in.
    pub(crate) fn month(self) -> Option<Period> {
        match self {
            Self::Whole => None,
            Self::Month(month) => Some(month),
            Self::Day(day) => Some(Period::of(day)),
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => f.write_str("all"),
            Self::Month(period) => period.fmt(f),
            Self::Day(day) => day.fmt(f),
        }
    }
}

impl FromStr for Part {
    type Err = PeriodError;

    /// Reads `all` or a month.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "all" { Ok(Self::Whole) } else { text.parse().map(Self::Month) }
    }
}

/// Tells whether a month is so long past that it is expected to stay as it is.
pub(crate) fn is_settled(month: Period, now: Timestamp) -> bool {
    now.duration_since(month.end_at(&TimeZone::UTC)) >= SETTLES_AFTER
}

/// A part as the half-open range of values that its column has on the wire.
#[derive(Debug, Clone)]
pub(crate) struct PartSpan {
    pub(crate) part: Part,
    pub(crate) raw: Range<i64>,
}

impl PartSpan {
    /// Returns the part that a value on the wire lies in, its month or its day when the month is cut `by_day`; none when it is
    /// infinite or absurd.
    pub(crate) fn containing(raw: i64, kind: ColumnKind, by_day: &BTreeSet<Period>) -> Option<Self> {
        let unit = day_of(kind);
        let days = i32::try_from(raw.div_euclid(unit)).ok()?;
        let day = POSTGRES_EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()?;
        let period = Period::of(day);
        if by_day.contains(&period) {
            let start = i64::from(days) * unit;
            return Some(Self { part: Part::Day(day), raw: start..start + unit });
        }
        let at = |day: Date| Some(i64::from(POSTGRES_EPOCH.until(day).ok()?.get_days()) * unit);
        Some(Self { part: Part::Month(period), raw: at(period.first_day())?..at(period.next().first_day())? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(raw: i64, kind: ColumnKind) -> Option<(String, Range<i64>)> {
        PartSpan::containing(raw, kind, &BTreeSet::new()).map(|span| (span.part.to_string(), span.raw))
    }

    #[test]
    fn a_month_holds_its_first_instant_and_not_the_next_months() {
        assert_eq!(span(-1, ColumnKind::Timestamp), Some(("1999-12".to_owned(), -31 * DAY_US..0)));
        assert_eq!(span(0, ColumnKind::Timestamp), Some(("2000-01".to_owned(), 0..31 * DAY_US)));
        assert_eq!(span(31 + 28, ColumnKind::Date), Some(("2000-02".to_owned(), 31..60)));
        assert!(span(i64::MAX, ColumnKind::Timestamp).is_none());
        assert!(span(i64::from(i32::MIN), ColumnKind::Date).is_none());
    }

    #[test]
    fn a_day_holds_its_first_instant_and_not_the_next_days() {
        let by_day = BTreeSet::from(["1999-12".parse().unwrap()]);
        for (raw, kind, part, range) in [
            (-1, ColumnKind::Timestamp, "1999-12-31", -DAY_US..0),
            (-DAY_US, ColumnKind::Timestamp, "1999-12-31", -DAY_US..0),
            (-DAY_US - 1, ColumnKind::Timestamp, "1999-12-30", -2 * DAY_US..-DAY_US),
            (-31, ColumnKind::Date, "1999-12-01", -31..-30),
            (0, ColumnKind::Date, "2000-01", 0..31),
        ] {
            let span = PartSpan::containing(raw, kind, &by_day).unwrap();
            assert_eq!((span.part.to_string().as_str(), span.raw), (part, range));
        }
    }

    #[test]
    fn parts_are_written_as_they_are_read() {
        for text in ["all", "2025-10"] {
            let part: Part = text.parse().unwrap();
            assert_eq!((part.to_string().as_str(), part.month_text().as_str(), part.part_text().as_str()), (text, text, ""));
            assert_eq!(Part::of_manifest(text, ""), Some(part));
        }
        let day = Part::Day(date(2025, 10, 7));
        assert_eq!((day.month_text().as_str(), day.part_text().as_str()), ("2025-10", "2025-10-07"));
        assert_eq!(Part::of_manifest("2025-10", "2025-10-07"), Some(day));
        for (month, part) in [("2025-11", "2025-10-07"), ("all", "2025-10-07"), ("2025-10", "soon"), ("2025", "")] {
            assert_eq!(Part::of_manifest(month, part), None, "{month} {part}");
        }
        // What is published has months, never days.
        assert!("2025".parse::<Part>().is_err() && "2025-10-07".parse::<Part>().is_err());
    }

    #[test]
    fn a_month_settles_three_days_after_its_end() {
        let october: Period = "2025-10".parse().unwrap();
        assert!(!is_settled(october, "2025-11-03T23:59:59Z".parse().unwrap()));
        assert!(is_settled(october, "2025-11-04T00:00:00Z".parse().unwrap()));
    }
}
