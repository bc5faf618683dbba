//! The files of a dump: rows and columns, escapes and nulls, numbers and times.

use std::collections::HashMap;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{SendenseError, Table};
use crate::wall_clock::{instant, second_instant};

/// The one column that is a `datetime` where no definition tells it.
const DATETIME: &str = "last_telemetry_at";

/// The rows of a table.
#[derive(Debug)]
pub(super) struct Rows {
    table: Table,
    columns: HashMap<String, Column>,
    rows: Vec<Vec<Option<String>>>,
}

#[derive(Debug, Clone, Copy)]
struct Column {
    index: usize,
    /// A `datetime`, which is kept as it was written: in UTC.
    is_utc: bool,
}

/// One row; it knows where it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'d> {
    rows: &'d Rows,
    number: usize,
}

/// A time as it is written, and when that was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct When {
    pub(super) at: Timestamp,
    pub(super) written: DateTime,
    /// The other instant that is written like this, in the night in which clocks go back.
    again: Option<Timestamp>,
}

impl When {
    /// Returns the instant; the second one that is written like this if the first would be before a beginning.
    pub(super) fn not_before(self, beginning: Timestamp) -> Timestamp {
        self.again.filter(|_| self.at < beginning).unwrap_or(self.at).max(beginning)
    }
}

impl Rows {
    pub(super) fn of_tab(table: Table, definition: &str, content: &[u8]) -> Result<Self, SendenseError> {
        let unreadable = |problem: String| SendenseError::Unreadable { table, problem };
        let mut columns = HashMap::new();
        for line in definition.lines().map(str::trim_start).filter(|line| line.starts_with('`')) {
            let Some((name, rest)) = line[1..].split_once('`') else { continue };
            let is_utc = rest.trim_start().to_ascii_lowercase().starts_with("datetime");
            columns.insert(name.to_owned(), Column { index: columns.len(), is_utc });
        }
        let rows = unescape(content).map_err(|row| unreadable(format!("row {row} is not UTF-8")))?;
        Self { table, columns, rows }.checked()
    }

    pub(super) fn of_csv(table: Table, content: &[u8]) -> Result<Self, SendenseError> {
        let unreadable = |error: csv::Error| SendenseError::Unreadable { table, problem: error.to_string() };
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(content);
        let headings = reader.headers().map_err(unreadable)?.clone();
        let column =
            |(index, name): (usize, &str)| (name.trim_start_matches('\u{feff}').to_owned(), Column { index, is_utc: name == DATETIME });
        let columns = headings.iter().enumerate().map(column).collect();
        let cell = |text: &str| (!matches!(text, "" | "\\N" | "NULL")).then(|| text.to_owned());
        let rows = reader.records().map(|row| Ok(row?.iter().map(cell).collect())).collect::<Result<_, _>>().map_err(unreadable)?;
        Self { table, columns, rows }.checked()
    }

    fn checked(self) -> Result<Self, SendenseError> {
        let unreadable = |problem: String| SendenseError::Unreadable { table: self.table, problem };
        let missing: Vec<&str> = self.table.columns().iter().copied().filter(|name| !self.columns.contains_key(*name)).collect();
        if !missing.is_empty() {
            return Err(unreadable(format!("it lacks the columns {}", missing.join(", "))));
        }
        if let Some(number) = self.rows.iter().position(|row| row.len() != self.columns.len()) {
            let (row, found, expected) = (number + 1, self.rows[number].len(), self.columns.len());
            return Err(unreadable(format!("row {row} has {found} columns instead of {expected}")));
        }
        Ok(self)
    }

    pub(super) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        (0..self.rows.len()).map(|number| Row { rows: self, number })
    }
}

/// Reads rows as `mysqldump --tab` writes them: fields end with a tab, rows with a line feed, and a backslash stands before either
/// where it belongs to a value, and before itself; `\N` alone is null. The csv crate knows escapes only within quotes.
fn unescape(content: &[u8]) -> Result<Vec<Vec<Option<String>>>, u64> {
    let (mut rows, mut row, mut field, mut is_null) = (Vec::new(), Vec::new(), Vec::new(), false);
    let mut bytes = content.iter().copied();
    let end = |field: &mut Vec<u8>, is_null: &mut bool, rows: usize| {
        let bytes = std::mem::take(field);
        if std::mem::take(is_null) && bytes.is_empty() {
            return Ok(None);
        }
        String::from_utf8(bytes).map(Some).map_err(|_| rows as u64 + 1)
    };
    while let Some(byte) = bytes.next() {
        match byte {
            b'\t' => row.push(end(&mut field, &mut is_null, rows.len())?),
            b'\n' => {
                row.push(end(&mut field, &mut is_null, rows.len())?);
                rows.push(std::mem::take(&mut row));
            }
            b'\\' => match bytes.next() {
                Some(b'N') if field.is_empty() => is_null = true,
                Some(b'0') => field.push(0),
                Some(b'b') => field.push(8),
                Some(b'n') => field.push(b'\n'),
                Some(b'r') => field.push(b'\r'),
                Some(b't') => field.push(b'\t'),
                Some(b'Z') => field.push(26),
                // The line feed, the tab and the backslash themselves, and whatever was escaped without need.
                Some(other) => field.push(other),
                None => field.push(b'\\'),
            },
            other => field.push(other),
        }
    }
    if !field.is_empty() || !row.is_empty() || is_null {
        row.push(end(&mut field, &mut is_null, rows.len())?);
        rows.push(row);
    }
    Ok(rows)
}

