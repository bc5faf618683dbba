//! Rows of one dataset that came in any order, cut into parts and put into the order of their files.
//!
//! Postgres would sort for longer than it sends, and while it does nobody encodes. What fits into memory is therefore sorted here:
//! one 128-bit number a row holds its part, the first eight bytes of its first sort column and its place, and only rows that are
//! alike in the first two are compared by all columns.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::ops::Range;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::compute::{SortOptions, interleave_record_batch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::row::{RowConverter, Rows, SortField};
use granary_types::{ColumnKind, Dataset, Period};

use crate::LakeError;
use crate::copy::{BATCH_ROWS, NO_MONTH, NOT_FINITE, part_column};
use crate::month::{EPOCH_SHIFT_DAYS, EPOCH_SHIFT_US, Part, PartSpan, day_of};

/// How every file is sorted: nulls come last, as in Postgres.
const ORDER: SortOptions = SortOptions { descending: false, nulls_first: false };
/// Where the key of a row has its part, and where the beginning of its first sort column.
const PART_SHIFT: u32 = 96;
const PREFIX_SHIFT: u32 = 32;

/// Returns the columns by whose values a dataset's files are in order, whoever sorted them. Floats end the list: Postgres and
/// readers of files do not agree about zeros and what is not a number.
pub(crate) fn sorted_by(dataset: &Dataset) -> Vec<&'static str> {
    let kind = |name: &str| dataset.columns.iter().find(|column| column.name == name).map(|column| column.kind);
    let is_ordered = |name: &&&'static str| kind(name).is_some_and(|kind| kind != ColumnKind::Float64);
    dataset.sort.iter().take_while(is_ordered).copied().collect()
}

/// Collects rows, then hands them over part by part.
pub(crate) struct Sorter {
    dataset: Dataset,
    by_day: BTreeSet<Period>,
    batches: Vec<RecordBatch>,
    size_bytes: usize,
}

impl Sorter {
    pub(crate) fn new(dataset: Dataset, by_day: BTreeSet<Period>) -> Self {
        Self { dataset, by_day, batches: Vec::new(), size_bytes: 0 }
    }

    /// Takes rows; every batch but the last has [`BATCH_ROWS`] of them. Returns how much memory they all take.
    pub(crate) fn add(&mut self, batch: RecordBatch) -> usize {
        self.size_bytes += batch.get_array_memory_size();
        self.batches.push(batch);
        self.size_bytes
    }

    /// Hands every part over once, batch by batch, in the order of its file.
    pub(crate) fn finish(self, mut sink: impl FnMut(Part, RecordBatch) -> Result<(), LakeError>) -> Result<(), LakeError> {
        let mut keys = self.keys()?;
        let was_sorted = keys.is_sorted() && !self.has_ties(&keys);
        if !was_sorted {
            keys.sort_unstable();
            self.break_ties(&mut keys)?;
        }
        let batches: Vec<&RecordBatch> = self.batches.iter().collect();
        for range in runs(&keys, PART_SHIFT) {
            let part = self.part_of(keys[range.start])?;
            for rows in keys[range].chunks(BATCH_ROWS) {
                let places: Vec<(usize, usize)> = rows.iter().map(|key| place(*key)).collect();
                let (first, last) = (places[0], places[places.len() - 1]);
                // What came in order within one batch needs not be copied.
                let batch = if was_sorted && first.0 == last.0 {
                    self.batches[first.0].slice(first.1, places.len())
                } else {
                    interleave_record_batch(&batches, &places)?
                };
                sink(part, batch)?;
            }
        }
        Ok(())
    }

