//! What the manifest tells about a file's columns, so that a reader need not open it to know that it has nothing to say.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::compute::kernels::aggregate;
use arrow::datatypes::{DataType, Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use serde::{Deserialize, Serialize};

use crate::sort::text_prefix;

/// Texts longer than this have no bounds: they would weigh more than they prune.
const TEXT_BYTES: usize = 40;

/// What is known of one column of a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ColumnStatistics {
    pub nulls: u64,
    /// The exact smallest value: integers, days and microseconds since 1970 and unscaled decimals in digits, booleans as
    /// `true` or `false`, text as it is; none when unknown or when all values are null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<String>,
    /// The exact largest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<String>,
}

/// What is known of a file, by column.
pub type FileStatistics = BTreeMap<String, ColumnStatistics>;

/// Returns what the manifest says of a file that holds some rows.
pub fn statistics_of(batch: &RecordBatch) -> FileStatistics {
    let mut gatherer = Gatherer::default();
    gatherer.add(batch);
    gatherer.finish(batch.schema().fields().iter().map(|field| field.name()))
}

/// Gathers statistics batch by batch.
#[derive(Debug, Default)]
pub(crate) struct Gatherer {
    columns: Vec<(u64, Bounds)>,
}

#[derive(Debug, Default)]
enum Bounds {
    #[default]
    None,
    Unknown,
    Bool(bool, bool),
    Int(i128, i128),
    Float(f64, f64),
    Text(String, String),
}

impl Gatherer {
    pub(crate) fn add(&mut self, batch: &RecordBatch) {
        self.columns.resize_with(batch.num_columns(), Default::default);
        for ((nulls, bounds), column) in self.columns.iter_mut().zip(batch.columns()) {
            *nulls += column.null_count() as u64;
            bounds.widen(bounds_of(column.as_ref()));
        }
    }

    pub(crate) fn finish<'a>(self, names: impl Iterator<Item = &'a String>) -> FileStatistics {
        let columns = self.columns.into_iter().map(|(nulls, bounds)| {
            let (min, max) = bounds.into_texts();
            ColumnStatistics { nulls, min, max }
        });
        names.cloned().zip(columns).collect()
    }
}

