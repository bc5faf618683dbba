//! Values that clients send into the places of a question: in text or in binary, each of the type that the client names or the question
//! tells.

use bytes::{Buf, Bytes};
use datafusion::arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use datafusion::common::ScalarValue;
use pgwire::api::Type;

use super::digits::{self, DAYS_TO_2000, MICROS_TO_2000};
use super::fault::Fault;
use super::frames::{Bind, Fields, FrameError};

/// The elements of one array.
const MOST_ELEMENTS: usize = 100_000;

/// A place for a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// What the client is told, and what it sends.
    pub(super) kind: Type,
    /// Whether the client named the type itself.
    pub(super) is_named: bool,
    /// What the question takes there, where it tells.
    pub(super) wanted: Option<DataType>,
}

/// Reads the values of a message.
pub(super) fn read(bind: &Bind, places: &[Place]) -> Result<Vec<ScalarValue>, Fault> {
    if bind.values.len() != places.len() {
        let (given, wanted) = (bind.values.len(), places.len());
        let message = format!("bind message supplies {given} parameters, but prepared statement \"{}\" requires {wanted}", bind.statement);
        return Err(Fault::new("08P01", message));
    }
    if bind.value_formats.len() > 1 && bind.value_formats.len() != places.len() {
        return Err(Fault::new("08P01", "bind message has as many formats as neither one nor its values"));
    }
    let format = |index: usize| match bind.value_formats.as_slice() {
        [] => 0,
        [all] => *all,
        formats => formats[index],
    };
    let value = |(index, (value, place)): (usize, (&Option<Bytes>, &Place))| {
        let read = match (value, format(index)) {
            (None, _) => Ok(null(place)),
            (Some(bytes), 0) => in_text(bytes, place),
            (Some(bytes), 1) => in_binary(bytes.clone(), &place.kind).and_then(|value| fitted(value, place)),
            (Some(_), odd) => Err(Fault::new("22023", format!("unsupported format code: {odd}"))),
        };
        read.map_err(|fault| Fault { message: format!("parameter ${}: {}", index + 1, fault.message), ..fault })
    };
    bind.values.iter().zip(places).enumerate().map(value).collect()
}

fn null(place: &Place) -> ScalarValue {
    let kind = place.wanted.clone().or_else(|| arrow_of(&place.kind)).unwrap_or(DataType::Utf8);
    ScalarValue::try_from(&kind).unwrap_or(ScalarValue::Null)
}

/// Returns the engine's type for one of Postgres'; none for arrays and for what is none of ours.
fn arrow_of(kind: &Type) -> Option<DataType> {
    Some(match *kind {
        Type::BOOL => DataType::Boolean,
        Type::INT2 => DataType::Int16,
        Type::INT4 => DataType::Int32,
        Type::INT8 | Type::OID | Type::REGCLASS => DataType::Int64,
        Type::FLOAT4 => DataType::Float32,
        Type::FLOAT8 => DataType::Float64,
        Type::DATE => DataType::Date32,
        Type::TIME => DataType::Time64(TimeUnit::Microsecond),
        Type::TIMESTAMP => DataType::Timestamp(TimeUnit::Microsecond, None),
        Type::TIMESTAMPTZ => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        Type::INTERVAL => DataType::Interval(IntervalUnit::MonthDayNano),
        Type::BYTEA => DataType::Binary,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::UUID | Type::JSON | Type::JSONB => DataType::Utf8,
        _ => return None,
    })
}

fn wrong(kind: &Type, text: &str) -> Fault {
    let shown: String = text.chars().take(50).collect();
    Fault::new("22P02", format!("invalid input syntax for type {}: \"{shown}\"", kind.name()))
}

fn in_text(bytes: &Bytes, place: &Place) -> Result<ScalarValue, Fault> {
    let text = std::str::from_utf8(bytes).map_err(|_| Fault::new("22021", "invalid byte sequence for encoding \"UTF8\""))?;
    text_value(text, &place.kind).and_then(|value| fitted(value, place))
}