    /// One number a row: its part, the beginning of its first sort column, its place.
    fn keys(&self) -> Result<Vec<u128>, LakeError> {
        let mut keys = Vec::with_capacity(self.batches.iter().map(RecordBatch::num_rows).sum());
        let first = sorted_by(&self.dataset).first().copied();
        for batch in &self.batches {
            let parts = self.parts(batch)?;
            let prefixes = first.and_then(|name| batch.column_by_name(name)).map(|column| prefixes(column.as_ref()));
            let start = keys.len();
            for row in 0..batch.num_rows() {
                let part = parts.as_ref().map_or(0, |parts| parts[row]);
                let prefix = prefixes.as_ref().map_or(0, |prefixes| prefixes[row]);
                keys.push((u128::from(part) << PART_SHIFT) | (u128::from(prefix) << PREFIX_SHIFT) | (start + row) as u128);
            }
        }
        Ok(keys)
    }

    /// The first day of every row's part, so that parts are in order; none for a dataset that is written whole.
    fn parts(&self, batch: &RecordBatch) -> Result<Option<Vec<u32>>, LakeError> {
        let Some(index) = part_column(&self.dataset)? else { return Ok(None) };
        let (column, kind) = (batch.column(index), self.dataset.columns[index].kind);
        if column.null_count() > 0 {
            return Err(self.refuse(NO_MONTH));
        }
        let parts = match kind {
            ColumnKind::Date => {
                let days = column.as_primitive::<Date32Type>().values();
                self.parts_of(days.iter().map(|day| i64::from(*day) - i64::from(EPOCH_SHIFT_DAYS)), kind)
            }
            _ => self.parts_of(column.as_primitive::<TimestampMicrosecondType>().values().iter().map(|at| at - EPOCH_SHIFT_US), kind),
        };
        parts.map(Some)
    }

    fn parts_of(&self, raw: impl Iterator<Item = i64>, kind: ColumnKind) -> Result<Vec<u32>, LakeError> {
        let unit = day_of(kind);
        let mut now: (Range<i64>, u32) = (0..0, 0);
        raw.map(|raw| {
            if !now.0.contains(&raw) {
                let span = PartSpan::containing(raw, kind, &self.by_day).ok_or_else(|| self.refuse(NOT_FINITE))?;
                let first_day = i32::try_from(span.raw.start / unit).map_err(|_| self.refuse(NOT_FINITE))?;
                now = (span.raw, ordered_i32(first_day));
            }
            Ok(now.1)
        })
        .collect()
    }

    fn part_of(&self, key: u128) -> Result<Part, LakeError> {
        let Some(index) = part_column(&self.dataset)? else { return Ok(Part::Whole) };
        // The 32 bits above the shift.
        let first_day = ((key >> PART_SHIFT) as u32 ^ (1 << 31)).cast_signed();
        let kind = self.dataset.columns[index].kind;
        let unit = day_of(kind);
        let span = PartSpan::containing(i64::from(first_day) * unit, kind, &self.by_day).ok_or_else(|| self.refuse(NOT_FINITE))?;
        Ok(span.part)
    }

    /// Tells whether neighbours are alike in all that their keys say.
    fn has_ties(&self, keys: &[u128]) -> bool {
        !self.dataset.sort.is_empty() && keys.windows(2).any(|pair| pair[0] >> PREFIX_SHIFT == pair[1] >> PREFIX_SHIFT)
    }

    /// Puts rows in order that their keys cannot tell apart.
    fn break_ties(&self, keys: &mut [u128]) -> Result<(), LakeError> {
        if !self.has_ties(keys) {
            return Ok(());
        }
        let rows = self.rows()?;
        let row = |key: &u128| {
            let (batch, row) = place(*key);
            rows[batch].row(row)
        };
        for range in runs(keys, PREFIX_SHIFT).filter(|range| range.len() > 1).collect::<Vec<_>>() {
            keys[range].sort_unstable_by(|left, right| match row(left).cmp(&row(right)) {
                Ordering::Equal => left.cmp(right),
                decided => decided,
            });
        }
        Ok(())
    }

