//! Columns as Postgres describes them, and rows as it writes them: in text and in binary, exact to the last digit.

use std::sync::Arc;

use arrow_pg::datatypes::{PG_CHAR_KEY, field_into_pg_type};
use arrow_pg::encoder::encode_value;
use bytes::{BufMut, BytesMut};
use datafusion::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, RecordBatch, StringArray, StringViewArray, Time64MicrosecondArray, TimestampMicrosecondArray,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema, Time64MicrosecondType,
    TimeUnit, TimestampMicrosecondType,
};
use datafusion::arrow::error::ArrowError;
use pgwire::api::Type;
use pgwire::api::results::{DataRowEncoder, FieldFormat, FieldInfo};
use pgwire::messages::data::{FieldDescription, RowDescription};

use super::digits;
use super::fault::Fault;

/// As many as Postgres has; beyond 65,535 the protocol could not count them.
const MOST_COLUMNS: usize = 1_664;

/// The columns of an answer, and in which format each is written.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    pub(super) fields: Arc<Vec<FieldInfo>>,
}

/// Returns the type of a column.
pub(super) fn type_of(field: &Arc<Field>) -> Result<Type, Fault> {
    match field.data_type() {
        DataType::Decimal32(..) | DataType::Decimal64(..) | DataType::Decimal256(..) => Ok(Type::NUMERIC),
        DataType::Null => Ok(Type::TEXT),
        _ => field_into_pg_type(field).map_err(|_| {
            Fault::new("0A000", format!("the column \"{}\" has a type that Postgres does not: {}", field.name(), field.data_type()))
                .hint("cast it to text")
        }),
    }
}

/// Returns how many bytes a value of a type takes; -1 for as many as it needs.
pub(super) fn size_of(kind: &Type) -> i16 {
    match *kind {
        Type::BOOL | Type::CHAR => 1,
        Type::INT2 => 2,
        Type::INT4 | Type::FLOAT4 | Type::DATE | Type::OID | Type::REGCLASS | Type::REGTYPE | Type::REGPROC | Type::REGNAMESPACE => 4,
        Type::INT8 | Type::FLOAT8 | Type::TIMESTAMP | Type::TIMESTAMPTZ | Type::TIME => 8,
        Type::INTERVAL => 16,
        _ => -1,
    }
}

/// Returns digits and scale of a decimal as Postgres packs them; -1 for every other type.
pub(super) fn modifier_of(kind: &DataType) -> i32 {
    match kind {
        DataType::Decimal32(digits, scale)
        | DataType::Decimal64(digits, scale)
        | DataType::Decimal128(digits, scale)
        | DataType::Decimal256(digits, scale)
            if *scale >= 0 =>
        {
            (i32::from(*digits) << 16 | i32::from(*scale)) + 4
        }
        _ => -1,
    }
}

impl Columns {
    /// Describes the columns of an answer; without formats all are text, one format is everybody's.
    pub(super) fn new(schema: &Schema, formats: &[i16]) -> Result<Self, Fault> {
        if schema.fields().len() > MOST_COLUMNS {
            return Err(Fault::new("54011", format!("target lists can have at most {MOST_COLUMNS} entries")));
        }
        if formats.len() > 1 && formats.len() != schema.fields().len() {
            let (given, there) = (formats.len(), schema.fields().len());
            return Err(Fault::new("08P01", format!("bind message has {given} result formats but query has {there} columns")));
        }
        if let Some(odd) = formats.iter().find(|format| !(0..=1).contains(*format)) {
            return Err(Fault::new("22023", format!("unsupported format code: {odd}")));
        }
        let field = |(index, field): (usize, &Arc<Field>)| {
            let format = formats.get(index).or(if formats.len() == 1 { formats.first() } else { None });
            let kind = type_of(field)?;
            let size = size_of(&kind);
            let info = FieldInfo::new(field.name().clone(), None, None, kind, FieldFormat::from(format.copied().unwrap_or(0)));
            Ok(info.with_type_size(size).with_type_modifier(modifier_of(field.data_type())))
        };
        Ok(Self { fields: Arc::new(schema.fields().iter().enumerate().map(field).collect::<Result<_, Fault>>()?) })
    }

    pub(super) fn description(&self) -> RowDescription {
        RowDescription::new(self.fields.iter().map(FieldDescription::from).collect())
    }
}

/// Rows on their way out, batch by batch.
pub(super) struct Rows {
    columns: Columns,
    cells: Vec<Cells>,
    next: usize,
    count: usize,
}

