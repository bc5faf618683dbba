//! One text for one JSON value, so that equal content has an equal hash.

use std::fmt::Write;

use serde_json::{Number, Value};

/// Appends the canonical text of a value: keys in byte order, no white space, whole numbers without a point.
///
/// Keys are sorted here and numbers are written here, because what `serde_json` keeps depends on features that any
/// other crate of the build may switch on.
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
            if !members.is_sorted_by_key(|(key, _)| *key) {
                members.sort_unstable_by_key(|(key, _)| *key);
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
            _ => _ = write!(out, "\\u{byte:04x}"),
        }
    }
    out.push_str(&text[written..]);
    out.push('"');
}

/// The largest whole number that a double holds without loss.
const EXACT: f64 = 9_007_199_254_740_992.0;

fn write_number(number: &Number, out: &mut String) {
    let written = if let Some(whole) = number.as_i64() {
        write!(out, "{whole}")
    } else if let Some(whole) = number.as_u64() {
        write!(out, "{whole}")
    } else {
        let double = number.as_f64().unwrap_or(0.0);
        if double.fract() == 0.0 && double.abs() < EXACT { write!(out, "{:.0}", double + 0.0) } else { write!(out, "{double:e}") }
    };
    debug_assert!(written.is_ok(), "a String takes every text");
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
        assert_eq!(canonical("9007199254740993"), "9007199254740993");
        assert_ne!(canonical("0.1"), canonical("0.10000000000000002"));
    }

    #[test]
    fn the_text_is_json_again() {
        let text = "\"quote \\\" back \\\\ line \\n bell \\u0007 ä\"";
        assert_eq!(serde_json::from_str::<Value>(&canonical(text)).unwrap(), serde_json::from_str::<Value>(text).unwrap());
    }
}
