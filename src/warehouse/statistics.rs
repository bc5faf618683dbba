//! What the manifest says of a table's columns: files are passed over by it, and counts and bounds are answered from it.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use datafusion::arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::{Column, ColumnStatistics, ScalarValue, Statistics};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

use crate::table::TableFile;

/// The bounds of every column in every file of a table, column by column, each made when it is first asked for.
#[derive(Debug)]
pub(crate) struct TableStatistics {
    /// The columns in the files, then the partition columns.
    schema: SchemaRef,
    file_columns: usize,
    columns: Vec<OnceLock<Bounds>>,
}

/// What is known of one column, a value for every file; null where nothing is known.
#[derive(Debug)]
struct Bounds {
    min: ArrayRef,
    max: ArrayRef,
    nulls: ArrayRef,
}

impl TableStatistics {
    /// Describes a table whose last columns are the partition values of its files.
    pub(crate) fn new(schema: SchemaRef, file_columns: usize) -> Self {
        let columns = schema.fields().iter().map(|_| OnceLock::new()).collect();
        Self { schema, file_columns, columns }
    }

    /// Tells for every file whether it may hold rows that pass a filter; `files` are those of the table, all of them.
    pub(crate) fn may_hold(&self, files: &[TableFile], filter: Arc<dyn PhysicalExpr>) -> Vec<bool> {
        let known = Known { statistics: self, files };
        let predicate = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema)).try_build(filter);
        let pruned = predicate.and_then(|predicate| predicate.prune(&known));
        // A filter that says nothing about bounds passes over no file.
        pruned.unwrap_or_else(|_| vec![true; files.len()])
    }

    /// Returns what is known of one file, without its partition columns.
    pub(crate) fn of_file(&self, file: &TableFile) -> Statistics {
        let fields = self.schema.fields().iter().take(self.file_columns);
        let column = |(name, data_type): (&String, &DataType)| {
            let Some(known) = file.statistics.get(name) else { return ColumnStatistics::new_unknown() };
            ColumnStatistics {
                null_count: usize::try_from(known.nulls).map_or(Precision::Absent, Precision::Exact),
                min_value: exact(known.min.as_deref().and_then(|text| value(text, data_type))),
                max_value: exact(known.max.as_deref().and_then(|text| value(text, data_type))),
                ..ColumnStatistics::new_unknown()
            }
        };
        Statistics {
            num_rows: Precision::Exact(file.row_count),
            total_byte_size: size(file.size_bytes),
            column_statistics: fields.map(|field| column((field.name(), field.data_type()))).collect(),
        }
    }

    /// Returns what is known of some files together, and of the columns that are asked for.
    pub(crate) fn of_all<'a>(&self, files: impl Iterator<Item = &'a TableFile> + Clone, columns: &[usize]) -> Statistics {
        let mut statistics = Statistics::new_unknown(&self.schema);
        statistics.num_rows = Precision::Exact(files.clone().map(|file| file.row_count).sum());
        statistics.total_byte_size = size(files.clone().map(|file| file.size_bytes).sum());
        for &index in columns {
            if let Some(column) = statistics.column_statistics.get_mut(index) {
                *column = self.of_column(files.clone(), index).unwrap_or_else(ColumnStatistics::new_unknown);
            }
        }
        statistics
    }

    /// Joins the bounds of one column; none when a file does not tell its own.
    fn of_column<'a>(&self, files: impl Iterator<Item = &'a TableFile>, index: usize) -> Option<ColumnStatistics> {
        let field = self.schema.field(index);
        let (mut nulls, mut bounds, mut is_bounded) = (0_usize, None, true);
        for file in files {
            let (min, max) = if let Some(partition) = index.checked_sub(self.file_columns) {
                let text = file.partition.get(partition)?;
                (value(text, field.data_type()), value(text, field.data_type()))
            } else {
                let known = file.statistics.get(field.name())?;
                let count = usize::try_from(known.nulls).ok()?;
                nulls += count;
                if count == file.row_count {
                    continue;
                }
                let bound = |text: &Option<String>| text.as_deref().and_then(|text| value(text, field.data_type()));
                (bound(&known.min), bound(&known.max))
            };
            match (min, max) {
                (Some(min), Some(max)) if is_bounded => bounds = Some(widen(bounds, min, max)),
                _ => is_bounded = false,
            }
        }
        let (min, max) = bounds.filter(|_| is_bounded).unzip();
        Some(ColumnStatistics {
            null_count: Precision::Exact(nulls),
            min_value: exact(min),
            max_value: exact(max),
            ..ColumnStatistics::new_unknown()
        })
    }

    fn bounds(&self, files: &[TableFile], name: &str) -> Option<&Bounds> {
        let index = self.schema.index_of(name).ok()?;
        Some(self.columns[index].get_or_init(|| self.gather(files, index)))
    }

    fn gather(&self, files: &[TableFile], index: usize) -> Bounds {
        let field = self.schema.field(index);
        let bound = |text: fn(&granary_lake::ColumnStatistics) -> Option<&str>| {
            let of_file = |file: &TableFile| match index.checked_sub(self.file_columns) {
                Some(partition) => file.partition.get(partition).and_then(|text| value(text, field.data_type())),
                None => file.statistics.get(field.name()).and_then(text).and_then(|text| value(text, field.data_type())),
            };
            column(files.iter().map(of_file), field.data_type())
        };
        let nulls = files.iter().map(|file| match index.checked_sub(self.file_columns) {
            Some(_) => Some(0),
            None => file.statistics.get(field.name()).map(|known| known.nulls),
        });
        Bounds {
            min: bound(|known| known.min.as_deref()),
            max: bound(|known| known.max.as_deref()),
            nulls: Arc::new(nulls.collect::<UInt64Array>()),
        }
    }
}