fn text_value(text: &str, kind: &Type) -> Result<ScalarValue, Fault> {
    if let Some(of) = element_of(kind) {
        let elements = array_elements(text).ok_or_else(|| wrong(kind, text))?;
        let values = elements.iter().map(|element| element.as_deref().map_or_else(|| Ok(None), |text| text_value(text, &of).map(Some)));
        return list(values.collect::<Result<_, _>>()?, &of);
    }
    match *kind {
        Type::BOOL => match text.trim().to_ascii_lowercase().as_str() {
            "t" | "true" | "y" | "yes" | "on" | "1" => Ok(ScalarValue::Boolean(Some(true))),
            "f" | "false" | "n" | "no" | "off" | "0" => Ok(ScalarValue::Boolean(Some(false))),
            _ => Err(wrong(kind, text)),
        },
        Type::NUMERIC => decimal(text.trim()).ok_or_else(|| wrong(kind, text)),
        Type::BYTEA => {
            let hex = text.strip_prefix("\\x").filter(|hex| hex.is_ascii() && hex.len() % 2 == 0).ok_or_else(|| wrong(kind, text))?;
            let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
            bytes.collect::<Result<_, _>>().map(|bytes| ScalarValue::Binary(Some(bytes))).map_err(|_| wrong(kind, text))
        }
        _ => {
            let text_value = ScalarValue::Utf8(Some(without_zone(text, kind).to_owned()));
            match arrow_of(kind).ok_or_else(|| unknown(kind))? {
                DataType::Utf8 => Ok(text_value),
                other => text_value.cast_to(&other).ok().filter(|value| !value.is_null()).ok_or_else(|| wrong(kind, text)),
            }
        }
    }
}

/// Takes away the zone behind a day, or behind a time that has none: it says nothing, as in Postgres. pgjdbc does not know what a place
/// takes, and always sends one: `2025-10-01 +02`.
fn without_zone<'a>(text: &'a str, kind: &Type) -> &'a str {
    // Behind the signs of the day.
    let from = match *kind {
        Type::DATE | Type::TIMESTAMP => 10,
        Type::TIME => 0,
        _ => return text,
    };
    let text = text.trim();
    let Some(rest) = text.get(from..) else { return text };
    let is_digits = |zone: &str| !zone.is_empty() && zone.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    match rest.rfind(['+', '-']) {
        Some(at) if is_digits(&rest[at + 1..]) => text[..from + at].trim_end(),
        _ => text.strip_suffix(['Z', 'z']).unwrap_or(text).trim_end(),
    }
}

fn unknown(kind: &Type) -> Fault {
    Fault::new("0A000", format!("values of type {} are not taken", kind.name())).hint("send it as text")
}

/// A decimal with as many digits as are written.
fn decimal(text: &str) -> Option<ScalarValue> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text.strip_prefix('+').unwrap_or(text)), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{fraction}");
    if all.is_empty() || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let significant = all.trim_start_matches('0');
    let scale = i8::try_from(fraction.len()).ok().filter(|scale| *scale <= 38)?;
    let precision = u8::try_from(significant.len().max(fraction.len()).max(1)).ok().filter(|precision| *precision <= 38)?;
    let unscaled: i128 = if significant.is_empty() { 0 } else { significant.parse().ok()? };
    Some(ScalarValue::Decimal128(Some(sign * unscaled), precision, scale))
}