impl Rows {
    /// Prepares a batch.
    pub(super) fn new(columns: &Columns, batch: &RecordBatch) -> Result<Self, Fault> {
        if batch.num_columns() != columns.fields.len() {
            return Err(Fault::new("XX000", "the answer has other columns than the question"));
        }
        let schema = batch.schema();
        let cells = schema.fields().iter().zip(batch.columns()).map(|(field, array)| Cells::of(field, array).map_err(unwritable));
        Ok(Self { columns: columns.clone(), cells: cells.collect::<Result<_, _>>()?, next: 0, count: batch.num_rows() })
    }

    /// Writes the next row as a message; false when there is none.
    pub(super) fn write_next(&mut self, out: &mut BytesMut) -> Result<bool, Fault> {
        if self.next == self.count {
            return Ok(false);
        }
        let begun = out.len();
        out.put_u8(b'D');
        out.put_i32(0);
        out.put_u16(u16::try_from(self.cells.len()).unwrap_or(u16::MAX));
        for (cells, field) in self.cells.iter().zip(self.columns.fields.iter()) {
            if let Err(fault) = cells.write(self.next, field, out) {
                // Half a row is none.
                out.truncate(begun);
                return Err(fault);
            }
        }
        let length = i32::try_from(out.len() - begun - 1).map_err(|_| Fault::new("54000", "a row is longer than 2 GiB"))?;
        out[begun + 1..begun + 5].copy_from_slice(&length.to_be_bytes());
        self.next += 1;
        Ok(true)
    }
}

fn unwritable(error: ArrowError) -> Fault {
    Fault::new("22003", format!("the answer cannot be written: {error}")).hint("cast the column to text")
}

/// The values of one column in one batch.
enum Cells {
    Null,
    Bool(BooleanArray),
    Int2(Int16Array),
    Int4(Int32Array),
    Int8(Int64Array),
    Float4(Float32Array),
    Float8(Float64Array),
    Text(StringArray),
    View(StringViewArray),
    /// One letter, which is one byte in binary.
    Char(StringArray),
    Bytes(BinaryArray),
    Date(Date32Array),
    Time(Time64MicrosecondArray),
    Instant(TimestampMicrosecondArray, bool),
    Decimal(Decimal128Array, i8),
    /// Lists, records and intervals.
    Other(ArrayRef, Arc<Field>),
}

