//! Numbers, days and instants letter by letter, and numbers of any precision as Postgres packs them.

use std::fmt::Write;

use bytes::{BufMut, BytesMut};

/// Postgres counts days and instants from 2000 on.
pub(super) const DAYS_TO_2000: i32 = 10_957;
pub(super) const MICROS_TO_2000: i64 = 946_684_800_000_000;

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;

fn put(out: &mut BytesMut, arguments: std::fmt::Arguments<'_>) {
    // A buffer in memory takes everything.
    let _ = out.write_fmt(arguments);
}

pub(super) fn int(number: i64, out: &mut BytesMut) {
    put(out, format_args!("{number}"));
}

/// Writes a float in as few digits as tell it from all others.
pub(super) fn float(number: f64, shortest: &str, out: &mut BytesMut) {
    match number {
        number if number.is_nan() => out.put_slice(b"NaN"),
        f64::INFINITY => out.put_slice(b"Infinity"),
        f64::NEG_INFINITY => out.put_slice(b"-Infinity"),
        _ => out.put_slice(shortest.as_bytes()),
    }
}

pub(super) fn bytes(bytes: &[u8], out: &mut BytesMut) {
    out.put_slice(b"\\x");
    for byte in bytes {
        put(out, format_args!("{byte:02x}"));
    }
}

/// Writes a day, counted from 1970.
pub(super) fn date(days: i64, out: &mut BytesMut) {
    let is_before_christ = day(days, out);
    if is_before_christ {
        out.put_slice(b" BC");
    }
}

/// Writes year, month and day; tells whether the year is one before the first.
fn day(days: i64, out: &mut BytesMut) -> bool {
    // Howard Hinnant's days to civil: eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    put(out, format_args!("{:04}-{month:02}-{of_month:02}", if year > 0 { year } else { 1 - year }));
    year <= 0
}

