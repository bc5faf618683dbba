//! Values for the places of a prepared statement: one row, which travels in the statement's handle.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::error::FlightError;
use arrow_flight::sql::server::PeekableFlightDataStream;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::ipc::reader::StreamReader;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::scalar::ScalarValue;
use futures::{FutureExt, TryStreamExt};
use granary_warehouse::Question;
use tonic::Status;

use super::status;

/// The most values, and the most that they may take together.
const MOST_VALUES: usize = 1_000;
const MOST_BYTES: usize = 1 << 20;

const NOT_ARROW: &str = "the values are no batch of Arrow";

/// Reads the one row of values that a client sends; none when there are no columns.
pub(super) async fn receive(sent: PeekableFlightDataStream) -> Result<Option<String>, Status> {
    let batches = FlightRecordBatchStream::new_from_flight_data(sent.map_err(FlightError::from));
    let row = async {
        let mut batches = batches;
        let mut found: Option<RecordBatch> = None;
        while let Some(batch) = batches.try_next().await.map_err(|error| match error {
            FlightError::Tonic(status) => *status,
            _ => status::wrong(NOT_ARROW),
        })? {
            if batch.num_rows() == 0 {
                continue;
            }
            if batch.num_rows() > 1 || found.is_some() {
                return Err(status::wrong("one row of values at a time: bind one row, ask, then bind the next"));
            }
            found = Some(batch);
        }
        Ok(found)
    };
    // What decodes batches trusts lengths that a stranger may have made up.
    let row = AssertUnwindSafe(row).catch_unwind().await.unwrap_or_else(|_| Err(status::wrong(NOT_ARROW)))?;
    row.filter(|row| row.num_columns() > 0).map(|row| write(&row)).transpose()
}

fn write(row: &RecordBatch) -> Result<String, Status> {
    if row.num_columns() > MOST_VALUES {
        return Err(status::wrong(format!("at most {MOST_VALUES} values")));
    }
    let mut writer = StreamWriter::try_new(Vec::new(), &row.schema()).map_err(|error| status::fault(&error))?;
    writer.write(row).map_err(|error| status::fault(&error))?;
    let bytes = writer.into_inner().map_err(|error| status::fault(&error))?;
    if bytes.len() > MOST_BYTES {
        return Err(status::wrong(format!("the values take more than {} MiB", MOST_BYTES >> 20)));
    }
    Ok(STANDARD.encode(bytes))
}

/// Reads values out of a handle, which may come from anybody.
fn read(text: &str) -> Result<Vec<ScalarValue>, Status> {
    let wrong = || status::wrong("the handle's values cannot be read; bind them again");
    let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
    let read = || -> Option<Vec<ScalarValue>> {
        let row = StreamReader::try_new(bytes.as_slice(), None).ok()?.next()?.ok().filter(|row| row.num_rows() == 1)?;
        row.columns().iter().map(|column| ScalarValue::try_from_array(column, 0).ok()).collect()
    };
    std::panic::catch_unwind(AssertUnwindSafe(read)).ok().flatten().ok_or_else(wrong)
}

/// Returns the places of a question in the order of their numbers, as columns; what no word of the query tells is text.
pub(super) fn places(question: &Question) -> Result<SchemaRef, Status> {
    let places = question.parameters().map_err(status::of)?;
    let mut numbered = places
        .into_iter()
        .map(|(name, kind)| {
            let number = name.trim_start_matches('$').parse::<usize>();
            let number = number.map_err(|_| status::wrong(format!("the place {name} has no number: write $1, $2 and so on")))?;
            Ok((number, Field::new(name, kind.filter(|kind| *kind != DataType::Null).unwrap_or(DataType::Utf8), true)))
        })
        .collect::<Result<Vec<_>, Status>>()?;
    numbered.sort_by_key(|(number, _)| *number);
    Ok(Arc::new(Schema::new(numbered.into_iter().map(|(_, field)| field).collect::<Vec<_>>())))
}

/// Puts the values of a handle into the places of a question.
pub(super) fn bind(question: Question, values: Option<&str>) -> Result<Question, Status> {
    let places = places(&question)?.fields().len();
    let values = values.map(read).transpose()?.unwrap_or_default();
    if values.len() != places {
        let remedy = "prepare the statement and bind one row with a column for each of $1, $2 and so on";
        return Err(status::wrong(format!("the statement has {places} places and {} values; {remedy}", values.len())));
    }
    if places == 0 { Ok(question) } else { question.with_values(values).map_err(status::of) }
}
