//! `COPY … (FORMAT binary)`, decoded straight into Arrow builders.
//!
//! The stream is an 19-byte header, then per row a field count (16 bits) and per field a length (32 bits, −1 for null) and
//! that many bytes, then a field count of −1. All numbers are big-endian. Where rows come part by part, a batch never spans
//! two parts.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::SchemaRef;
use granary_types::{Column, ColumnKind, Dataset, Period};

use crate::LakeError;
use crate::hyphenated::hyphenated;
use crate::month::{EPOCH_SHIFT_DAYS, EPOCH_SHIFT_US, Part, PartSpan};
use crate::numeric;
use crate::schema::arrow_schema;

const SIGNATURE: &[u8; 11] = b"PGCOPY\n\xff\r\n\0";
const HEADER_BYTES: usize = 19;
/// Rows per batch.
pub(crate) const BATCH_ROWS: usize = 65_536;

/// How the rows come, and therefore where batches end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// Part after part; a batch ends where its part does. Some months are cut by the day.
    ByPart(BTreeSet<Period>),
    /// In any order; every batch but the last has [`BATCH_ROWS`] rows, and is handed over as [`Part::Whole`].
    InAnyOrder,
}

/// Decodes the rows of one dataset.
pub(crate) struct CopyDecoder {
    dataset: Dataset,
    schema: SchemaRef,
    builders: Vec<Builder>,
    rows: usize,
    /// Which column decides the part, when batches end with their parts.
    part_column: Option<usize>,
    by_day: BTreeSet<Period>,
    span: Option<PartSpan>,
    /// Bytes of a row that has not arrived whole.
    pending: Vec<u8>,
    has_header: bool,
    is_ended: bool,
}

impl CopyDecoder {
    pub(crate) fn new(dataset: Dataset, arrival: Arrival) -> Result<Self, LakeError> {
        let schema = arrow_schema(&dataset);
        let builders = dataset.columns.iter().map(|column| Builder::new(column.kind)).collect::<Result<_, _>>()?;
        let (by_day, is_cut) = match arrival {
            Arrival::ByPart(by_day) => (by_day, true),
            Arrival::InAnyOrder => (BTreeSet::new(), false),
        };
        let part_column = part_column(&dataset)?.filter(|_| is_cut);
        Ok(Self {
            dataset,
            schema,
            builders,
            rows: 0,
            part_column,
            by_day,
            span: None,
            pending: Vec::new(),
            has_header: false,
            is_ended: false,
        })
    }

    /// Decodes the next bytes and hands every batch that is full, or whose part ended, to `sink`.
    pub(crate) fn push(
        &mut self,
        bytes: &[u8],
        sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        if self.pending.is_empty() {
            let used = self.decode(bytes, sink)?;
            self.pending.extend_from_slice(&bytes[used..]);
        } else {
            let mut joined = std::mem::take(&mut self.pending);
            joined.extend_from_slice(bytes);
            let used = self.decode(&joined, sink)?;
            joined.drain(..used);
            self.pending = joined;
        }
        Ok(())
    }

    /// Hands over the last batch; an incomplete stream is an error.
    pub(crate) fn finish(mut self, sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>) -> Result<(), LakeError> {
        if !self.is_ended || !self.pending.is_empty() {
            return Err(self.malformed("it ends in the middle"));
        }
        self.flush(sink)
    }

    fn decode(&mut self, bytes: &[u8], sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>) -> Result<usize, LakeError> {
        let mut at = 0;
        if !self.has_header {
            let Some(header) = bytes.get(..HEADER_BYTES) else { return Ok(0) };
            if &header[..11] != SIGNATURE || header[11..] != [0; 8] {
                return Err(self.malformed("it has another header"));
            }
            (at, self.has_header) = (HEADER_BYTES, true);
        }
        while let Some(row) = self.next_row(&bytes[at..])? {
            if row == END_OF_ROWS {
                self.is_ended = true;
                return Ok(at + 2);
            }
            self.append(&bytes[at + 2..at + row], sink)?;
            at += row;
        }
        Ok(at)
    }