fn in_binary(mut bytes: Bytes, kind: &Type) -> Result<ScalarValue, Fault> {
    let broken = || Fault::new("22P03", format!("incorrect binary data format for type {}", kind.name()));
    if let Some(of) = element_of(kind) {
        let elements = packed_elements(bytes).map_err(|_| broken())?;
        let values = elements.into_iter().map(|element| element.map_or_else(|| Ok(None), |bytes| in_binary(bytes, &of).map(Some)));
        return list(values.collect::<Result<_, _>>()?, &of);
    }
    if let Some(size) = width(kind)
        && bytes.len() != size
    {
        return Err(broken());
    }
    Ok(match *kind {
        Type::BOOL => ScalarValue::Boolean(Some(bytes[0] != 0)),
        Type::INT2 => ScalarValue::Int16(Some(bytes.get_i16())),
        Type::INT4 => ScalarValue::Int32(Some(bytes.get_i32())),
        Type::OID | Type::REGCLASS => ScalarValue::Int64(Some(bytes.get_u32().into())),
        Type::INT8 => ScalarValue::Int64(Some(bytes.get_i64())),
        Type::FLOAT4 => ScalarValue::Float32(Some(bytes.get_f32())),
        Type::FLOAT8 => ScalarValue::Float64(Some(bytes.get_f64())),
        Type::DATE => ScalarValue::Date32(Some(bytes.get_i32().checked_add(DAYS_TO_2000).ok_or_else(broken)?)),
        Type::TIME => ScalarValue::Time64Microsecond(Some(bytes.get_i64())),
        Type::TIMESTAMP | Type::TIMESTAMPTZ => {
            let zone = (*kind == Type::TIMESTAMPTZ).then(|| "UTC".into());
            ScalarValue::TimestampMicrosecond(Some(bytes.get_i64().checked_add(MICROS_TO_2000).ok_or_else(broken)?), zone)
        }
        Type::INTERVAL => {
            let (micros, days, months) = (bytes.get_i64(), bytes.get_i32(), bytes.get_i32());
            ScalarValue::new_interval_mdn(months, days, micros.checked_mul(1_000).ok_or_else(broken)?)
        }
        Type::NUMERIC => digits::unpacked(&bytes).and_then(|digits| decimal(&digits)).ok_or_else(broken)?,
        Type::UUID => ScalarValue::Utf8(Some(uuid::Uuid::from_slice(&bytes).map_err(|_| broken())?.to_string())),
        Type::BYTEA => ScalarValue::Binary(Some(bytes.into())),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR | Type::NAME | Type::UNKNOWN | Type::JSON => {
            ScalarValue::Utf8(Some(String::from_utf8(bytes.into()).map_err(|_| broken())?))
        }
        _ => return Err(unknown(kind)),
    })
}

/// How many bytes a value of a type has, where all have as many.
fn width(kind: &Type) -> Option<usize> {
    Some(match *kind {
        Type::BOOL => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::OID | Type::REGCLASS | Type::FLOAT4 | Type::DATE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIME | Type::TIMESTAMP | Type::TIMESTAMPTZ => 8,
        Type::INTERVAL | Type::UUID => 16,
        _ => return None,
    })
}

/// Turns a value into what the question takes there, unless the client named another type: then the question says how both meet.
fn fitted(value: ScalarValue, place: &Place) -> Result<ScalarValue, Fault> {
    match &place.wanted {
        Some(wanted) if !place.is_named && value.data_type() != *wanted => {
            let fits = value.cast_to(wanted).ok().filter(|fitted| !fitted.is_null());
            fits.ok_or_else(|| wrong(&place.kind, &value.to_string()))
        }
        _ => Ok(value),
    }
}

fn list(values: Vec<Option<ScalarValue>>, of: &Type) -> Result<ScalarValue, Fault> {
    let kind = values.iter().flatten().next().map(ScalarValue::data_type).or_else(|| arrow_of(of)).unwrap_or(DataType::Utf8);
    let missing = ScalarValue::try_from(&kind).map_err(|_| unknown(of))?;
    // Decimals of different scales are brought to the widest that there is.
    let kind = match kind {
        DataType::Decimal128(..) => {
            let scale = values
                .iter()
                .flatten()
                .filter_map(|value| if let ScalarValue::Decimal128(_, _, scale) = value { Some(*scale) } else { None });
            DataType::Decimal128(38, scale.max().unwrap_or(0))
        }
        kind => kind,
    };
    let values = values.into_iter().map(|value| value.unwrap_or_else(|| missing.clone()).cast_to(&kind)).collect::<Result<Vec<_>, _>>();
    let values = values.map_err(|error| Fault::new("22P02", error.strip_backtrace()))?;
    Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &kind)))
}

