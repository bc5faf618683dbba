//! Parting rows by month, as they lie in the lake.

use std::collections::BTreeMap;

use datafusion::arrow::array::{Array, BooleanArray, RecordBatch, StringArray};
use datafusion::arrow::compute::{cast, filter_record_batch};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::cast::as_string_array;
use granary_lake::Publication;

use crate::ledger::WHOLE;
use crate::{Model, WarehouseError};

/// Parts the rows of a model by the months that its column names; one part when it has none.
pub(crate) fn by_month(model: &Model, schema: &SchemaRef, batches: &[RecordBatch]) -> Result<Vec<Publication>, WarehouseError> {
    let publication =
        |month: &str, batches| Publication { dataset: model.dataset(), month: month.to_owned(), schema: SchemaRef::clone(schema), batches };
    let Some(column) = model.month_column() else {
        let is_empty = batches.iter().all(|batch| batch.num_rows() == 0);
        return Ok(if is_empty { Vec::new() } else { vec![publication(WHOLE, batches.to_vec())] });
    };
    let engine = |error: datafusion::arrow::error::ArrowError| WarehouseError::Engine(error.into());
    let mut parts: BTreeMap<String, Vec<RecordBatch>> = BTreeMap::new();
    for batch in batches {
        let broken = |problem: &str| WarehouseError::Model { model: model.name.clone(), problem: format!("{column} {problem}") };
        let months = batch.column_by_name(column).ok_or_else(|| broken("is not there"))?;
        let months = cast(months, &DataType::Utf8).map_err(engine)?;
        let months: &StringArray = as_string_array(&months).map_err(WarehouseError::Engine)?;
        if months.null_count() > 0 {
            return Err(broken("is null in a row: the row belongs to no month"));
        }
        let mut distinct: Vec<&str> = months.iter().flatten().collect();
        distinct.sort_unstable();
        distinct.dedup();
        for month in distinct {
            let of_month: BooleanArray = months.iter().map(|other| Some(other == Some(month))).collect();
            let rows = filter_record_batch(batch, &of_month).map_err(engine)?;
            parts.entry(month.to_owned()).or_default().push(rows);
        }
    }
    Ok(parts.into_iter().map(|(month, batches)| publication(&month, batches)).collect())
}