/// A table's statistics beside its files, as the engine asks for them.
struct Known<'a> {
    statistics: &'a TableStatistics,
    files: &'a [TableFile],
}

impl PruningStatistics for Known<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics.bounds(self.files, column.name()).map(|bounds| Arc::clone(&bounds.min))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics.bounds(self.files, column.name()).map(|bounds| Arc::clone(&bounds.max))
    }

    fn num_containers(&self) -> usize {
        self.files.len()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        self.statistics.bounds(self.files, column.name()).map(|bounds| Arc::clone(&bounds.nulls))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        Some(Arc::new(self.files.iter().map(|file| Some(file.row_count as u64)).collect::<UInt64Array>()))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

fn exact(value: Option<ScalarValue>) -> Precision<ScalarValue> {
    value.map_or(Precision::Absent, Precision::Exact)
}

/// Bytes of files are no bytes of rows, but as many times more mean as many times more.
fn size(bytes: u64) -> Precision<usize> {
    usize::try_from(bytes).map_or(Precision::Absent, Precision::Inexact)
}

fn widen(bounds: Option<(ScalarValue, ScalarValue)>, min: ScalarValue, max: ScalarValue) -> (ScalarValue, ScalarValue) {
    let Some((low, high)) = bounds else { return (min, max) };
    (if min < low { min } else { low }, if max > high { max } else { high })
}

/// Makes a column of values, null where there is none.
pub(crate) fn column(values: impl Iterator<Item = Option<ScalarValue>>, data_type: &DataType) -> ArrayRef {
    let count = values.size_hint().0;
    let nothing = || datafusion::arrow::array::new_null_array(data_type, count);
    let Ok(null) = ScalarValue::try_new_null(data_type) else { return nothing() };
    let values = values.map(|value| value.unwrap_or_else(|| null.clone()));
    ScalarValue::iter_to_array(values).unwrap_or_else(|_| nothing())
}

/// Reads a bound as the manifest writes it; see [`granary_lake::ColumnStatistics`]. Decimals have none: the manifest does not say with
/// how many places a file was written.
pub(crate) fn value(text: &str, data_type: &DataType) -> Option<ScalarValue> {
    Some(match data_type {
        DataType::Boolean => ScalarValue::Boolean(Some(text.parse().ok()?)),
        DataType::Int32 => ScalarValue::Int32(Some(text.parse().ok()?)),
        DataType::Int64 => ScalarValue::Int64(Some(text.parse().ok()?)),
        DataType::Float64 => ScalarValue::Float64(Some(text.parse().ok()?)),
        DataType::Date32 => ScalarValue::Date32(Some(text.parse().ok()?)),
        DataType::Timestamp(TimeUnit::Microsecond, zone) => ScalarValue::TimestampMicrosecond(Some(text.parse().ok()?), zone.clone()),
        DataType::Utf8 => ScalarValue::Utf8(Some(text.to_owned())),
        DataType::Utf8View => ScalarValue::Utf8View(Some(text.to_owned())),
        _ => return None,
    })
}
