//! One text for one JSON value, so that equal content has an equal hash.

use std::cmp::Ordering;
use std::fmt::Write;

use serde_json::{Number, Value};

/// Appends the canonical text of a value as RFC 8785 (JCS) writes it: keys by their UTF-16 code units, no white space, numbers as
/// ECMAScript prints a double.
///
/// Fractions are what `serde_json` reads, which may be off by the last bit; no type of event counts one. Keys are sorted here and
/// numbers are written here, because what `serde_json` keeps depends on features that any other crate of the build may switch on.
pub(crate) fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_text(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_canonical(item, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<(&String, &Value)> = members.iter().collect();
            if !members.is_sorted_by(|(one, _), (two, _)| in_utf16(one, two).is_le()) {
                members.sort_unstable_by(|(one, _), (two, _)| in_utf16(one, two));
            }
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_text(key, out);
                out.push(':');
                write_canonical(member, out);
            }
            out.push('}');
        }
    }
}

/// Appends a text in quotes; only quotes, backslashes and control characters are escaped.
pub(crate) fn write_text(text: &str, out: &mut String) {
    out.push('"');
    let mut written = 0;
    for (index, byte) in text.bytes().enumerate() {
        if byte >= 0x20 && byte != b'"' && byte != b'\\' {
            continue;
        }
        out.push_str(&text[written..index]);
        written = index + 1;
        match byte {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            _ => _ = write!(out, "\\u{byte:04x}"),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// Orders two keys by their UTF-16 code units. Bytes have the same order, but where a surrogate meets what stands above surrogates.
fn in_utf16(one: &str, two: &str) -> Ordering {
    let is_low = |text: &str| text.bytes().all(|byte| byte < 0xee);
    if is_low(one) || is_low(two) { one.cmp(two) } else { one.encode_utf16().cmp(two.encode_utf16()) }
}

/// The largest whole number up to which every one is a double.
const EXACT: u64 = 1 << 53;

fn write_number(number: &Number, out: &mut String) {
    let written = match number.as_i64() {
        Some(whole) if whole.unsigned_abs() <= EXACT => write!(out, "{whole}"),
        _ => return write_double(number.as_f64().unwrap_or(0.0), out),
    };
    debug_assert!(written.is_ok(), "a String takes every text");
}

/// Writes a double as `Number::toString` of ECMAScript does: the fewest digits that tell it from others, without an exponent from
/// 1e-6 up to 1e21.
fn write_double(double: f64, out: &mut String) {
    if double == 0.0 {
        return out.push('0');
    }
    let shortest = format!("{:e}", double.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(|char| *char != '.').collect();
    let digits = even_digits(double.abs(), &digits, exponent).unwrap_or(digits);
    let exponent: i32 = exponent.parse().unwrap_or(0);
    // The point stands behind so many digits.
    let point = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    if double < 0.0 {
        out.push('-');
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    if (-5..=0).contains(&point) {
        out.push_str("0.");
        out.push_str(&zeros(-point));
        out.push_str(&digits);
    } else if (1..=21).contains(&point) && count <= point {
        out.push_str(&digits);
        out.push_str(&zeros(point - count));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        out.push_str(whole);
        out.push('.');
        out.push_str(fraction);
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        let written = write!(out, "{first}{dot}{rest}e{sign}{}", exponent.unsigned_abs());
        debug_assert!(written.is_ok(), "a String takes every text");
    }
}

/// Of two texts that are equally short and equally near ECMAScript takes the one that ends evenly, Rust the larger.
fn even_digits(double: f64, digits: &str, exponent: &str) -> Option<String> {
    if digits.bytes().next_back().is_none_or(|last| last % 2 == 0) {
        return None;
    }
    let exact: String = format!("{double:.60e}").split('e').next()?.chars().filter(|char| *char != '.').collect();
    let (head, tail) = exact.split_at_checked(digits.len())?;
    let is_midway = tail.strip_prefix('5').is_some_and(|rest| rest.bytes().all(|digit| digit == b'0'));
    let (first, rest) = head.split_at_checked(1)?;
    let is_same = format!("{first}.{rest}e{exponent}").parse::<f64>().is_ok_and(|read| read.to_bits() == double.to_bits());
    (is_midway && is_same).then(|| head.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        let mut out = String::new();
        write_canonical(&serde_json::from_str(text).unwrap(), &mut out);
        out
    }

    #[test]
    fn equal_content_has_one_text() {
        assert_eq!(canonical(r#"{ "b": [1, 2.0, -0.0], "a": {"d": null, "c": "ä\u0041"} }"#), r#"{"a":{"c":"äA","d":null},"b":[1,2,0]}"#);
        assert_eq!(canonical("1.5"), canonical("15e-1"));
        assert_eq!(canonical("9007199254740993"), "9007199254740992", "a number of JSON is a double");
        assert_ne!(canonical("0.1"), canonical("0.10000000000000002"));
    }

    #[test]
    fn the_text_is_json_again() {
        let text = "\"quote \\\" back \\\\ line \\n bell \\u0007 ä\"";
        assert_eq!(serde_json::from_str::<Value>(&canonical(text)).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }

    #[test]
    fn the_texts_of_rfc_8785_come_out_to_the_byte() {
        // The sample's 333333333.33333329 as the double that it is: serde_json misses the last bit of some long fractions.
        let sample = r#"{
          "numbers": [333333333.3333333, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
          "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
          "literals": [null, true, false]
        }"#;
        let text =
            r#"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(sample), text);
        let keys = "{\"\u{20ac}\": 1, \"\\r\": 2, \"\u{fb33}\": 3, \"1\": 4, \"\u{1f600}\": 5, \"\u{80}\": 6, \"\u{f6}\": 7}";
        assert_eq!(canonical(keys), "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}");
        assert_eq!(canonical(r#""\b\f\t\u0007\u007f""#), "\"\\b\\f\\t\\u0007\u{7f}\"");
    }

    /// Appendix B of RFC 8785: the bits of a double, and its text.
    #[test]
    fn doubles_are_written_as_ecmascript_does() {
        let samples: [(u64, &str); 24] = [
            (0x0000_0000_0000_0000, "0"),
            (0x8000_0000_0000_0000, "0"),
            (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"),
            (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"),
            (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"),
            (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"),
            (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"),
            (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"),
            (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"),
            (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"),
            (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"),
            (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
            (0xbecb_f647_612f_3696, "-0.0000033333333333333333"),
            (0x4314_3ff3_c1cb_0959, "1424953923781206.2"),
        ];
        for (bits, text) in samples {
            let mut out = String::new();
            write_double(f64::from_bits(bits), &mut out);
            assert_eq!(out, text, "{bits:016x}");
        }
    }
}
