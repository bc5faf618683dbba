//! How the types of Postgres lie in files.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use granary_types::{ColumnKind, Dataset};
use sha2::{Digest, Sha256};

use crate::LakeError;

/// Returns the schema of a dataset's files: a UUID is text, a numeric a 128-bit decimal, an instant counts microseconds in UTC.
pub fn arrow_schema(dataset: &Dataset) -> SchemaRef {
    let field = |column: &granary_types::Column| Field::new(column.name, data_type(column.kind), column.is_nullable);
    Arc::new(Schema::new(dataset.columns.iter().map(field).collect::<Vec<_>>()))
}

fn data_type(kind: ColumnKind) -> DataType {
    match kind {
        ColumnKind::Bool => DataType::Boolean,
        ColumnKind::Int32 => DataType::Int32,
        ColumnKind::Int64 => DataType::Int64,
        ColumnKind::Float64 => DataType::Float64,
        ColumnKind::Decimal { precision, scale } => DataType::Decimal128(precision, scale),
        ColumnKind::Text | ColumnKind::Uuid => DataType::Utf8,
        ColumnKind::Date => DataType::Date32,
        ColumnKind::Timestamp => instant(),
    }
}

fn instant() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// Returns the schema under which rows with `schema` are published: only the types of [`arrow_schema`] occur in files.
///
/// # Errors
/// When a column has a type that has no exact counterpart there.
pub fn published_schema(schema: &Schema) -> Result<SchemaRef, LakeError> {
    let field = |field: &Arc<Field>| Ok(Field::new(field.name(), published_type(field.data_type())?, field.is_nullable()));
    Ok(Arc::new(Schema::new(schema.fields().iter().map(field).collect::<Result<Vec<_>, LakeError>>()?)))
}

fn published_type(data_type: &DataType) -> Result<DataType, LakeError> {
    Ok(match data_type {
        DataType::Boolean => DataType::Boolean,
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => DataType::Int32,
        DataType::Int64 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => DataType::Float64,
        DataType::Decimal128(precision, scale) | DataType::Decimal64(precision, scale) | DataType::Decimal32(precision, scale) => {
            DataType::Decimal128(*precision, *scale)
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null => DataType::Utf8,
        DataType::Date32 | DataType::Date64 => DataType::Date32,
        DataType::Timestamp(..) => instant(),
        DataType::Dictionary(_, values) => published_type(values)?,
        other => return Err(LakeError::UnsupportedType(other.to_string())),
    })
}

/// Converts rows to a published schema; a value that does not fit is an error, never null.
pub(crate) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, LakeError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() {
            Ok(Arc::clone(column))
        } else {
            cast_with_options(column, field.data_type(), &options)
        }
    });
    let columns: Vec<ArrayRef> = columns.collect::<Result<_, _>>()?;
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

/// Returns what identifies a schema: when it changes, every file of the dataset is written anew.
pub(crate) fn signature(schema: &Schema) -> [u8; 32] {
    let mut digest = Sha256::new();
    for field in schema.fields() {
        digest.update(format!("{}\0{}\0{}\n", field.name(), field.data_type(), field.is_nullable()));
    }
    digest.finalize().into()
}
