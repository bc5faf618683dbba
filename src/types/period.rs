//! Billing periods: calendar months in a time zone.

use std::fmt;
use std::str::FromStr;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

/// A calendar month, `2025-10`; in a zone it is the half-open span of UTC instants `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Period {
    year: i16,
    month: i8,
}

/// A text that is not a period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not a period: write a year and a month such as 2025-10")]
pub struct PeriodError(String);

impl Period {
    /// The first period that there is.
    pub const MIN: Self = Self { year: 1970, month: 1 };
    /// The last period that there is.
    pub const MAX: Self = Self { year: 9998, month: 12 };

    /// Returns the period of a year and a month (1 to 12).
    ///
    /// # Errors
    /// When there is no such month, or the year is not between 1970 and 9998.
    pub fn new(year: i16, month: i8) -> Result<Self, PeriodError> {
        if (1970..=9998).contains(&year) && (1..=12).contains(&month) {
            Ok(Self { year, month })
        } else {
            Err(PeriodError(format!("{year}-{month:02}")))
        }
    }

    /// Returns the period that a day lies in.
    pub fn of(day: Date) -> Self {
        Self { year: day.year(), month: day.month() }
    }

    /// Returns the period that an instant lies in, seen from a zone.
    pub fn containing(at: Timestamp, zone: &TimeZone) -> Self {
        Self::of(day_of(at, zone))
    }

    /// Returns the first day.
    pub fn first_day(self) -> Date {
        Date::constant(self.year, self.month, 1)
    }

    /// Returns the last day.
    pub fn last_day(self) -> Date {
        self.first_day().last_of_month()
    }

    /// Returns the number of days.
    pub fn days(self) -> i8 {
        self.first_day().days_in_month()
    }

    /// Returns the first instant, seen from a zone.
    pub fn start_at(self, zone: &TimeZone) -> Timestamp {
        start_of_day(self.first_day(), zone)
    }

    /// Returns the first instant after the period, seen from a zone.
    pub fn end_at(self, zone: &TimeZone) -> Timestamp {
        self.next().start_at(zone)
    }

    /// Returns the month after.
    #[must_use]
    pub fn next(self) -> Self {
        if self.month == 12 { Self { year: self.year + 1, month: 1 } } else { Self { month: self.month + 1, ..self } }
    }

    /// Returns the month before.
    #[must_use]
    pub fn previous(self) -> Self {
        if self.month == 1 { Self { year: self.year - 1, month: 12 } } else { Self { month: self.month - 1, ..self } }
    }

    /// Returns the period `months` later (earlier when negative).
    #[must_use]
    pub fn plus_months(self, months: i32) -> Self {
        let index = i32::from(self.year) * 12 + i32::from(self.month) - 1 + months;
        let year = i16::try_from(index.div_euclid(12)).unwrap_or(self.year);
        let month = i8::try_from(index.rem_euclid(12) + 1).unwrap_or(self.month);
        Self { year, month }
    }

    /// Returns every day of the period, in order.
    pub fn each_day(self) -> impl Iterator<Item = Date> {
        let last = self.last_day();
        std::iter::successors(Some(self.first_day()), move |day| (*day < last).then(|| day.checked_add(1.day()).unwrap_or(last)))
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

impl FromStr for Period {
    type Err = PeriodError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = || PeriodError(text.chars().take(20).collect());
        let (year, month) = text.split_once('-').filter(|(year, month)| year.len() == 4 && month.len() == 2).ok_or_else(error)?;
        Self::new(year.parse().map_err(|_| error())?, month.parse().map_err(|_| error())?).map_err(|_| error())
    }
}

impl Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Returns the day on which an instant falls, seen from a zone.
pub fn day_of(at: Timestamp, zone: &TimeZone) -> Date {
    zone.to_datetime(at).date()
}

/// Midnight, or the first instant after it where the clocks skip midnight.
fn start_of_day(day: Date, zone: &TimeZone) -> Timestamp {
    day.to_zoned(zone.clone()).and_then(|midnight| midnight.start_of_day()).map_or(Timestamp::MIN, |start| start.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_half_open_span_in_its_zone() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let october: Period = "2025-10".parse().unwrap();
        assert_eq!(october.start_at(&zone).to_string(), "2025-09-30T22:00:00Z");
        assert_eq!(october.end_at(&zone).to_string(), "2025-10-31T23:00:00Z");
        assert_eq!(october.end_at(&zone), october.next().start_at(&zone));
        assert_eq!(october.each_day().count(), 31);
    }

    #[test]
    fn months_count_over_the_turn_of_the_year() {
        let january: Period = "2026-01".parse().unwrap();
        assert_eq!(january.previous().to_string(), "2025-12");
        assert_eq!(january.plus_months(-13).to_string(), "2024-12");
        assert_eq!(january.plus_months(25).to_string(), "2028-02");
    }

    #[test]
    fn what_is_not_a_month_is_refused() {
        for text in ["2025-13", "2025-1", "october", "2025/10", "", "25-10", "2025-00"] {
            assert!(text.parse::<Period>().is_err(), "{text}");
        }
    }
}
