//! Batches of rows on their way out: in types that every client of Arrow has known for years, in messages of a bounded size.

use std::sync::Arc;

use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use arrow_flight::{FlightData, IpcMessage, SchemaAsIpc};
use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::array::RecordBatchOptions;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::IpcWriteOptions;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tonic::Status;

use super::running::Reading;
use super::{MOST_OUT_BYTES, status};

/// What a message of rows is cut to, roughly.
const MESSAGE_BYTES: usize = 1 << 20;

/// The messages of an answer.
pub(super) type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// Returns the columns as they are sent: any may be null, and none is of a type that only newer clients know.
pub(super) fn portable(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(schema.fields().iter().map(portable_field).collect::<Vec<_>>()))
}

fn portable_field(field: &FieldRef) -> Field {
    Field::new(field.name(), portable_type(field.data_type()), true).with_metadata(field.metadata().clone())
}

fn portable_type(kind: &DataType) -> DataType {
    let inner = |field: &FieldRef| Arc::new(portable_field(field));
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        DataType::Dictionary(_, values) => portable_type(values),
        DataType::RunEndEncoded(_, values) => portable_type(values.data_type()),
        DataType::List(field) | DataType::LargeList(field) | DataType::ListView(field) | DataType::LargeListView(field) => {
            DataType::List(inner(field))
        }
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(inner(field), *length),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect::<Fields>()),
        other => other.clone(),
    }
}

/// Brings a batch to the columns that were announced.
fn fitted(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| {
        if column.data_type() == field.data_type() { Ok(Arc::clone(column)) } else { cast(column, field.data_type()) }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect::<Result<_, _>>()?, &options)
}

/// Writes batches as messages, one after the other as they are taken.
pub(super) fn messages(schema: SchemaRef, batches: impl Stream<Item = Result<RecordBatch, Status>> + Send + 'static) -> Messages {
    let columns = Arc::clone(&schema);
    let fitted = batches.map(move |batch| fitted(&batch.map_err(tonic_error)?, &columns).map_err(FlightError::from));
    let encoder = FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(MESSAGE_BYTES).build(fitted);
    encoder.map(bounded).boxed()
}

/// Writes a batch that is there as a whole.
pub(super) fn message(batch: RecordBatch) -> Messages {
    let schema = batch.schema();
    let batches = futures::stream::iter([Ok(batch)]);
    FlightDataEncoderBuilder::new().with_schema(schema).with_max_flight_data_size(MESSAGE_BYTES).build(batches).map(bounded).boxed()
}

fn tonic_error(status: Status) -> FlightError {
    FlightError::Tonic(Box::new(status))
}

/// Passes on a message that a client can take.
fn bounded(message: Result<FlightData, FlightError>) -> Result<FlightData, Status> {
    match message {
        Ok(message) if message.data_body.len() + message.data_header.len() > MOST_OUT_BYTES - 1_024 => Err(Status::resource_exhausted(
            format!("a row of the answer is longer than a message of {} MiB; select fewer columns or shorter texts", MOST_OUT_BYTES >> 20),
        )),
        Ok(message) => Ok(message),
        Err(FlightError::Tonic(status)) => Err(*status),
        Err(error) => Err(status::fault(&error)),
    }
}

/// Ends an answer when it is to stop; its place among those that are being read goes with it.
pub(super) fn until_stopped(messages: Messages, reading: Reading) -> Messages {
    futures::stream::unfold(Some((messages, reading)), |open| async move {
        let (mut messages, mut reading) = open?;
        tokio::select! {
            biased;
            told = reading.stopped() => Some((Err(told), None)),
            message = messages.next() => match message? {
                Ok(message) => Some((Ok(message), Some((messages, reading)))),
                Err(status) => Some((Err(status), None)),
            },
        }
    })
    .boxed()
}

/// Writes columns as the format has them outside a stream.
pub(super) fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let options = IpcWriteOptions::default();
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &options).try_into().map_err(|error: ArrowError| status::fault(&error))?;
    Ok(bytes)
}