fn bounds_of(column: &dyn Array) -> Bounds {
    fn ints<T: ArrowPrimitiveType<Native: Into<i128>> + arrow::datatypes::ArrowNumericType>(column: &dyn Array) -> Bounds {
        let values = column.as_primitive::<T>();
        match (aggregate::min(values), aggregate::max(values)) {
            (Some(min), Some(max)) => Bounds::Int(min.into(), max.into()),
            _ => Bounds::None,
        }
    }
    match column.data_type() {
        DataType::Boolean => match (aggregate::min_boolean(column.as_boolean()), aggregate::max_boolean(column.as_boolean())) {
            (Some(min), Some(max)) => Bounds::Bool(min, max),
            _ => Bounds::None,
        },
        DataType::Int32 => ints::<Int32Type>(column),
        DataType::Int64 => ints::<Int64Type>(column),
        DataType::Date32 => ints::<Date32Type>(column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => ints::<TimestampMicrosecondType>(column),
        DataType::Decimal128(..) => ints::<Decimal128Type>(column),
        DataType::Float64 => {
            let values = column.as_primitive::<Float64Type>();
            match (aggregate::min(values), aggregate::max(values)) {
                (Some(min), Some(max)) if !min.is_nan() && !max.is_nan() => Bounds::Float(min, max),
                (Some(_), Some(_)) => Bounds::Unknown,
                _ => Bounds::None,
            }
        }
        DataType::Utf8 => text_bounds(column),
        _ => Bounds::Unknown,
    }
}

/// One look at every text; only those that begin like the smallest or the largest so far are compared whole.
fn text_bounds(column: &dyn Array) -> Bounds {
    let mut texts = column.as_string::<i32>().iter().flatten();
    let Some(first) = texts.next() else { return Bounds::None };
    let (mut min, mut max) = ((text_prefix(first), first), (text_prefix(first), first));
    for text in texts {
        let found = (text_prefix(text), text);
        if found < min {
            min = found;
        } else if found > max {
            max = found;
        }
    }
    if min.1.len() <= TEXT_BYTES && max.1.len() <= TEXT_BYTES { Bounds::Text(min.1.to_owned(), max.1.to_owned()) } else { Bounds::Unknown }
}

impl Bounds {
    fn widen(&mut self, other: Self) {
        let before = std::mem::replace(self, Self::Unknown);
        *self = match (before, other) {
            (Self::None, bounds) | (bounds, Self::None) => bounds,
            (Self::Bool(min, max), Self::Bool(low, high)) => Self::Bool(min & low, max | high),
            (Self::Int(min, max), Self::Int(low, high)) => Self::Int(min.min(low), max.max(high)),
            (Self::Float(min, max), Self::Float(low, high)) => Self::Float(min.min(low), max.max(high)),
            (Self::Text(min, max), Self::Text(low, high)) => Self::Text(min.min(low), max.max(high)),
            _ => Self::Unknown,
        };
    }

    fn into_texts(self) -> (Option<String>, Option<String>) {
        match self {
            Self::None | Self::Unknown => (None, None),
            Self::Bool(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Int(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Float(min, max) => (Some(min.to_string()), Some(max.to_string())),
            Self::Text(min, max) => (Some(min), Some(max)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn every_kind_that_a_dataset_has_is_bounded_exactly() {
        use arrow::array::{Date32Array, Decimal128Array, TimestampMicrosecondArray};
        let ids = [uuid::Uuid::from_u128(7), uuid::Uuid::max(), uuid::Uuid::from_u128(1 << 90)];
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![Some(-1), None, Some(253_402_300_799_999_999)]).with_timezone("UTC"))),
            ("day", Arc::new(Date32Array::from(vec![Some(-719_162), Some(0), None]))),
            (
                "amount",
                Arc::new(
                    Decimal128Array::from(vec![Some(1 - 10_i128.pow(38)), None, Some(10_i128.pow(38) - 1)])
                        .with_precision_and_scale(38, 8)
                        .unwrap(),
                ),
            ),
            ("id", Arc::new(StringArray::from_iter_values(ids.iter().map(ToString::to_string)))),
            ("empty", Arc::new(StringArray::from(vec![Some(""), Some("a"), Some("ä")]))),
        ];
        let mut gatherer = Gatherer::default();
        gatherer.add(&RecordBatch::try_from_iter(columns.clone()).unwrap());
        let statistics = gatherer.finish(columns.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>().iter());
        let bounds = |name: &str| {
            let known = &statistics[name];
            (known.nulls, known.min.as_deref().unwrap(), known.max.as_deref().unwrap())
        };
        assert_eq!(bounds("at"), (1, "-1", "253402300799999999"));
        assert_eq!(bounds("day"), (1, "-719162", "0"));
        assert_eq!(bounds("amount"), (1, format!("-{}", "9".repeat(38)).as_str(), "9".repeat(38).as_str()));
        assert_eq!(bounds("id"), (0, ids[0].to_string().as_str(), ids[1].to_string().as_str()));
        assert_eq!(bounds("empty"), (0, "", "ä"));
    }

    #[test]
    fn bounds_are_exact_over_batches_and_absent_where_they_would_be_wrong() {
        let batch = |numbers: Vec<Option<i64>>, texts: Vec<Option<&str>>| {
            let numbers: ArrayRef = Arc::new(Int64Array::from(numbers));
            let texts: ArrayRef = Arc::new(StringArray::from(texts));
            RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
        };
        let long = "x".repeat(TEXT_BYTES + 1);
        let mut gatherer = Gatherer::default();
        gatherer.add(&batch(vec![None, None], vec![Some("b"), None]));
        gatherer.add(&batch(vec![Some(-5), Some(7)], vec![Some("a"), Some("c")]));
        let statistics = gatherer.finish(["number".to_owned(), "text".to_owned()].iter());
        let known = |nulls, min: &str, max: &str| ColumnStatistics { nulls, min: Some(min.to_owned()), max: Some(max.to_owned()) };
        assert_eq!(statistics["number"], known(2, "-5", "7"));
        assert_eq!(statistics["text"], known(1, "a", "c"));

        let mut gatherer = Gatherer::default();
        gatherer.add(&batch(vec![None], vec![Some("a")]));
        gatherer.add(&batch(vec![None], vec![Some(&long)]));
        let statistics = gatherer.finish(["number".to_owned(), "text".to_owned()].iter());
        assert_eq!(statistics["number"], ColumnStatistics { nulls: 2, min: None, max: None });
        assert_eq!(statistics["text"], ColumnStatistics::default());
    }
}