    /// Returns the length of the row that `bytes` begins with; none when it has not arrived whole.
    fn next_row(&self, bytes: &[u8]) -> Result<Option<usize>, LakeError> {
        let Some((count, _)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
        let count = i16::from_be_bytes(*count);
        if count == -1 {
            return Ok(Some(END_OF_ROWS));
        }
        if usize::try_from(count) != Ok(self.builders.len()) || self.is_ended {
            return Err(self.malformed("a row has another number of columns"));
        }
        let mut at = 2;
        for _ in 0..count {
            let Some(length) = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>()) else { return Ok(None) };
            at += 4 + usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        }
        Ok((at <= bytes.len()).then_some(at))
    }

    fn append(&mut self, row: &[u8], sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>) -> Result<(), LakeError> {
        if self.rows == BATCH_ROWS {
            self.flush(sink)?;
        }
        if let Some(index) = self.part_column {
            self.turn_page(index, row, sink)?;
        }
        let mut rest = row;
        for (builder, column) in self.builders.iter_mut().zip(self.dataset.columns) {
            let value = next_field(&mut rest);
            let fail = |reason: String| LakeError::Value { dataset: self.dataset.name, column: column.name, reason };
            match value {
                None if !column.is_nullable => return Err(fail("it is null and may not be".to_owned())),
                None => builder.append_null(),
                Some(raw) => builder.append(raw).map_err(|reason| fail(reason.to_string()))?,
            }
        }
        self.rows += 1;
        Ok(())
    }

    /// Ends the batch when a row lies in another part than the one before.
    fn turn_page(
        &mut self,
        index: usize,
        row: &[u8],
        sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>,
    ) -> Result<(), LakeError> {
        let mut rest = row;
        let mut value = None;
        for _ in 0..=index {
            value = next_field(&mut rest);
        }
        let Column { name, kind, .. } = self.dataset.columns[index];
        let fail = |reason: &str| LakeError::Value { dataset: self.dataset.name, column: name, reason: reason.to_owned() };
        let raw = match value {
            None => return Err(fail(NO_MONTH)),
            Some(raw) if kind == ColumnKind::Date => raw.try_into().map(|raw| i64::from(i32::from_be_bytes(raw))),
            Some(raw) => raw.try_into().map(i64::from_be_bytes),
        };
        let raw = raw.map_err(|_| fail("it has another type"))?;
        if self.span.as_ref().is_none_or(|span| !span.raw.contains(&raw)) {
            let next = PartSpan::containing(raw, kind, &self.by_day).ok_or_else(|| fail(NOT_FINITE))?;
            self.flush(sink)?;
            self.span = Some(next);
        }
        Ok(())
    }

    fn flush(&mut self, sink: &mut impl FnMut(Part, RecordBatch) -> Result<(), LakeError>) -> Result<(), LakeError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.rows = 0;
        let columns = self.builders.iter_mut().map(Builder::finish).collect();
        let part = self.span.as_ref().map_or(Part::Whole, |span| span.part);
        sink(part, RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn malformed(&self, reason: &'static str) -> LakeError {
        LakeError::Format { dataset: self.dataset.name, reason }
    }
}

/// What [`CopyDecoder::next_row`] answers at the trailer; no row is that short.
const END_OF_ROWS: usize = 0;

/// Why a row belongs to no month.
pub(crate) const NO_MONTH: &str = "it decides the month and is null";
/// Why an instant belongs to no month.
pub(crate) const NOT_FINITE: &str = "it decides the month and is not finite";

/// Finds the column that decides the part; none for a dataset that is written whole.
pub(crate) fn part_column(dataset: &Dataset) -> Result<Option<usize>, LakeError> {
    let Some(name) = dataset.month_column else { return Ok(None) };
    let is_month = |column: &Column| column.name == name && matches!(column.kind, ColumnKind::Date | ColumnKind::Timestamp);
    let index = dataset.columns.iter().position(is_month).ok_or(LakeError::Value {
        dataset: dataset.name,
        column: name,
        reason: "it decides the month and is neither a date nor an instant of this dataset".to_owned(),
    })?;
    Ok(Some(index))
}

/// Takes the next field off a row that is known to be whole.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
        *rest = tail;
        return None;
    };
    let (value, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(value)
}

