//! The few functions that the models need beyond SQL: days in a zone, sets of days as bits, and minor units by ISO 4217.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, Date32Array, Decimal128Array, Int64Array, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::cast::{as_date32_array, as_decimal128_array, as_int64_array, as_string_array, as_timestamp_microsecond_array};
use datafusion::common::exec_err;
use datafusion::error::Result;
use datafusion::logical_expr::{ColumnarValue, ScalarUDF, Volatility, create_udf};
use granary_types::{Currency, day_of};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Places of the decimal that stands beside an amount in minor units: enough for every currency.
const MAJOR_SCALE: i8 = 4;
/// Places of a quantity times a unit price.
const PRODUCT_SCALE: i8 = 12;

/// Returns every function, to be registered in a session.
pub(crate) fn all() -> Vec<ScalarUDF> {
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let product = DataType::Decimal128(38, PRODUCT_SCALE);
    let major_type = DataType::Decimal128(20, MAJOR_SCALE);
    vec![
        function("day_in_zone", vec![instant, DataType::Utf8], DataType::Date32, day_in_zone),
        function("day_bit", vec![DataType::Date32], DataType::Int64, day_bit),
        function("day_bits", vec![DataType::Date32; 3], DataType::Int64, day_bits),
        function("count_bits", vec![DataType::Int64], DataType::Int64, count_bits),
        function("covered_days", vec![DataType::Int64, DataType::Int64, DataType::Date32, DataType::Int64], DataType::Int64, covered_days),
        function("major", vec![DataType::Int64, DataType::Utf8], major_type, major),
        function("minor", vec![product, DataType::Utf8], DataType::Int64, minor),
    ]
}

fn function(name: &str, inputs: Vec<DataType>, output: DataType, body: fn(&[ArrayRef]) -> Result<ArrayRef>) -> ScalarUDF {
    let on_arrays = move |arguments: &[ColumnarValue]| Ok(ColumnarValue::Array(body(&ColumnarValue::values_to_arrays(arguments)?)?));
    create_udf(name, inputs, output, Volatility::Immutable, Arc::new(on_arrays))
}

/// `day_in_zone(instant, zone)`: the day on which an instant falls, seen from a zone.
fn day_in_zone(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let instants: &TimestampMicrosecondArray = as_timestamp_microsecond_array(&arguments[0])?;
    let names: &StringArray = as_string_array(&arguments[1])?;
    let mut zones: HashMap<&str, TimeZone> = HashMap::new();
    let mut days = Date32Array::builder(instants.len());
    for (instant, name) in instants.iter().zip(names) {
        let (Some(instant), Some(name)) = (instant, name) else {
            days.append_null();
            continue;
        };
        if !zones.contains_key(name) {
            let Ok(zone) = TimeZone::get(name) else { return exec_err!("'{name}' is not a time zone") };
            zones.insert(name, zone);
        }
        match Timestamp::from_microsecond(instant) {
            Ok(at) => days.append_value(days_since_epoch(day_of(at, &zones[name]))),
            Err(_) => days.append_null(),
        }
    }
    Ok(Arc::new(days.finish()))
}

/// `day_bit(day)`: the bit of a day within its month; bit 0 is the first.
fn day_bit(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let days: &Date32Array = as_date32_array(&arguments[0])?;
    Ok(Arc::new(days.iter().map(|day| day.and_then(to_date).map(|day| 1_i64 << (day.day() - 1))).collect::<Int64Array>()))
}

/// `day_bits(month_start, from, to)`: the bits of the days of a month that lie in `[from, to)`; a null `to` is no end.
fn day_bits(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (months, froms, tos) = (as_date32_array(&arguments[0])?, as_date32_array(&arguments[1])?, as_date32_array(&arguments[2])?);
    let bits = (0..months.len()).map(|row| {
        let value = |days: &Date32Array| (!days.is_null(row)).then(|| days.value(row));
        let (month, from, to) = (value(months)?, value(froms)?, value(tos).unwrap_or(i32::MAX));
        let length = i32::from(to_date(month)?.days_in_month());
        let first = from.saturating_sub(month).clamp(0, length);
        let end = to.saturating_sub(month).clamp(first, length);
        Some(((1_i64 << end) - 1) & !((1_i64 << first) - 1))
    });
    Ok(Arc::new(bits.collect::<Int64Array>()))
}

/// `count_bits(bits)`: how many days a set of days holds.
fn count_bits(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let bits: &Int64Array = as_int64_array(&arguments[0])?;
    Ok(Arc::new(bits.iter().map(|bits| bits.map(|bits| i64::from(bits.count_ones()))).collect::<Int64Array>()))
}

/// `covered_days(successes, successes_before, month_start, rpo_hours)`: the days of a month at whose end the newest restore
/// point was no older than the hours allow, counted in whole days of at least one.
fn covered_days(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (successes, befores) = (as_int64_array(&arguments[0])?, as_int64_array(&arguments[1])?);
    let (months, hours) = (as_date32_array(&arguments[2])?, as_int64_array(&arguments[3])?);
    let covered = (0..months.len()).map(|row| {
        let value = |numbers: &Int64Array| if numbers.is_null(row) { 0 } else { numbers.value(row) };
        let month = to_date((!months.is_null(row)).then(|| months.value(row))?)?;
        let length_before = month.checked_sub(jiff::Span::new().days(1)).ok()?.days_in_month();
        let known = i128::from(value(befores)) | i128::from(value(successes)) << length_before;
        let days = (value(hours) / 24).clamp(1, 31);
        let reached = (0..days).fold(0, |reached, days| reached | known << days) >> length_before;
        i64::try_from(reached & ((1 << month.days_in_month()) - 1)).ok()
    });
    Ok(Arc::new(covered.collect::<Int64Array>()))
}

