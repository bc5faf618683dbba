//! Rows as aligned columns: how wide they are is settled by the first thousand, and the others follow as they come.

use std::io::{self, Write};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use futures::TryStreamExt;
use granary_warehouse::RowStream;

use crate::cli::Failure;
use crate::cli::output::visible;

/// So many rows settle the widths.
const SAMPLE: usize = 1_000;
/// No column of a screen is made narrower than this.
const NARROWEST: usize = 6;
/// Between two columns.
const GAP: usize = 2;

/// Writes an answer; on a screen, no line is longer than it is wide.
pub(super) async fn write(answer: RowStream, out: &mut (impl Write + Send), width: Option<usize>) -> Result<(), Failure> {
    let mut table = Table::new(&answer.schema, width);
    let mut batches = answer.batches;
    while let Some(batch) = batches.try_next().await? {
        table.add(&batch, out)?;
    }
    Ok(table.finish(out)?)
}

struct Table {
    names: Vec<String>,
    is_number: Vec<bool>,
    width: Option<usize>,
    /// Settled with the first rows.
    widths: Option<Vec<usize>>,
    sample: Vec<Vec<String>>,
    count: usize,
}

impl Table {
    fn new(schema: &Schema, width: Option<usize>) -> Self {
        let names: Vec<String> = schema.fields().iter().map(|field| visible(field.name().clone())).collect();
        let is_number = schema.fields().iter().map(|field| is_number(field.data_type())).collect();
        Self { names, is_number, width, widths: None, sample: Vec::new(), count: 0 }
    }

    fn add(&mut self, batch: &RecordBatch, out: &mut impl Write) -> Result<(), Failure> {
        let options = FormatOptions::default();
        // Only these know that a column of the type null holds nothing else.
        let nulls: Vec<_> = batch.columns().iter().map(|column| column.logical_nulls()).collect();
        let columns = batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options)).collect::<Result<Vec<_>, _>>()?;
        for row in 0..batch.num_rows() {
            let cell = |(column, nulls): (&ArrayFormatter<'_>, &Option<arrow::buffer::NullBuffer>)| match nulls {
                Some(nulls) if nulls.is_null(row) => String::new(),
                _ => visible(column.value(row).to_string()),
            };
            let cells: Vec<String> = columns.iter().zip(&nulls).map(cell).collect();
            self.count += 1;
            match &self.widths {
                Some(widths) => self.line(widths, &cells, out)?,
                None => self.sample.push(cells),
            }
            if self.sample.len() >= SAMPLE {
                self.settle(out)?;
            }
        }
        Ok(())
    }

    /// Writes the head and the rows that waited for it.
    fn settle(&mut self, out: &mut impl Write) -> io::Result<()> {
        let sample = std::mem::take(&mut self.sample);
        let longest = |column: usize| sample.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let wanted: Vec<usize> = self.names.iter().enumerate().map(|(index, name)| name.chars().count().max(longest(index))).collect();
        let widths = self.width.map_or_else(|| wanted.clone(), |width| fitted(&wanted, width));
        self.line(&widths, &self.names, out)?;
        self.line(&widths, &widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>(), out)?;
        sample.iter().try_for_each(|row| self.line(&widths, row, out))?;
        self.widths = Some(widths);
        Ok(())
    }

    fn line(&self, widths: &[usize], cells: &[String], out: &mut impl Write) -> io::Result<()> {
        let mut line = String::new();
        for (index, (cell, &width)) in cells.iter().zip(widths).enumerate() {
            let gap = if index == 0 { 0 } else { GAP };
            line.extend(std::iter::repeat_n(' ', gap));
            let cell = if self.width.is_some() { shortened(cell, width) } else { cell.clone() };
            line.push_str(&if self.is_number[index] { format!("{cell:>width$}") } else { format!("{cell:<width$}") });
        }
        let line = self.width.map_or_else(|| line.clone(), |width| shortened(&line, width));
        writeln!(out, "{}", line.trim_end())
    }

    fn finish(mut self, out: &mut impl Write) -> io::Result<()> {
        if self.widths.is_none() {
            self.settle(out)?;
        }
        writeln!(out, "({} row{})", self.count, if self.count == 1 { "" } else { "s" })?;
        out.flush()
    }
}

/// Numbers stand to the right; decimals are texts of exact digits.
fn is_number(kind: &DataType) -> bool {
    kind.is_integer() || kind.is_floating() || *kind == DataType::Null
}

/// Takes from the widest columns until all fit, as far as they can.
fn fitted(wanted: &[usize], width: usize) -> Vec<usize> {
    let room = width.saturating_sub(GAP * wanted.len().saturating_sub(1));
    let mut widths = wanted.to_vec();
    while widths.iter().sum::<usize>() > room {
        match widths.iter_mut().max().filter(|widest| **widest > NARROWEST) {
            Some(widest) => *widest -= 1,
            None => break,
        }
    }
    widths
}

fn shortened(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Decimal128Array, Int64Array, StringArray};

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>, width: Option<usize>) -> String {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut table = Table::new(&batch.schema(), width);
        let mut out = Vec::new();
        table.add(&batch, &mut out).unwrap();
        table.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_stand_to_the_right_and_nothing_stays_blank() {
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None, Some(1_000)]));
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "\u{1b}[31mred", "c\nd"]));
        let text = written(vec![("n", numbers), ("t", texts)], None);
        assert_eq!(text, "   n  t\n────  ─────────────\n   5  a\n      \\u{1b}[31mred\n1000  c\\nd\n(3 rows)\n");
    }

    #[test]
    fn decimals_keep_their_digits() {
        let amounts: ArrayRef = Arc::new(Decimal128Array::from(vec![130_000]).with_precision_and_scale(20, 2).unwrap());
        assert_eq!(written(vec![("amount", amounts)], None), "amount\n───────\n1300.00\n(1 row)\n");
    }

    #[test]
    fn no_line_is_longer_than_the_screen_is_wide() {
        let long: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100)]));
        let short: ArrayRef = Arc::new(Int64Array::from(vec![7]));
        let text = written(vec![("long", Arc::clone(&long)), ("n", Arc::clone(&short)), ("other", long)], Some(40));
        assert!(text.lines().all(|line| line.chars().count() <= 40), "{text}");
        assert!(text.lines().nth(2).unwrap().contains("…  7  x"), "{text}");
        let many: Vec<(String, ArrayRef)> = (0..20).map(|index| (format!("column_{index}"), Arc::clone(&short))).collect();
        let text = written(many.iter().map(|(name, column)| (name.as_str(), Arc::clone(column))).collect(), Some(30));
        assert!(text.lines().all(|line| line.chars().count() <= 30), "{text}");
    }

    #[test]
    fn many_rows_are_written_as_they_come() {
        let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(0..700)) as ArrayRef)]).unwrap();
        let mut table = Table::new(&batch.schema(), None);
        let mut out = Vec::new();
        table.add(&batch, &mut out).unwrap();
        assert!(out.is_empty(), "the widths are not settled");
        table.add(&batch, &mut out).unwrap();
        assert_eq!(String::from_utf8(out.clone()).unwrap().lines().count(), 1_402);
        table.finish(&mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().ends_with("(1400 rows)\n"));
    }
}