/// The elements of `{1,2,NULL,"a,b"}`; none for what is no array of one dimension.
fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?;
    let (mut elements, mut letters) = (Vec::new(), inner.chars().peekable());
    if inner.trim().is_empty() {
        return Some(elements);
    }
    loop {
        let (mut element, mut is_quoted, mut is_inside) = (String::new(), false, false);
        let has_more = loop {
            match letters.next() {
                None if is_inside => return None,
                None => break false,
                Some('"') => {
                    is_quoted = true;
                    is_inside = !is_inside;
                }
                Some('\\') => element.push(letters.next()?),
                Some(',') if !is_inside => break true,
                Some('{' | '}') if !is_inside => return None,
                Some(letter) => element.push(letter),
            }
        };
        elements.push(match (is_quoted, element.trim()) {
            (true, _) => Some(element),
            (false, null) if null.eq_ignore_ascii_case("null") => None,
            (false, plain) => Some(plain.to_owned()),
        });
        if elements.len() > MOST_ELEMENTS {
            return None;
        }
        if !has_more {
            return Some(elements);
        }
    }
}

/// The elements of a packed array of at most one dimension.
fn packed_elements(bytes: Bytes) -> Result<Vec<Option<Bytes>>, FrameError> {
    let odd = FrameError::Broken("this is no array of one dimension");
    let mut fields = Fields(bytes);
    let (dimensions, _, _) = (fields.int()?, fields.int()?, fields.int()?);
    match dimensions {
        0 => Ok(Vec::new()),
        1 => {
            let (count, _) = (fields.int()?, fields.int()?);
            let count = usize::try_from(count).ok().filter(|count| *count <= MOST_ELEMENTS).ok_or(odd)?;
            (0..count).map(|_| fields.value()).collect()
        }
        _ => Err(odd),
    }
}