    /// All sort columns of every row, as bytes that compare like them.
    fn rows(&self) -> Result<Vec<Rows>, LakeError> {
        let names = sorted_by(&self.dataset);
        let Some(first) = self.batches.first() else { return Ok(Vec::new()) };
        let fields = names.iter().filter_map(|name| first.column_by_name(name));
        let converter = RowConverter::new(fields.map(|column| SortField::new_with_options(column.data_type().clone(), ORDER)).collect())?;
        let convert = |batch: &RecordBatch| {
            let columns: Vec<_> = names.iter().filter_map(|name| batch.column_by_name(name).cloned()).collect();
            Ok(converter.convert_columns(&columns)?)
        };
        self.batches.iter().map(convert).collect()
    }

    fn refuse(&self, reason: &str) -> LakeError {
        let column = self.dataset.month_column.unwrap_or_default();
        LakeError::Value { dataset: self.dataset.name, column, reason: reason.to_owned() }
    }
}

/// Ranges of neighbours that are alike above a bit.
fn runs(keys: &[u128], shift: u32) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = *keys.get(start)?;
        let length = keys[start..].iter().take_while(|key| **key >> shift == first >> shift).count();
        let range = start..start + length;
        start = range.end;
        Some(range)
    })
}

/// Which batch and which row of it a key belongs to.
fn place(key: u128) -> (usize, usize) {
    #[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits")]
    let index = key as u32 as usize;
    (index / BATCH_ROWS, index % BATCH_ROWS)
}

fn ordered_i32(value: i32) -> u32 {
    value.cast_unsigned() ^ (1 << 31)
}

fn ordered_i64(value: i64) -> u64 {
    value.cast_unsigned() ^ (1 << 63)
}

/// Eight bytes of every value that compare as the values do, as far as they go; nulls are the largest.
fn prefixes(column: &dyn Array) -> Vec<u64> {
    fn ints<T: ArrowPrimitiveType<Native: Into<i64>>>(column: &dyn Array) -> Vec<u64> {
        let values = column.as_primitive::<T>();
        values.iter().map(|value| value.map_or(u64::MAX, |value| ordered_i64(value.into()))).collect()
    }
    match column.data_type() {
        DataType::Int32 => ints::<Int32Type>(column),
        DataType::Int64 => ints::<Int64Type>(column),
        DataType::Date32 => ints::<Date32Type>(column),
        DataType::Timestamp(..) => ints::<TimestampMicrosecondType>(column),
        DataType::Utf8 => column.as_string::<i32>().iter().map(|text| text.map_or(u64::MAX, text_prefix)).collect(),
        // Told apart by all their columns.
        _ => vec![0; column.len()],
    }
}

