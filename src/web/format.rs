//! How numbers are written for people. Amounts stay integers up to here.

use granary_reports::charts::Unit;
use granary_types::{Currency, Period};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;

/// `58,750.00 USD`, `−15.00 USD`
pub(crate) fn money(amount_minor: i64, currency: Currency) -> String {
    Unit::Money(currency).format(amount_minor)
}

/// Words that name numbers, with the minus sign that numbers have on a page: `payment −8`.
pub(crate) fn with_minus(words: &str) -> String {
    words.replace(" -", " −")
}

/// `58,750.00`, where the currency stands beside it.
pub(crate) fn amount(amount_minor: i64, currency: Currency) -> String {
    let text = money(amount_minor, currency);
    text.strip_suffix(currency.code()).map_or_else(|| text.clone(), |amount| amount.trim_end().to_owned())
}

/// `1,500`
pub(crate) fn count(value: i64) -> String {
    Unit::Count.format(value)
}

/// `1,500`, or `6.2581` where a quantity has decimals.
pub(crate) fn decimal(value: Decimal) -> String {
    let normal = value.normalize();
    if normal.is_integer() { normal.to_i64().map_or_else(|| normal.to_string(), count) } else { normal.to_string() }
}

/// `1,234.5 GiB`
pub(crate) fn bytes(value: i64) -> String {
    Unit::Bytes.format(value)
}

/// `2 h 05 min`
pub(crate) fn minutes(value: i64) -> String {
    Unit::Minutes.format(value)
}

/// `one of many`: "1 machine", "2 machines".
pub(crate) fn counted(value: i64, one: &str, many: &str) -> String {
    format!("{} {}", count(value), if value == 1 { one } else { many })
}

/// The share of two integers in tenths of a per cent, half up; none of nothing.
pub(crate) fn per_mille(part: i64, whole: i64) -> Option<i64> {
    if whole == 0 {
        return None;
    }
    let (part, whole) = (i128::from(part) * i128::from(whole.signum()), i128::from(whole.unsigned_abs()));
    i64::try_from((part * 2_000 + whole).div_euclid(whole * 2)).ok()
}

/// `49.7 %`, or a dash of nothing.
pub(crate) fn percent(part: i64, whole: i64) -> String {
    per_mille(part, whole).map_or_else(|| "–".to_owned(), |tenths| tenths_of_percent(tenths, ""))
}

/// `+4.2 %`
pub(crate) fn growth(now: i64, before: i64) -> Option<(String, i64)> {
    let tenths = per_mille(now - before, before)?;
    Some((tenths_of_percent(tenths, if tenths > 0 { "+" } else { "" }), tenths))
}

fn tenths_of_percent(tenths: i64, plus: &str) -> String {
    let sign = if tenths < 0 { "−" } else { plus };
    format!("{sign}{}.{} %", count((tenths / 10).abs()), (tenths % 10).abs())
}

/// A service level, never rounded up: `99.49 %`, in words where there is nothing to divide by.
pub(crate) fn level(part: i64, whole: i64) -> String {
    granary_reports::level(part.unsigned_abs(), whole.unsigned_abs()).map_or_else(|| "no data".to_owned(), percent_of_basis)
}

/// Another share of two counts: `99.25 %`.
pub(crate) fn share(part: i64, whole: i64) -> String {
    granary_reports::share(part.unsigned_abs(), whole.unsigned_abs()).map_or_else(|| "no data".to_owned(), percent_of_basis)
}

/// `99.50 %`
pub(crate) fn percent_of_basis(points: i64) -> String {
    Unit::Percent.format(points)
}

const MONTHS: [&str; 12] =
    ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];

/// `October 2025`
pub(crate) fn month(period: Period) -> String {
    let first = period.first_day();
    let name = usize::try_from(first.month() - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default();
    format!("{name} {}", first.year())
}

/// `Oct 25`, for an axis.
pub(crate) fn short_month(period: Period) -> String {
    let text = month(period);
    let year = period.first_day().year().rem_euclid(100);
    format!("{} {year:02}", text.get(..3).unwrap_or_default())
}

/// `3 Oct`, for an axis.
pub(crate) fn short_day(day: Date) -> String {
    let text = month(Period::of(day));
    format!("{} {}", day.day(), text.get(..3).unwrap_or_default())
}

/// `2025-10-03 14:05 CEST`, in a zone.
pub(crate) fn instant(at: Timestamp, zone: &TimeZone) -> String {
    at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %Z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_golden_margin_reads_as_in_the_domain() {
        assert_eq!(percent(2_917_500, 5_875_000), "49.7 %");
        assert_eq!(money(5_875_000, Currency::USD), "58,750.00 USD");
        assert_eq!(amount(5_875_000, Currency::USD), "58,750.00");
    }

    #[test]
    fn growth_has_a_sign_and_nothing_grows_from_nothing() {
        assert_eq!(growth(104, 100), Some(("+4.0 %".to_owned(), 40)));
        assert_eq!(growth(90, 100), Some(("−10.0 %".to_owned(), -100)));
        assert_eq!(growth(100, 100), Some(("0.0 %".to_owned(), 0)));
        assert_eq!(growth(1, 0), None);
    }

    #[test]
    fn a_target_is_met_or_missed_and_never_rounded_up_to() {
        assert_eq!((level(99_499, 100_000), level(791, 866), level(0, 0)), ("99.49 %".into(), "91.33 %".into(), "no data".into()));
        assert_eq!(share(13_043 - 98, 13_043), "99.25 %");
    }

    #[test]
    fn what_is_below_zero_has_one_sign() {
        assert_eq!((money(-1_500, Currency::USD), count(-1_500)), ("−15.00 USD".to_owned(), "−1,500".to_owned()));
        assert_eq!(with_minus("payment -8, feature adoption +3, since 2025-10-01"), "payment −8, feature adoption +3, since 2025-10-01");
    }

    #[test]
    fn months_are_words() {
        let period: Period = "2025-10".parse().unwrap();
        assert_eq!((month(period).as_str(), short_month(period).as_str()), ("October 2025", "Oct 25"));
    }
}