impl<'d> Row<'d> {
    /// Returns a text; null, empty, or of a column that is not there is none.
    pub(super) fn text(&self, column: &str) -> Option<&'d str> {
        let column = self.rows.columns.get(column)?;
        self.rows.rows[self.number][column.index].as_deref().filter(|text| !text.is_empty())
    }

    /// Makes the error of a value.
    pub(super) fn bad(&self, column: &'static str, problem: &'static str) -> SendenseError {
        let value = self.text(column).unwrap_or_default().chars().take(60).collect();
        SendenseError::BadValue { table: self.rows.table, row: self.number as u64 + 1, column, value, problem }
    }

    /// Returns a text that must be there.
    pub(super) fn required(&self, column: &'static str) -> Result<&'d str, SendenseError> {
        self.text(column).ok_or_else(|| self.bad(column, "is missing"))
    }

    /// Returns a whole number, not below zero.
    pub(super) fn number(&self, column: &'static str) -> Result<Option<i64>, SendenseError> {
        let Some(text) = self.text(column) else { return Ok(None) };
        let number: Option<i64> = text.parse().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| self.bad(column, "is not a number"))
    }

    /// Tells whether a flag is set.
    pub(super) fn flag(&self, column: &str) -> bool {
        self.text(column).is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
    }

    /// Returns a time: of a `timestamp` column in the zone of the dump, of a `datetime` column in UTC. The zero date is none.
    pub(super) fn when(&self, column: &'static str, zone: &TimeZone) -> Result<Option<When>, SendenseError> {
        let Some(text) = self.text(column).filter(|text| !text.starts_with("0000-00-00")) else { return Ok(None) };
        let written: DateTime = text.parse().map_err(|_| self.bad(column, "is not a time such as 2025-10-31 23:59:59"))?;
        let zone = if self.rows.columns.get(column).is_some_and(|column| column.is_utc) { &TimeZone::UTC } else { zone };
        let at = instant(written, zone).ok_or_else(|| self.bad(column, "is out of range"))?;
        Ok(Some(When { at, written, again: second_instant(written, zone) }))
    }

    /// Returns a time that must be there.
    pub(super) fn required_when(&self, column: &'static str, zone: &TimeZone) -> Result<When, SendenseError> {
        self.when(column, zone)?.ok_or_else(|| self.bad(column, "is missing"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_line_feeds_backslashes_and_nulls_are_read_as_they_were() {
        let text = |cell: &str| Some(cell.to_owned());
        let read = |content: &str| unescape(content.as_bytes()).unwrap();
        assert_eq!(read("a\t\\N\tc\n"), [[text("a"), None, text("c")]]);
        assert_eq!(read("two\\\nlines\ta\\\ttab\n\\\\N\t\n"), [[text("two\nlines"), text("a\ttab")], [text("\\N"), text("")]]);
        assert_eq!(read("a\\nb\\0\t\\\\\\\\x"), [[text("a\nb\0"), text("\\\\x")]]);
        assert!(read("").is_empty());
        assert_eq!(unescape(b"a\nb\xff\n"), Err(2));
    }

    #[test]
    fn a_time_that_is_written_twice_in_a_year_is_the_second_where_the_first_would_end_before_it_began() {
        let zone = TimeZone::get("America/New_York").unwrap();
        let when = |text: &str| {
            let written: DateTime = text.parse().unwrap();
            When { at: instant(written, &zone).unwrap(), written, again: second_instant(written, &zone) }
        };
        let (began, ended) = (when("2025-11-02 01:50:00"), when("2025-11-02 01:10:00"));
        assert_eq!(began.at.to_string(), "2025-11-02T05:50:00Z");
        assert_eq!(ended.not_before(began.at).to_string(), "2025-11-02T06:10:00Z");
        assert_eq!(when("2025-11-02 01:55:00").not_before(began.at).to_string(), "2025-11-02T05:55:00Z");
        assert_eq!(when("2025-11-01 01:55:00").not_before(began.at), began.at, "nothing ends before it begins");
    }
}