/// Returns eight bytes that compare as texts do, as far as they go.
pub(crate) fn text_prefix(text: &str) -> u64 {
    let mut first = [0; 8];
    let length = text.len().min(first.len());
    first[..length].copy_from_slice(&text.as_bytes()[..length]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Date32Array, Int64Array, StringArray};
    use granary_types::{Column, Source};
    use proptest::prelude::*;

    use super::*;
    use crate::schema::arrow_schema;

    const VISITS: Dataset = Dataset {
        name: "visits",
        source: Source::Tenant,
        month_column: Some("day"),
        columns: &[
            Column::new("day", ColumnKind::Date),
            Column::nullable("name", ColumnKind::Text),
            Column::nullable("amount", ColumnKind::Int64),
        ],
        sort: &["name", "amount"],
    };

    type Visit = (i32, Option<String>, Option<i64>);

    fn batch(rows: &[Visit]) -> RecordBatch {
        let days: ArrayRef = Arc::new(Date32Array::from_iter_values(rows.iter().map(|row| row.0)));
        let names: ArrayRef = Arc::new(rows.iter().map(|row| row.1.clone()).collect::<StringArray>());
        let amounts: ArrayRef = Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>());
        RecordBatch::try_new(arrow_schema(&VISITS), vec![days, names, amounts]).unwrap()
    }

    fn visits(batch: &RecordBatch) -> Vec<Visit> {
        let (days, names) = (batch.column(0).as_primitive::<Date32Type>(), batch.column(1).as_string::<i32>());
        let amounts = batch.column(2).as_primitive::<Int64Type>();
        let name = |row| (!names.is_null(row)).then(|| names.value(row).to_owned());
        (0..batch.num_rows()).map(|row| (days.value(row), name(row), (!amounts.is_null(row)).then(|| amounts.value(row)))).collect()
    }

    /// As Postgres would: by part, then by name and amount, nulls last.
    fn expected(rows: &[Visit], by_day: &BTreeSet<Period>) -> Vec<(String, Visit)> {
        let part = |day: i32| PartSpan::containing(i64::from(day - EPOCH_SHIFT_DAYS), ColumnKind::Date, by_day).unwrap().part;
        let mut sorted: Vec<_> = rows.iter().map(|row| (part(row.0), row.clone())).collect();
        let key = |row: &Visit| (row.1.is_none(), row.1.clone(), row.2.is_none(), row.2);
        sorted.sort_by_key(|(part, row)| (part.month(), part.part_text(), key(row)));
        sorted.into_iter().map(|(part, row)| (part.to_string(), row)).collect()
    }

    fn sorted(rows: &[Visit], by_day: &BTreeSet<Period>) -> Vec<(String, Visit)> {
        let mut sorter = Sorter::new(VISITS, by_day.clone());
        for chunk in rows.chunks(BATCH_ROWS) {
            sorter.add(batch(chunk));
        }
        let mut found = Vec::new();
        sorter
            .finish(|part, batch| {
                found.extend(visits(&batch).into_iter().map(|row| (part.to_string(), row)));
                Ok(())
            })
            .unwrap();
        found
    }

    /// Rows that are equal in all sort columns may stand in any order.
    fn without_days(rows: Vec<(String, Visit)>) -> Vec<(String, Option<String>, Option<i64>)> {
        rows.into_iter().map(|(part, row)| (part, row.1, row.2)).collect()
    }

    proptest! {
        #[test]
        fn rows_come_out_part_by_part_in_the_order_that_is_declared(
            rows in proptest::collection::vec((0_i32..120, proptest::option::of("[a-c]{0,12}"), proptest::option::of(-3_i64..3)), 0..300),
        ) {
            let by_day = BTreeSet::from(["1970-02".parse().unwrap()]);
            let (ours, theirs) = (sorted(&rows, &by_day), expected(&rows, &by_day));
            prop_assert_eq!(without_days(ours.clone()), without_days(theirs));
            let all = |rows: &mut Vec<Visit>| { rows.sort(); rows.clone() };
            prop_assert_eq!(all(&mut ours.into_iter().map(|row| row.1).collect()), all(&mut rows.clone()));
        }
    }

    #[test]
    fn several_batches_become_one_order_and_what_is_in_order_is_not_touched() {
        let count = BATCH_ROWS as i64 * 2 + 17;
        let rows: Vec<Visit> = (0..count).map(|row| (40, Some(format!("name-{:03}", row % 200)), Some(row))).collect();
        let by_day = BTreeSet::new();
        let first = sorted(&rows, &by_day);
        assert_eq!(first, expected(&rows, &by_day));
        let in_order: Vec<Visit> = first.into_iter().map(|(_, row)| row).collect();
        assert_eq!(sorted(&in_order, &by_day), expected(&rows, &by_day));
    }

    #[test]
    fn floats_end_what_is_declared() {
        const COLUMNS: &[Column] =
            &[Column::new("a", ColumnKind::Int32), Column::new("b", ColumnKind::Float64), Column::new("c", ColumnKind::Text)];
        let dataset = Dataset { columns: COLUMNS, sort: &["a", "b", "c"], month_column: None, ..VISITS };
        assert_eq!(sorted_by(&dataset), ["a"]);
        assert_eq!(sorted_by(&VISITS), ["name", "amount"]);
    }
}
