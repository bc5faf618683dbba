//! What the integers of a chart count, and how people read them.

use granary_types::{Currency, Money};
use serde::{Deserialize, Serialize};

/// What one step of a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Whole things.
    Count,
    /// Minor units of a currency.
    Money(Currency),
    /// Bytes, read as GiB.
    Bytes,
    /// Hundredths of a percent: 9950 is 99.50 %.
    Percent,
    /// Minutes.
    Minutes,
}

const GIB: i64 = 1 << 30;

impl Unit {
    /// Writes a value in full: `58,750.00 USD`, `1,234.5 GiB`, `99.50 %`, `2 h 05 min`.
    pub fn format(self, value: i64) -> String {
        match self {
            Self::Count => grouped(value),
            Self::Money(currency) => money(Money::new(value, currency)),
            Self::Bytes => format!("{} GiB", gib(value)),
            Self::Percent => format!("{} %", fraction(value, 100, 2)),
            Self::Minutes => minutes(value),
        }
    }

    /// Writes a value as short as an axis wants it: `58.8k`, `1,234`, `99.5 %`.
    pub fn tick(self, value: i64) -> String {
        self.tick_beside(value, value)
    }

    /// Writes a tick of an axis whose largest one is given, so that all are written in thousands or none.
    pub(super) fn tick_beside(self, value: i64, largest: i64) -> String {
        match self {
            Self::Minutes => minutes(value),
            Self::Percent => format!("{} %", trimmed(&fraction(value, 100, 2))),
            Self::Count | Self::Money(_) | Self::Bytes => compact(value, self.step(), largest),
        }
    }

    /// Names the unit beside a title; empty where the values name it themselves.
    pub fn name(self) -> String {
        match self {
            Self::Count | Self::Percent | Self::Minutes => String::new(),
            Self::Money(currency) => currency.to_string(),
            Self::Bytes => "GiB".to_owned(),
        }
    }

    /// How many of the smallest steps make one of what people read.
    pub(super) fn step(self) -> i64 {
        match self {
            Self::Count => 1,
            Self::Money(currency) => 10_i64.pow(currency.exponent()),
            Self::Bytes => GIB,
            Self::Percent => 100,
            Self::Minutes => 60,
        }
    }

    /// The smallest distance of two ticks.
    pub(super) fn finest(self) -> i64 {
        match self {
            Self::Bytes => GIB / 10,
            Self::Percent => 10,
            Self::Count | Self::Minutes | Self::Money(_) => 1,
        }
    }
}

/// What people read has the minus sign that is as wide as the plus; programs get a hyphen, from `Money` itself.
const MINUS: &str = "−";

/// Writes an amount for people: `−58,750.00 USD`.
fn money(amount: Money) -> String {
    amount.to_string().replacen('-', MINUS, 1)
}

/// Writes a whole number with thousands separated: `1,234,567`.
pub(crate) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if value < 0 {
        text.push_str(MINUS);
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Writes `value / step` with a number of places, half away from zero.
fn fraction(value: i64, step: i64, places: u32) -> String {
    let shift = 10_i128.pow(places);
    let scaled = i128::from(value.unsigned_abs()) * shift;
    let rounded = (scaled + i128::from(step) / 2) / i128::from(step);
    let whole = grouped(i64::try_from(rounded / shift).unwrap_or(i64::MAX));
    let sign = if value < 0 && rounded > 0 { MINUS } else { "" };
    if places == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{:0width$}", rounded % shift, width = places as usize)
}

fn gib(bytes: i64) -> String {
    fraction(bytes, GIB, 1)
}

fn minutes(value: i64) -> String {
    let (hours, rest) = (value / 60, (value % 60).abs());
    match (hours, rest) {
        (0, _) => format!("{value} min"),
        (_, 0) => format!("{hours} h"),
        _ => format!("{hours} h {rest:02} min"),
    }
}

fn compact(value: i64, step: i64, largest: i64) -> String {
    if value == 0 {
        return "0".to_owned();
    }
    match largest.unsigned_abs() / step.unsigned_abs() {
        0..10 => trimmed(&fraction(value, step, 2)),
        10..10_000 => trimmed(&fraction(value, step, 1)),
        10_000..1_000_000 => format!("{}k", trimmed(&fraction(value, step.saturating_mul(1_000), 1))),
        _ => format!("{}M", trimmed(&fraction(value, step.saturating_mul(1_000_000), 2))),
    }
}

fn trimmed(text: &str) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_as_people_write_them() {
        assert_eq!(Unit::Money(Currency::USD).format(5_875_000), "58,750.00 USD");
        assert_eq!(Unit::Money(Currency::USD).format(-1_500), "−15.00 USD");
        assert_eq!(Unit::Bytes.format(1_325_000_000_000), "1,234.0 GiB");
        assert_eq!(Unit::Percent.format(9_950), "99.50 %");
        assert_eq!(Unit::Minutes.format(125), "2 h 05 min");
        assert_eq!(Unit::Count.format(-1_234_567), "−1,234,567");
        assert_eq!(Unit::Minutes.format(0), "0 min");
    }

    #[test]
    fn ticks_are_short() {
        let money = Unit::Money(Currency::USD);
        assert_eq!((money.tick(5_875_000), money.tick(0), money.tick(-250_000_000)), ("58.8k".into(), "0".into(), "−2.5M".into()));
        assert_eq!(Unit::Percent.tick(9_950), "99.5 %");
        assert_eq!(Unit::Percent.tick(10_000), "100 %");
        assert_eq!(Unit::Count.tick(1_500), "1,500");
    }

    #[test]
    fn an_axis_is_written_in_one_way() {
        let ticks: Vec<_> = [0, 5_000, 10_000, 15_000].map(|tick| Unit::Count.tick_beside(tick, 15_000)).into();
        assert_eq!(ticks, ["0", "5k", "10k", "15k"]);
    }

    #[test]
    fn extremes_do_not_overflow() {
        for unit in [Unit::Count, Unit::Money(Currency::USD), Unit::Bytes, Unit::Percent, Unit::Minutes] {
            for value in [i64::MIN, -1, 0, 1, i64::MAX] {
                assert!(!unit.format(value).is_empty() && !unit.tick(value).is_empty());
            }
        }
    }
}
