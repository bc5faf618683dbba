//! Answers on standard output: a table for people, JSON or CSV for pipes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

/// Says something beside the answer, on standard error; when nobody listens there any more it goes unheard.
macro_rules! say {
    ($($part:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stderr(), $($part)*);
    }};
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Aligned columns
    Table,
    /// One JSON document
    Json,
    /// Comma-separated values with a header
    Csv,
}

/// Rows with named columns, in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Rows {
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl Rows {
    /// Takes the columns from the serialised form of the items; an empty list needs them named.
    pub(crate) fn of<T: Serialize>(columns: &[&str], items: &[T]) -> Self {
        let columns: Vec<String> = columns.iter().map(|&name| name.to_owned()).collect();
        let rows = items
            .iter()
            .map(|item| {
                let value = serde_json::to_value(item).unwrap_or(Value::Null);
                columns.iter().map(|name| value.get(name).cloned().unwrap_or(Value::Null)).collect()
            })
            .collect();
        Self { columns, rows }
    }

    /// Writes the rows to standard output; a reader that has gone away is not an error.
    pub(crate) fn print(&self, format: Format) -> io::Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let written = match format {
            Format::Table => self.write_table(&mut out),
            Format::Json => self.write_json(&mut out),
            Format::Csv => self.write_csv(&mut out),
        };
        match written.and_then(|()| out.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            other => other,
        }
    }

    fn write_table(&self, out: &mut impl Write) -> io::Result<()> {
        let cells: Vec<Vec<String>> = self.rows.iter().map(|row| row.iter().map(|value| visible(cell(value))).collect()).collect();
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|index| cells.iter().map(|row| row[index].chars().count()).chain([self.columns[index].chars().count()]).max().unwrap_or(0))
            .collect();
        let is_number: Vec<bool> =
            (0..self.columns.len()).map(|index| self.rows.iter().all(|row| matches!(row[index], Value::Number(_) | Value::Null))).collect();
        let mut line = |row: &[String]| {
            let padded: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(index, text)| {
                    let width = widths[index];
                    if is_number[index] { format!("{text:>width$}") } else { format!("{text:<width$}") }
                })
                .collect();
            writeln!(out, "{}", padded.join("  ").trim_end())
        };
        line(&self.columns)?;
        line(&widths.iter().map(|&width| "─".repeat(width)).collect::<Vec<_>>())?;
        cells.iter().try_for_each(|row| line(row))?;
        writeln!(out, "({} row{})", cells.len(), if cells.len() == 1 { "" } else { "s" })
    }

    fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        let objects: Vec<serde_json::Map<String, Value>> =
            self.rows.iter().map(|row| self.columns.iter().cloned().zip(row.iter().cloned()).collect()).collect();
        serde_json::to_writer_pretty(&mut *out, &objects)?;
        writeln!(out)
    }

    fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        let mut line = |row: Vec<String>| writeln!(out, "{}", row.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(","));
        line(self.columns.clone())?;
        self.rows.iter().try_for_each(|row| line(row.iter().map(cell).collect()))
    }
}

/// Prints one JSON document; a reader that has gone away is not an error.
pub(crate) fn print_json(value: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value)?;
    match writeln!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Prints a text as it is; a reader that has gone away is not an error.
pub(crate) fn print_text(text: &str) -> io::Result<()> {
    match write!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Writes control characters as `\n` or `\u{1b}`, so that a value neither breaks a table nor speaks to the terminal.
pub(crate) fn visible(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }
    let escaped = |char: char| if char.is_control() { char.escape_default().to_string() } else { char.to_string() };
    text.chars().map(escaped).collect()
}

/// Quotes a CSV field where RFC 4180 asks for it.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn csv_quotes_what_would_break_a_row() {
        let rows = Rows { columns: vec!["a".into(), "b".into()], rows: vec![vec![Value::from("x,\"y\""), Value::from(1)]] };
        let mut out = Vec::new();
        rows.write_csv(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "a,b\n\"x,\"\"y\"\"\",1\n");
    }

    #[test]
    fn a_table_shows_control_characters_and_does_not_send_them() {
        let rows = Rows { columns: vec!["t".into()], rows: vec![vec![Value::from("\u{1b}[31mred\nä\u{9b}")]] };
        let mut out = Vec::new();
        rows.write_table(&mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("\n\\u{1b}[31mred\\nä\\u{9b}\n(1 row)"));
        let mut out = Vec::new();
        rows.write_csv(&mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("\u{1b}[31mred\nä"));
    }

    #[test]
    fn a_table_aligns_numbers_to_the_right() {
        let rows = Rows { columns: vec!["n".into()], rows: vec![vec![Value::from(5)], vec![Value::from(1000)]] };
        let mut out = Vec::new();
        rows.write_table(&mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "   n\n────\n   5\n1000\n(2 rows)\n");
    }
}