/// Returns what an array is made of; none for what is no array.
fn element_of(kind: &Type) -> Option<Type> {
    match *kind {
        Type::BOOL_ARRAY => Some(Type::BOOL),
        Type::INT2_ARRAY => Some(Type::INT2),
        Type::INT4_ARRAY => Some(Type::INT4),
        Type::INT8_ARRAY => Some(Type::INT8),
        Type::OID_ARRAY => Some(Type::OID),
        Type::FLOAT4_ARRAY => Some(Type::FLOAT4),
        Type::FLOAT8_ARRAY => Some(Type::FLOAT8),
        Type::NUMERIC_ARRAY => Some(Type::NUMERIC),
        Type::TEXT_ARRAY => Some(Type::TEXT),
        Type::VARCHAR_ARRAY => Some(Type::VARCHAR),
        Type::NAME_ARRAY => Some(Type::NAME),
        Type::DATE_ARRAY => Some(Type::DATE),
        Type::TIMESTAMP_ARRAY => Some(Type::TIMESTAMP),
        Type::TIMESTAMPTZ_ARRAY => Some(Type::TIMESTAMPTZ),
        Type::UUID_ARRAY => Some(Type::UUID),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(kind: Type, wanted: Option<DataType>) -> Place {
        Place { kind, is_named: false, wanted }
    }

    fn one(bytes: &'static [u8], format: i16, place: Place) -> Result<ScalarValue, Fault> {
        let bind = Bind {
            portal: String::new(),
            statement: String::new(),
            value_formats: vec![format],
            values: vec![Some(Bytes::from_static(bytes))],
            result_formats: Vec::new(),
        };
        read(&bind, &[place]).map(|mut values| values.remove(0))
    }

    #[test]
    fn a_value_becomes_what_the_question_takes() {
        let money = DataType::Decimal128(20, 4);
        assert_eq!(one(b"12.5", 0, place(Type::NUMERIC, Some(money.clone()))), Ok(ScalarValue::Decimal128(Some(125_000), 20, 4)));
        let packed = &[0, 2, 0, 0, 0, 0, 0, 1, 0, 12, 0x13, 0x88];
        assert_eq!(one(packed, 1, place(Type::NUMERIC, Some(money))), Ok(ScalarValue::Decimal128(Some(125_000), 20, 4)));
        assert_eq!(one(b"2025-10-01", 0, place(Type::DATE, None)), Ok(ScalarValue::Date32(Some(20_362))));
        let instant = ScalarValue::TimestampMicrosecond(Some(1_759_276_800_000_000), Some("UTC".into()));
        assert_eq!(one(b"2025-10-01 02:00:00+02", 0, place(Type::TIMESTAMPTZ, None)), Ok(instant));
        for day in [&b"2025-10-01 +02"[..], b"2025-10-01 +02:00", b"2025-10-01-05", b"2025-10-01 Z", b" 2025-10-01 "] {
            assert_eq!(one(day, 0, place(Type::DATE, None)), Ok(ScalarValue::Date32(Some(20_362))), "{day:?}");
        }
        let local = ScalarValue::TimestampMicrosecond(Some(1_759_284_000_000_000), None);
        assert_eq!(one(b"2025-10-01 02:00:00+02", 0, place(Type::TIMESTAMP, None)), Ok(local), "the zone says nothing");
        assert_eq!(one(b"02:00:00.5+02", 0, place(Type::TIME, None)), Ok(ScalarValue::Time64Microsecond(Some(7_200_500_000))));
        assert_eq!(one(b"yes", 0, place(Type::BOOL, None)), Ok(ScalarValue::Boolean(Some(true))));
        assert_eq!(one(&[0, 0, 0, 7], 1, place(Type::INT4, Some(DataType::Int64))), Ok(ScalarValue::Int64(Some(7))));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        for (bytes, format, kind, code) in [
            (&b"x"[..], 0, Type::INT8, "22P02"),
            (b"99999", 0, Type::INT2, "22P02"),
            (b"2025-10-01 x", 0, Type::DATE, "22P02"),
            ("2025-10-0\u{e9}".as_bytes(), 0, Type::DATE, "22P02"),
            (b"+02", 0, Type::DATE, "22P02"),
            (b"1e400", 0, Type::NUMERIC, "22P02"),
            (b"\xff", 0, Type::TEXT, "22021"),
            (b"\0\0", 1, Type::INT4, "22P03"),
            (b"\0\0\0\x01\0\0\0\0\0\0\0\x17\x7f\xff\xff\xff\0\0\0\x01", 1, Type::INT4_ARRAY, "22P03"),
            (b"{1,{2}}", 0, Type::INT4_ARRAY, "22P02"),
            (b"1", 7, Type::INT4, "22023"),
            (b"(1,1)", 0, Type::POINT, "0A000"),
        ] {
            assert_eq!(one(bytes, format, place(kind.clone(), None)).unwrap_err().code, code, "{kind}");
        }
    }

    #[test]
    fn arrays_come_in_both_forms() {
        let texts = |values: &[Option<&str>]| {
            let values: Vec<_> = values.iter().map(|value| ScalarValue::Utf8(value.map(str::to_owned))).collect();
            Ok(ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8)))
        };
        assert_eq!(one(b"{a,\"b,\\\"c\",NULL}", 0, place(Type::TEXT_ARRAY, None)), texts(&[Some("a"), Some("b,\"c"), None]));
        let packed = b"\0\0\0\x01\0\0\0\0\0\0\0\x19\0\0\0\x02\0\0\0\x01\0\0\0\x01a\xff\xff\xff\xff";
        assert_eq!(one(packed, 1, place(Type::TEXT_ARRAY, None)), texts(&[Some("a"), None]));
        assert_eq!(one(b"{}", 0, place(Type::TEXT_ARRAY, None)), texts(&[]));
    }
}