/// `major(amount_minor, currency)`: an amount in minor units as a decimal.
fn major(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (amounts, currencies) = (as_int64_array(&arguments[0])?, as_string_array(&arguments[1])?);
    let mut majors = Decimal128Array::builder(amounts.len()).with_data_type(DataType::Decimal128(20, MAJOR_SCALE));
    for (amount, currency) in amounts.iter().zip(currencies) {
        let scale =
            currency.map(exponent).transpose()?.map(|exponent| 10_i128.pow(MAJOR_SCALE.unsigned_abs().into()) / 10_i128.pow(exponent));
        majors.append_option(amount.zip(scale).map(|(amount, scale)| i128::from(amount) * scale));
    }
    Ok(Arc::new(majors.finish()))
}

/// `minor(amount, currency)`: a decimal rounded half away from zero to the currency's minor unit.
fn minor(arguments: &[ArrayRef]) -> Result<ArrayRef> {
    let (amounts, currencies): (&Decimal128Array, _) = (as_decimal128_array(&arguments[0])?, as_string_array(&arguments[1])?);
    let mut minors = Int64Array::builder(amounts.len());
    for (amount, currency) in amounts.iter().zip(currencies) {
        let unit = currency.map(exponent).transpose()?.map(|exponent| 10_i128.pow(u32::from(PRODUCT_SCALE.unsigned_abs()) - exponent));
        let rounded = amount.zip(unit).map(|(amount, unit)| (amount.abs() + unit / 2) / unit * amount.signum());
        match rounded.map(i64::try_from).transpose() {
            Ok(rounded) => minors.append_option(rounded),
            Err(_) => return exec_err!("an amount does not fit into 64 bits"),
        }
    }
    Ok(Arc::new(minors.finish()))
}

fn exponent(code: &str) -> Result<u32> {
    match code.parse::<Currency>() {
        Ok(currency) => Ok(currency.exponent()),
        Err(error) => exec_err!("{error}"),
    }
}

fn days_since_epoch(day: Date) -> i32 {
    (day - Date::constant(1970, 1, 1)).get_days()
}

fn to_date(days: i32) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> i32 {
        days_since_epoch(text.parse().unwrap())
    }

    fn dates(days: &[Option<&str>]) -> ArrayRef {
        Arc::new(days.iter().map(|text| text.map(day)).collect::<Date32Array>())
    }

    fn numbers(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    fn texts(values: &[&str]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn as_numbers(array: &ArrayRef) -> Vec<i64> {
        as_int64_array(array).unwrap().values().to_vec()
    }

    #[test]
    fn a_day_is_seen_from_a_zone() {
        let at = "2025-11-01T03:30:00Z".parse::<Timestamp>().unwrap().as_microsecond();
        let instants: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![at, at]).with_timezone("UTC"));
        let days = day_in_zone(&[instants, texts(&["America/New_York", "Asia/Tokyo"])]).unwrap();
        assert_eq!(as_date32_array(&days).unwrap().values().to_vec(), [day("2025-10-31"), day("2025-11-01")]);
    }

    #[test]
    fn the_days_of_a_span_are_cut_to_the_month() {
        let months = dates(&[Some("2025-02-01"); 4]);
        let froms = dates(&[Some("2025-01-10"), Some("2025-02-27"), Some("2025-03-01"), Some("2025-02-03")]);
        let tos = dates(&[None, Some("2025-04-01"), None, Some("2025-02-03")]);
        let bits = day_bits(&[months, froms, tos]).unwrap();
        assert_eq!(as_numbers(&count_bits(&[bits]).unwrap()), [28, 2, 0, 0]);
    }

    #[test]
    fn a_restore_point_covers_as_many_days_as_the_hours_allow() {
        // successes on the 1st and 4th, the month before on its last day
        let covered = |before: i64, hours: i64| {
            let arguments = [numbers(&[0b1001]), numbers(&[before]), dates(&[Some("2025-03-01")]), numbers(&[hours])];
            as_numbers(&covered_days(&arguments).unwrap())[0]
        };
        assert_eq!(covered(0, 24), 0b1001);
        assert_eq!(covered(0, 48), 0b11011);
        assert_eq!(covered(1 << 27, 72), 0b11_1111, "the 28th of February reaches two days into March");
        assert_eq!(covered(0, 4), 0b1001, "at least the day itself");
    }

    #[test]
    fn minor_units_follow_the_currency() {
        let amounts: ArrayRef = Arc::new(
            Decimal128Array::from(vec![1_005_000_000_000, -5_000_000_000, 12_500_000_000_000, 1_234_567_890_000])
                .with_data_type(DataType::Decimal128(38, 12)),
        );
        let minors = minor(&[amounts, texts(&["USD", "USD", "JPY", "KWD"])]).unwrap();
        assert_eq!(as_numbers(&minors), [101, -1, 13, 1235]);
        let majors = major(&[minors, texts(&["USD", "USD", "JPY", "KWD"])]).unwrap();
        assert_eq!(as_decimal128_array(&majors).unwrap().values().to_vec(), [10_100, -100, 130_000, 12_350]);
        assert!(minor(&[Arc::new(Decimal128Array::from(vec![1])), texts(&["usd"])]).is_err());
    }
}
