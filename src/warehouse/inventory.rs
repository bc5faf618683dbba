//! What lies in the lake, as a table for models: the files of customers, one row each.

use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use datafusion::catalog::TableProvider;
use datafusion::datasource::MemTable;
use datafusion::error::Result;

use crate::catalog::Contents;
use crate::table::TableFile;

/// The table's name beside the raw datasets; models read it, nobody else has it in the catalog.
pub(crate) const NAME: &str = "files";

/// Lists the files that the session may read, of customers only: the MSP's own hold rows of many.
pub(crate) fn table(contents: &Contents) -> Result<Arc<dyn TableProvider>> {
    let mut rows: Vec<(&str, &[String; 3], &TableFile)> = Vec::new();
    for (dataset, files) in &contents.files {
        rows.extend(files.iter().filter_map(|file| Some((dataset.as_str(), file.partition.first_chunk::<3>()?, file))));
    }
    rows.sort_unstable_by_key(|(dataset, partition, file)| (*dataset, *partition, &file.path));
    let text = |value: fn(&(&str, &[String; 3], &TableFile)) -> String| -> ArrayRef {
        Arc::new(rows.iter().map(|row| Some(value(row))).collect::<StringArray>())
    };
    let number = |value: fn(&TableFile) -> i64| -> ArrayRef { Arc::new(rows.iter().map(|row| Some(value(row.2))).collect::<Int64Array>()) };
    let written: TimestampMicrosecondArray = rows.iter().map(|row| written_at(&row.2.path)).collect();
    let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let columns: Vec<(Field, ArrayRef)> = vec![
        (Field::new("customer_id", DataType::Utf8, false), text(|row| row.1[0].clone())),
        (Field::new("dataset", DataType::Utf8, false), text(|row| row.0.to_owned())),
        (Field::new("month", DataType::Utf8, false), text(|row| row.1[2].clone())),
        (Field::new("row_count", DataType::Int64, false), number(|file| i64::try_from(file.row_count).unwrap_or(i64::MAX))),
        (Field::new("size_bytes", DataType::Int64, false), number(|file| i64::try_from(file.size_bytes).unwrap_or(i64::MAX))),
        (Field::new("written_at", instant, true), Arc::new(written.with_timezone("UTC"))),
    ];
    let (fields, arrays): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), arrays)?;
    Ok(Arc::new(MemTable::try_new(schema, vec![vec![batch]])?))
}

/// When a file was named, in microseconds: its name is a UUID that begins with the milliseconds.
fn written_at(path: &str) -> Option<i64> {
    let digits: String = path.rsplit('/').next()?.strip_suffix(".parquet")?.chars().filter(|digit| *digit != '-').collect();
    let is_of_time = digits.len() == 32 && digits.as_bytes()[12] == b'7';
    let milliseconds = is_of_time.then(|| i64::from_str_radix(digits.get(..12)?, 16).ok())??;
    milliseconds.checked_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_when_it_was_written() {
        let path = "lake/3f/0198c1a0-0000-7000-8000-000000000000/machines/all/0199a8f0-4c00-7abc-8def-0123456789ab.parquet";
        assert_eq!(written_at(path), Some(0x0199_a8f0_4c00 * 1000));
        assert_eq!(written_at("owner/machines/all.parquet"), None);
        assert_eq!(written_at("owner/0199a8f0-4c00-4abc-8def-0123456789ab.parquet"), None);
    }
}