/// Writes a time of day in microseconds.
pub(super) fn time(micros: i64, out: &mut BytesMut) {
    let (seconds, fraction) = (micros.div_euclid(MICROS_A_SECOND), micros.rem_euclid(MICROS_A_SECOND));
    put(out, format_args!("{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60));
    if fraction > 0 {
        let digits = format!("{fraction:06}");
        put(out, format_args!(".{}", digits.trim_end_matches('0')));
    }
}

/// Writes an instant in microseconds since 1970, in UTC.
pub(super) fn instant(micros: i64, has_zone: bool, out: &mut BytesMut) {
    let is_before_christ = day(micros.div_euclid(MICROS_A_DAY), out);
    out.put_u8(b' ');
    time(micros.rem_euclid(MICROS_A_DAY), out);
    if has_zone {
        out.put_slice(b"+00");
    }
    if is_before_christ {
        out.put_slice(b" BC");
    }
}

/// Splits a decimal into its digits before and behind the point.
fn split(unscaled: i128, scale: i8) -> (String, String) {
    let digits = unscaled.unsigned_abs().to_string();
    match usize::try_from(scale) {
        Err(_) => (format!("{digits}{}", "0".repeat(scale.unsigned_abs().into())), String::new()),
        Ok(scale) => {
            let digits = format!("{digits:0>width$}", width = scale + 1);
            let (whole, fraction) = digits.split_at(digits.len() - scale);
            (whole.to_owned(), fraction.to_owned())
        }
    }
}

pub(super) fn decimal(unscaled: i128, scale: i8, out: &mut BytesMut) {
    let (whole, fraction) = split(unscaled, scale);
    if unscaled < 0 {
        out.put_u8(b'-');
    }
    out.put_slice(whole.as_bytes());
    if !fraction.is_empty() {
        out.put_u8(b'.');
        out.put_slice(fraction.as_bytes());
    }
}

/// Packs a decimal as Postgres does: groups of four digits, counted from the point, without those at both ends that are zero.
pub(super) fn numeric(unscaled: i128, scale: i8, out: &mut BytesMut) {
    let (whole, fraction) = split(unscaled, scale);
    let groups_before = whole.len().div_ceil(4);
    let all = format!("{whole:0>before$}{fraction:0<behind$}", before = groups_before * 4, behind = fraction.len().div_ceil(4) * 4);
    let groups: Vec<i16> =
        all.as_bytes().chunks(4).map(|group| group.iter().fold(0, |sum, digit| sum * 10 + i16::from(digit - b'0'))).collect();
    let leading = groups.iter().take_while(|group| **group == 0).count();
    let kept = groups.len() - groups.iter().rev().take_while(|group| **group == 0).count();
    let kept = groups.get(leading..kept).unwrap_or_default();
    let weight =
        if kept.is_empty() { 0 } else { i16::try_from(groups_before).unwrap_or(i16::MAX) - i16::try_from(leading).unwrap_or(0) - 1 };
    out.put_i16(i16::try_from(kept.len()).unwrap_or(i16::MAX));
    out.put_i16(weight);
    out.put_u16(if unscaled < 0 { 0x4000 } else { 0 });
    out.put_u16(u16::try_from(scale).unwrap_or(0));
    for group in kept {
        out.put_i16(*group);
    }
}

/// Unpacks what [`numeric`] packs, into digits; none for what is no number.
pub(super) fn unpacked(mut packed: &[u8]) -> Option<String> {
    let mut next = || {
        let (word, rest) = packed.split_first_chunk::<2>()?;
        packed = rest;
        Some(i16::from_be_bytes(*word))
    };
    let (count, weight, sign, scale) = (next()?, next()?, next()?.cast_unsigned(), usize::try_from(next()?).ok()?);
    let groups: Vec<i16> = (0..count).map(|_| next()).collect::<Option<_>>()?;
    // Nothing here holds more digits than this.
    if !(-20..=20).contains(&weight) || scale > 80 || !matches!(sign, 0 | 0x4000) || groups.iter().any(|group| !(0..10_000).contains(group))
    {
        return None;
    }
    let group = |place: i16| usize::try_from(weight - place).ok().and_then(|index| groups.get(index)).copied().unwrap_or(0);
    let mut text = String::from(if sign == 0x4000 { "-" } else { "" });
    for place in (0..=weight.max(0)).rev() {
        let _ = write!(text, "{:04}", group(place));
    }
    if scale > 0 {
        let mut fraction = String::new();
        for place in 1..=i16::try_from(scale.div_ceil(4)).ok()? {
            let _ = write!(fraction, "{:04}", group(-place));
        }
        fraction.truncate(scale);
        let _ = write!(text, ".{fraction}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn days_and_instants_are_those_of_the_calendar() {
        for (days, shown) in
            [(0, "1970-01-01"), (20_362, "2025-10-01"), (-719_528, "0001-01-01 BC"), (11_016, "2000-02-29"), (47_541, "2100-03-01")]
        {
            assert_eq!(text(|out| date(days, out)), shown);
        }
        assert_eq!(text(|out| instant(1_759_276_800_000_000, true, out)), "2025-10-01 00:00:00+00");
        assert_eq!(text(|out| instant(-1, false, out)), "1969-12-31 23:59:59.999999");
        assert_eq!(text(|out| time(3_661_500_000, out)), "01:01:01.5");
    }

    #[test]
    fn decimals_are_exact_in_both_forms() {
        for (unscaled, scale, shown) in [
            (123_456_789, 4, "12345.6789"),
            (-5, 2, "-0.05"),
            (0, 4, "0.0000"),
            (12, -3, "12000"),
            (i128::MAX, 12, "170141183460469231731687303.715884105727"),
            (10_000, 0, "10000"),
            (1, 38, "0.00000000000000000000000000000000000001"),
        ] {
            assert_eq!(text(|out| decimal(unscaled, scale, out)), shown);
            let mut packed = BytesMut::new();
            numeric(unscaled, scale, &mut packed);
            let digits = unpacked(&packed).unwrap();
            let (sign, digits) = digits.strip_prefix('-').map_or(("", digits.as_str()), |digits| ("-", digits));
            let trimmed = digits.trim_start_matches('0');
            let whole =
                if trimmed.is_empty() || trimmed.starts_with('.') { format!("{sign}0{trimmed}") } else { format!("{sign}{trimmed}") };
            assert_eq!(whole, shown);
        }
        // 12345.6789 as a server sends it
        let mut packed = BytesMut::new();
        numeric(123_456_789, 4, &mut packed);
        assert_eq!(&packed[..], [0, 3, 0, 1, 0, 0, 0, 4, 0, 1, 0x09, 0x29, 0x1a, 0x85]);
        assert_eq!(unpacked(&[0, 0, 0, 0, 0xc0, 0, 0, 0]), None, "not a number");
    }
}