/// Why a field does not fit its column.
#[derive(Debug, thiserror::Error)]
enum FieldError {
    #[error("it has another type")]
    Type,
    #[error("it is infinite")]
    Infinite,
    #[error("it is not UTF-8")]
    Text,
    #[error("{0}")]
    Numeric(#[from] numeric::NumericError),
}

/// A column under construction.
enum Builder {
    Bool(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal { values: Decimal128Builder, precision: u8, scale: i8 },
    Text(StringBuilder),
    Uuid(StringBuilder),
    Date(Date32Builder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Builder {
    fn new(kind: ColumnKind) -> Result<Self, LakeError> {
        Ok(match kind {
            ColumnKind::Bool => Self::Bool(BooleanBuilder::new()),
            ColumnKind::Int32 => Self::Int32(Int32Builder::new()),
            ColumnKind::Int64 => Self::Int64(Int64Builder::new()),
            ColumnKind::Float64 => Self::Float64(Float64Builder::new()),
            ColumnKind::Decimal { precision, scale } => {
                Self::Decimal { values: Decimal128Builder::new().with_precision_and_scale(precision, scale)?, precision, scale }
            }
            ColumnKind::Text => Self::Text(StringBuilder::new()),
            ColumnKind::Uuid => Self::Uuid(StringBuilder::new()),
            ColumnKind::Date => Self::Date(Date32Builder::new()),
            ColumnKind::Timestamp => Self::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        })
    }

    fn append(&mut self, raw: &[u8]) -> Result<(), FieldError> {
        match self {
            Self::Bool(values) => values.append_value(u8::from_be_bytes(fixed(raw)?) != 0),
            Self::Int32(values) => values.append_value(i32::from_be_bytes(fixed(raw)?)),
            Self::Int64(values) => values.append_value(i64::from_be_bytes(fixed(raw)?)),
            Self::Float64(values) => values.append_value(f64::from_be_bytes(fixed(raw)?)),
            Self::Decimal { values, precision, scale } => values.append_value(numeric::decode(raw, *precision, *scale)?),
            Self::Text(values) => values.append_value(std::str::from_utf8(raw).map_err(|_| FieldError::Text)?),
            Self::Uuid(values) => {
                let text = hyphenated(&fixed(raw)?);
                values.append_value(std::str::from_utf8(&text).map_err(|_| FieldError::Text)?);
            }
            Self::Date(values) => match i32::from_be_bytes(fixed(raw)?) {
                i32::MIN | i32::MAX => return Err(FieldError::Infinite),
                days => values.append_value(days.checked_add(EPOCH_SHIFT_DAYS).ok_or(FieldError::Infinite)?),
            },
            Self::Timestamp(values) => match i64::from_be_bytes(fixed(raw)?) {
                i64::MIN | i64::MAX => return Err(FieldError::Infinite),
                instant => values.append_value(instant.checked_add(EPOCH_SHIFT_US).ok_or(FieldError::Infinite)?),
            },
        }
        Ok(())
    }

    fn append_null(&mut self) {
        match self {
            Self::Bool(values) => values.append_null(),
            Self::Int32(values) => values.append_null(),
            Self::Int64(values) => values.append_null(),
            Self::Float64(values) => values.append_null(),
            Self::Decimal { values, .. } => values.append_null(),
            Self::Text(values) | Self::Uuid(values) => values.append_null(),
            Self::Date(values) => values.append_null(),
            Self::Timestamp(values) => values.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Bool(values) => Arc::new(values.finish()),
            Self::Int32(values) => Arc::new(values.finish()),
            Self::Int64(values) => Arc::new(values.finish()),
            Self::Float64(values) => Arc::new(values.finish()),
            Self::Decimal { values, .. } => Arc::new(values.finish()),
            Self::Text(values) | Self::Uuid(values) => {
                let texts = values.finish();
                if texts.len() == BATCH_ROWS {
                    // The next ones are about as long: room for them need not be doubled into.
                    *values = StringBuilder::with_capacity(BATCH_ROWS, texts.value_data().len() / 16 * 17);
                }
                Arc::new(texts)
            }
            Self::Date(values) => Arc::new(values.finish()),
            Self::Timestamp(values) => Arc::new(values.finish()),
        }
    }
}

fn fixed<const N: usize>(raw: &[u8]) -> Result<[u8; N], FieldError> {
    raw.try_into().map_err(|_| FieldError::Type)
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::{Date32Type, Decimal128Type, Int64Type, TimestampMicrosecondType};
    use granary_types::Source;
    use proptest::prelude::*;

    use super::*;

    const RUNS: Dataset = Dataset {
        name: "runs",
        source: Source::Tenant,
        month_column: Some("ended_at"),
        columns: &[
            Column::new("id", ColumnKind::Int64),
            Column::new("ended_at", ColumnKind::Timestamp),
            Column::nullable("name", ColumnKind::Text),
            Column::nullable("price", ColumnKind::Decimal { precision: 10, scale: 2 }),
            Column::nullable("day", ColumnKind::Date),
        ],
        sort: &["id"],
    };
    const DAY: i64 = 86_400_000_000;

    type Fields = Vec<Option<Vec<u8>>>;

    fn row(id: i64, ended_at: i64, name: Option<&str>) -> Fields {
        vec![Some(id.to_be_bytes().into()), Some(ended_at.to_be_bytes().into()), name.map(|name| name.as_bytes().into()), None, None]
    }

    fn stream(rows: &[Fields]) -> Vec<u8> {
        let mut bytes = [SIGNATURE.as_slice(), &[0; 8]].concat();
        for row in rows {
            bytes.extend(i16::try_from(row.len()).unwrap().to_be_bytes());
            for field in row {
                bytes.extend(field.as_ref().map_or(-1, |field| i32::try_from(field.len()).unwrap()).to_be_bytes());
                bytes.extend(field.iter().flatten());
            }
        }
        bytes.extend((-1_i16).to_be_bytes());
        bytes
    }

    fn decode(chunks: &[&[u8]]) -> Result<Vec<(String, RecordBatch)>, LakeError> {
        decode_as(chunks, Arrival::ByPart(BTreeSet::new()))
    }

    fn decode_as(chunks: &[&[u8]], arrival: Arrival) -> Result<Vec<(String, RecordBatch)>, LakeError> {
        let mut batches = Vec::new();
        let mut sink = |part: Part, batch| {
            batches.push((part.to_string(), batch));
            Ok(())
        };
        let mut decoder = CopyDecoder::new(RUNS, arrival)?;
        for chunk in chunks {
            decoder.push(chunk, &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        Ok(batches)
    }

    #[test]
    fn a_batch_never_spans_two_months_wherever_the_stream_is_cut() {
        let rows = [row(1, 0, Some("a")), row(2, 31 * DAY - 1, None), row(3, 31 * DAY, Some("")), row(4, -1, Some("ä"))];
        let bytes = stream(&rows);
        let whole = decode(&[&bytes]).unwrap();
        let months: Vec<_> = whole.iter().map(|(month, batch)| (month.as_str(), batch.num_rows())).collect();
        assert_eq!(months, [("2000-01", 2), ("2000-02", 1), ("1999-12", 1)]);
        let (_, first) = &whole[0];
        assert_eq!(first.column(0).as_primitive::<Int64Type>().values(), &[1, 2]);
        assert_eq!(first.column(1).as_primitive::<TimestampMicrosecondType>().value(0), EPOCH_SHIFT_US);
        assert!(first.column(2).is_null(1) && !first.column(2).is_null(0));
        for cut in 0..bytes.len() {
            assert_eq!(decode(&[&bytes[..cut], &bytes[cut..]]).unwrap(), whole, "cut at {cut}");
        }
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(decode(&single).unwrap(), whole);
    }

    #[test]
    fn a_month_is_cut_by_the_day_where_that_is_asked_and_not_at_all_when_rows_come_in_any_order() {
        let rows = [row(1, 0, None), row(2, DAY - 1, None), row(3, DAY, None), row(4, 31 * DAY, None), row(5, 33 * DAY, None)];
        let bytes = stream(&rows);
        let parts = |arrival| {
            let batches = decode_as(&[&bytes], arrival).unwrap();
            batches.into_iter().map(|(part, batch)| (part, batch.num_rows())).collect::<Vec<_>>()
        };
        let by_day = Arrival::ByPart(BTreeSet::from(["2000-01".parse().unwrap()]));
        assert_eq!(parts(by_day), [("2000-01-01".to_owned(), 2), ("2000-01-02".to_owned(), 1), ("2000-02".to_owned(), 2)]);
        assert_eq!(parts(Arrival::InAnyOrder), [("all".to_owned(), 5)]);
    }

    #[test]
    fn decimals_and_dates_arrive_exactly() {
        let minus_twelve_and_a_half = vec![0, 2, 0, 0, 0x40, 0, 0, 2, 0, 12, 0x13, 0x88];
        let mut fields = row(1, 0, None);
        fields[3] = Some(minus_twelve_and_a_half);
        fields[4] = Some((-EPOCH_SHIFT_DAYS).to_be_bytes().into());
        let batches = decode(&[&stream(&[fields])]).unwrap();
        assert_eq!(batches[0].1.column(3).as_primitive::<Decimal128Type>().value(0), -1250);
        assert_eq!(batches[0].1.column(4).as_primitive::<Date32Type>().value(0), 0);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_named() {
        let refusal = |at: usize, field: Option<Vec<u8>>| {
            let mut fields = row(1, 0, None);
            fields[at] = field;
            decode(&[&stream(&[fields])]).unwrap_err().to_string()
        };
        assert_eq!(refusal(0, None), "runs.id cannot be exported: it is null and may not be");
        assert_eq!(refusal(0, Some(vec![0; 4])), "runs.id cannot be exported: it has another type");
        assert_eq!(
            refusal(1, Some(i64::MAX.to_be_bytes().into())),
            "runs.ended_at cannot be exported: it decides the month and is not finite"
        );
        assert_eq!(refusal(2, Some(vec![0xff])), "runs.name cannot be exported: it is not UTF-8");
        assert_eq!(refusal(3, Some(vec![0, 0, 0, 0, 0xc0, 0, 0, 0])), "runs.price cannot be exported: it is not a finite number");
        assert_eq!(refusal(4, Some(i32::MAX.to_be_bytes().into())), "runs.day cannot be exported: it is infinite");
    }

    #[test]
    fn a_stream_that_breaks_off_is_never_taken_for_a_whole_one() {
        let bytes = stream(&[row(1, 0, Some("a")), row(2, 0, None)]);
        for length in 0..bytes.len() {
            assert!(decode(&[&bytes[..length]]).is_err(), "{length} bytes");
        }
        assert!(decode(&[&bytes, &[0]]).is_err());
        assert!(decode(&[&stream(&[])]).unwrap().is_empty());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&[SIGNATURE, &[0; 8], &tail]);
        }
    }
}
