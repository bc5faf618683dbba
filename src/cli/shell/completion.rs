//! What Tab completes: words of SQL, and the names that the session shows.

use std::collections::BTreeSet;

use granary_warehouse::Shown;
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper, Result};

const KEYWORDS: &[&str] = &[
    "all",
    "and",
    "as",
    "asc",
    "avg",
    "between",
    "by",
    "case",
    "cast",
    "coalesce",
    "count",
    "cross",
    "current_date",
    "date",
    "date_trunc",
    "desc",
    "distinct",
    "else",
    "end",
    "except",
    "exists",
    "explain",
    "extract",
    "false",
    "filter",
    "first",
    "from",
    "full",
    "group",
    "having",
    "in",
    "inner",
    "intersect",
    "interval",
    "is",
    "join",
    "last",
    "left",
    "like",
    "limit",
    "max",
    "min",
    "not",
    "null",
    "nulls",
    "offset",
    "on",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "right",
    "select",
    "show tables",
    "sum",
    "then",
    "true",
    "union",
    "using",
    "values",
    "when",
    "where",
    "window",
    "with",
];

/// The words that there are, each once, in order.
#[derive(Debug)]
pub(super) struct Words(Vec<String>);

/// Collects the words that one may type where these tables are shown.
pub(super) fn words(shown: &[Shown]) -> Words {
    let mut words: BTreeSet<String> = KEYWORDS.iter().map(|word| (*word).to_owned()).collect();
    for table in shown {
        words.insert(table.name.clone());
        words.insert(format!("{}.{}", table.schema, table.name));
        words.extend(table.columns.fields().iter().map(|field| field.name().clone()));
    }
    Words(words.into_iter().collect())
}

impl Words {
    /// Returns where the word before the cursor begins, and what it may become.
    fn of(&self, line: &str, cursor: usize) -> (usize, Vec<String>) {
        let before = line.get(..cursor).unwrap_or(line);
        let is_letter = |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '.';
        let begin =
            before.rfind(|letter: char| !is_letter(letter)).map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let typed = &before[begin..];
        if typed.is_empty() {
            return (begin, Vec::new());
        }
        let is_loud = typed.chars().all(|letter| !letter.is_lowercase());
        let wanted = typed.to_lowercase();
        let fits = self.0.iter().filter(|word| word.starts_with(&wanted));
        let said = |word: &String| {
            if is_loud && KEYWORDS.contains(&word.as_str()) { word.to_uppercase() } else { word.clone() }
        };
        (begin, fits.map(said).collect())
    }
}

impl Completer for Words {
    type Candidate = String;

    fn complete(&self, line: &str, cursor: usize, _: &Context<'_>) -> Result<(usize, Vec<String>)> {
        Ok(self.of(line, cursor))
    }
}

impl Hinter for Words {
    type Hint = String;
}

impl Highlighter for Words {}

impl Validator for Words {}

impl Helper for Words {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn words_tables_and_columns_are_completed() {
        let columns = Arc::new(Schema::new(vec![Field::new("amount_minor", DataType::Int64, true)]));
        let words = words(&[Shown { schema: "warehouse", name: "invoice_lines".to_owned(), columns, is_view: false }]);
        let complete = |line: &str| words.of(line, line.len());
        assert_eq!(complete("sel"), (0, vec!["select".to_owned()]));
        assert_eq!(complete("SEL").1, ["SELECT"]);
        assert_eq!(complete("select sum(amo"), (11, vec!["amount_minor".to_owned()]));
        assert_eq!(complete("\\d inv"), (3, vec!["invoice_lines".to_owned()]));
        assert_eq!(complete("from warehouse.in").1, ["warehouse.invoice_lines"]);
        assert!(complete("select ").1.is_empty() && complete("select 'ö").1.is_empty());
        assert!(KEYWORDS.iter().all(|word| words.0.iter().any(|known| known == word)));
    }
}
