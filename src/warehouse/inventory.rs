//! What lies in the lake, as a table for models: the files of customers, one row each.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::MemTable;
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;
use granary_types::Source;

use crate::catalog::Blueprint;
use crate::files::Files;
use crate::table::TableFile;

/// The table's name beside the raw datasets; models read it, nobody else has it in the catalog.
pub(crate) const NAME: &str = "files";

/// The files that the session may read, of customers only: the MSP's own hold rows of many.
#[derive(Debug)]
pub(crate) struct Inventory {
    schema: SchemaRef,
    datasets: Vec<(&'static str, Files)>,
}

impl Inventory {
    pub(crate) fn new(blueprint: &Blueprint<'_>) -> Self {
        let datasets = blueprint.datasets.iter().filter(|dataset| dataset.source == Source::Tenant);
        let datasets = datasets.map(|dataset| (dataset.name, blueprint.contents.files_of(dataset))).collect();
        let instant = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        let fields = vec![
            Field::new("customer_id", DataType::Utf8, false),
            Field::new("dataset", DataType::Utf8, false),
            Field::new("month", DataType::Utf8, false),
            Field::new("row_count", DataType::Int64, false),
            Field::new("size_bytes", DataType::Int64, false),
            Field::new("written_at", instant, true),
        ];
        Self { schema: Arc::new(Schema::new(fields)), datasets }
    }

    async fn list(&self) -> Result<RecordBatch> {
        let mut listed = Vec::new();
        for (dataset, files) in &self.datasets {
            listed.push((*dataset, files.get().await?));
        }
        let mut rows: Vec<Row<'_>> = Vec::new();
        for (dataset, files) in &listed {
            rows.extend(files.iter().filter_map(|file| Some((*dataset, file.partition.first_chunk::<3>()?, file))));
        }
        rows.sort_unstable_by_key(|(dataset, partition, file)| (*dataset, *partition, &file.path));
        let written: TimestampMicrosecondArray = rows.iter().map(|row| written_at(&row.2.path)).collect();
        let columns: Vec<ArrayRef> = vec![
            texts(&rows, |row| &row.1[0]),
            texts(&rows, |row| row.0),
            texts(&rows, |row| &row.1[2]),
            numbers(&rows, |file| i64::try_from(file.row_count).unwrap_or(i64::MAX)),
            numbers(&rows, |file| i64::try_from(file.size_bytes).unwrap_or(i64::MAX)),
            Arc::new(written.with_timezone("UTC")),
        ];
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }
}

/// A file with its dataset, and its customer's id and code and its month.
type Row<'a> = (&'a str, &'a [String; 3], &'a TableFile);

fn texts<'a>(rows: &[Row<'a>], value: fn(&Row<'a>) -> &'a str) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
}

fn numbers(rows: &[Row<'_>], value: fn(&TableFile) -> i64) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| value(row.2))))
}

#[async_trait]
impl TableProvider for Inventory {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let table = MemTable::try_new(Arc::clone(&self.schema), vec![vec![self.list().await?]])?;
        table.scan(state, projection, filters, limit).await
    }
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
