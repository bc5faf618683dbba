//! The small part of YAML that a model's description is written in: nested maps, plain scalars, `[a, b]` lists and `- ` lists.
//!
//! Any YAML reader reads these files; this one refuses what it does not know instead of guessing.

use serde_json::{Map, Value};

/// A line that is not in the subset.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct YamlError {
    line: usize,
    problem: &'static str,
}

/// One line that says something: its number, its indentation and its text.
#[derive(Debug, Clone, Copy)]
struct Line<'a> {
    number: usize,
    indent: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(&self, problem: &'static str) -> YamlError {
        YamlError { line: self.number, problem }
    }
}

/// Parses a document whose top level is a map.
pub(crate) fn parse(text: &str) -> Result<Value, YamlError> {
    let lines: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .map(|(index, line)| Line { number: index + 1, indent: line.len() - line.trim_start().len(), text: line.trim() })
        .filter(|line| !line.text.is_empty() && !line.text.starts_with('#'))
        .collect();
    let mut rest = lines.as_slice();
    let value = parse_block(&mut rest, 0)?;
    match rest.first() {
        Some(line) => Err(line.error("this line is indented unlike the ones above")),
        None => Ok(value),
    }
}

fn parse_block(rest: &mut &[Line<'_>], indent: usize) -> Result<Value, YamlError> {
    match rest.first() {
        Some(line) if line.text.starts_with("- ") => parse_list(rest, indent),
        _ => parse_map(rest, indent),
    }
}

fn parse_list(rest: &mut &[Line<'_>], indent: usize) -> Result<Value, YamlError> {
    let mut items = Vec::new();
    while let Some((line, tail)) = rest.split_first().filter(|(line, _)| line.indent == indent) {
        let item = line.text.strip_prefix("- ").ok_or_else(|| line.error("a list item begins with '- '"))?;
        items.push(parse_inline(item, line)?);
        *rest = tail;
    }
    Ok(Value::Array(items))
}

fn parse_map(rest: &mut &[Line<'_>], indent: usize) -> Result<Value, YamlError> {
    let mut map = Map::new();
    while let Some((line, tail)) = rest.split_first().filter(|(line, _)| line.indent == indent) {
        let (key, value) = line.text.split_once(':').ok_or_else(|| line.error("a key is followed by ':'"))?;
        *rest = tail;
        let value = match (value.trim(), tail.first()) {
            ("", Some(next)) if next.indent > indent => parse_block(rest, next.indent)?,
            ("", _) => return Err(line.error("this key has no value")),
            (inline, _) => parse_inline(inline, line)?,
        };
        if map.insert(key.trim().to_owned(), value).is_some() {
            return Err(line.error("this key is given twice"));
        }
    }
    Ok(Value::Object(map))
}

fn parse_inline(text: &str, line: &Line<'_>) -> Result<Value, YamlError> {
    if let Some(inner) = text.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or_else(|| line.error("a list that opens with '[' closes with ']' on the same line"))?;
        let items = inner.split(',').map(str::trim).filter(|item| !item.is_empty());
        return items.map(|item| parse_inline(item, line)).collect::<Result<_, _>>().map(Value::Array);
    }
    if text.starts_with(['{', '&', '*', '!', '|', '>', '%', '@', '`', '"', '\'']) {
        return Err(line.error("only plain text, numbers and lists are understood"));
    }
    Ok(match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        _ => Value::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn maps_lists_and_scalars_are_read() {
        let text = "# why\ngrain: one row per customer: yes\nroles: [a, b]\ncolumns:\n    id:\n        tests: [not_null]\nunique:\n    - [a, b]\n    - [c]\n";
        let expected = json!({
            "grain": "one row per customer: yes", "roles": ["a", "b"],
            "columns": {"id": {"tests": ["not_null"]}}, "unique": [["a", "b"], ["c"]],
        });
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn what_is_outside_the_subset_is_refused_with_its_line() {
        for (text, line) in [("a: {b: c}", 1), ("a: b\na: c", 2), ("a:\n", 1), ("a: b\n  c: d", 2), ("a: [b", 1), ("a", 1), ("a: 'b'", 1)] {
            assert_eq!(parse(text).unwrap_err().line, line, "{text}");
        }
    }
}