impl Cells {
    fn of(field: &Arc<Field>, array: &ArrayRef) -> Result<Self, ArrowError> {
        let to = |kind: DataType| cast(array, &kind);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Bool(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::UInt8 => Self::Int2(to(DataType::Int16)?.as_primitive::<Int16Type>().clone()),
            DataType::Int32 | DataType::UInt16 => Self::Int4(to(DataType::Int32)?.as_primitive::<Int32Type>().clone()),
            DataType::Int64 | DataType::UInt32 => Self::Int8(to(DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Self::Decimal(to(DataType::Decimal128(20, 0))?.as_primitive::<Decimal128Type>().clone(), 0),
            DataType::Float16 | DataType::Float32 => Self::Float4(to(DataType::Float32)?.as_primitive::<Float32Type>().clone()),
            DataType::Float64 => Self::Float8(array.as_primitive::<Float64Type>().clone()),
            DataType::Utf8 | DataType::LargeUtf8 if field.metadata().contains_key(PG_CHAR_KEY) => {
                Self::Char(to(DataType::Utf8)?.as_string::<i32>().clone())
            }
            DataType::Utf8 | DataType::LargeUtf8 => Self::Text(to(DataType::Utf8)?.as_string::<i32>().clone()),
            DataType::Utf8View => Self::View(array.as_string_view().clone()),
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Bytes(to(DataType::Binary)?.as_binary::<i32>().clone())
            }
            DataType::Date32 | DataType::Date64 => Self::Date(to(DataType::Date32)?.as_primitive::<Date32Type>().clone()),
            DataType::Time32(_) | DataType::Time64(_) => {
                Self::Time(to(DataType::Time64(TimeUnit::Microsecond))?.as_primitive::<Time64MicrosecondType>().clone())
            }
            DataType::Timestamp(_, zone) => {
                let micros = to(DataType::Timestamp(TimeUnit::Microsecond, zone.clone()))?;
                Self::Instant(micros.as_primitive::<TimestampMicrosecondType>().clone(), zone.is_some())
            }
            DataType::Decimal128(_, scale) => Self::Decimal(array.as_primitive::<Decimal128Type>().clone(), *scale),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal256(_, scale) => {
                Self::Decimal(to(DataType::Decimal128(38, *scale))?.as_primitive::<Decimal128Type>().clone(), *scale)
            }
            DataType::Dictionary(_, values) => {
                let plain = Arc::new(Field::new(field.name(), values.as_ref().clone(), true));
                Self::of(&plain, &to(values.as_ref().clone())?)?
            }
            kind => Self::Other(Arc::clone(array), Arc::new(field.as_ref().clone().with_data_type(kind.clone()))),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(array) => array.is_null(row),
            Self::Int2(array) => array.is_null(row),
            Self::Int4(array) => array.is_null(row),
            Self::Int8(array) => array.is_null(row),
            Self::Float4(array) => array.is_null(row),
            Self::Float8(array) => array.is_null(row),
            Self::Text(array) | Self::Char(array) => array.is_null(row),
            Self::View(array) => array.is_null(row),
            Self::Bytes(array) => array.is_null(row),
            Self::Date(array) => array.is_null(row),
            Self::Time(array) => array.is_null(row),
            Self::Instant(array, _) => array.is_null(row),
            Self::Decimal(array, _) => array.is_null(row),
            Self::Other(array, _) => array.is_null(row),
        }
    }

    fn write(&self, row: usize, field: &FieldInfo, out: &mut BytesMut) -> Result<(), Fault> {
        if self.is_null(row) {
            out.put_i32(-1);
            return Ok(());
        }
        if let Self::Other(array, arrow) = self {
            return write_other(array, row, arrow, field, out);
        }
        let begun = out.len();
        out.put_i32(0);
        match field.format() {
            FieldFormat::Text => self.write_text(row, field.datatype(), out),
            FieldFormat::Binary => self.write_binary(row, out),
        }
        let length = i32::try_from(out.len() - begun - 4).map_err(|_| Fault::new("54000", "a value is longer than 2 GiB"))?;
        out[begun..begun + 4].copy_from_slice(&length.to_be_bytes());
        Ok(())
    }

    fn write_text(&self, row: usize, kind: &Type, out: &mut BytesMut) {
        match self {
            Self::Null | Self::Other(..) => {}
            Self::Bool(array) => out.put_u8(if array.value(row) { b't' } else { b'f' }),
            Self::Int2(array) => digits::int(array.value(row).into(), out),
            // What is an unsigned number in Postgres is kept in a signed one.
            Self::Int4(array) if *kind == Type::OID => digits::int(array.value(row).cast_unsigned().into(), out),
            Self::Int4(array) => digits::int(array.value(row).into(), out),
            Self::Int8(array) => digits::int(array.value(row), out),
            Self::Float4(array) => digits::float(f64::from(array.value(row)), &array.value(row).to_string(), out),
            Self::Float8(array) => digits::float(array.value(row), &array.value(row).to_string(), out),
            Self::Text(array) | Self::Char(array) => out.put_slice(array.value(row).as_bytes()),
            Self::View(array) => out.put_slice(array.value(row).as_bytes()),
            Self::Bytes(array) => digits::bytes(array.value(row), out),
            Self::Date(array) => digits::date(array.value(row).into(), out),
            Self::Time(array) => digits::time(array.value(row), out),
            Self::Instant(array, has_zone) => digits::instant(array.value(row), *has_zone, out),
            Self::Decimal(array, scale) => digits::decimal(array.value(row), *scale, out),
        }
    }

    fn write_binary(&self, row: usize, out: &mut BytesMut) {
        match self {
            Self::Null | Self::Other(..) => {}
            Self::Bool(array) => out.put_u8(array.value(row).into()),
            Self::Int2(array) => out.put_i16(array.value(row)),
            Self::Int4(array) => out.put_i32(array.value(row)),
            Self::Int8(array) => out.put_i64(array.value(row)),
            Self::Float4(array) => out.put_f32(array.value(row)),
            Self::Float8(array) => out.put_f64(array.value(row)),
            Self::Text(array) => out.put_slice(array.value(row).as_bytes()),
            Self::View(array) => out.put_slice(array.value(row).as_bytes()),
            Self::Char(array) => out.put_u8(array.value(row).bytes().next().unwrap_or(0)),
            Self::Bytes(array) => out.put_slice(array.value(row)),
            Self::Date(array) => out.put_i32(array.value(row).saturating_sub(digits::DAYS_TO_2000)),
            Self::Time(array) => out.put_i64(array.value(row)),
            Self::Instant(array, _) => out.put_i64(array.value(row).saturating_sub(digits::MICROS_TO_2000)),
            Self::Decimal(array, scale) => digits::numeric(array.value(row), *scale, out),
        }
    }
}

fn write_other(array: &ArrayRef, row: usize, arrow: &Field, field: &FieldInfo, out: &mut BytesMut) -> Result<(), Fault> {
    let mut encoder = DataRowEncoder::new(Arc::new(vec![field.clone()]));
    encode_value(&mut encoder, array, row, arrow, field).map_err(|error| {
        Fault::new("0A000", format!("a value of \"{}\" cannot be written: {error}", field.name())).hint("cast it to text")
    })?;
    out.put_slice(&encoder.take_row().data);
    Ok(())
}
