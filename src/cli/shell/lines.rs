//! Lines as they are typed, put together to questions: a question ends with a semicolon that is neither quoted nor in a comment.

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Input {
    /// One statement, without its semicolon.
    Question(String),
    /// A line that begins with a backslash.
    Command(String),
}

impl Input {
    /// Returns it as it is typed again.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Question(sql) => format!("{sql};"),
            Self::Command(text) => text.clone(),
        }
    }
}

/// What was typed and is not a question yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    held: String,
}

impl Lines {
    /// Tells whether no question has begun.
    pub(super) fn is_empty(&self) -> bool {
        self.held.trim().is_empty()
    }

    /// Forgets what has begun.
    pub(super) fn clear(&mut self) {
        self.held.clear();
    }

    /// Adds a line and returns what it ends.
    pub(super) fn push(&mut self, line: &str) -> Vec<Input> {
        if self.is_empty() && line.trim_start().starts_with('\\') {
            self.clear();
            return vec![Input::Command(line.trim().to_owned())];
        }
        self.held.push_str(line);
        self.held.push('\n');
        let mut found = Vec::new();
        while let Some(end) = end_of_statement(&self.held) {
            let sql = self.held[..end].trim().to_owned();
            self.held.drain(..=end);
            if !sql.is_empty() {
                found.push(Input::Question(sql));
            }
        }
        if self.is_empty() {
            self.clear();
        }
        found
    }
}

/// Finds the semicolon that ends the first statement.
fn end_of_statement(text: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(';') {
            return Some(at);
        }
        at += skipped(rest)?;
    }
    None
}

/// Returns how long the token is that a text begins with; none when it does not end.
fn skipped(text: &str) -> Option<usize> {
    let closed_by = |mark: &str, from: usize| text[from..].find(mark).map(|end| from + end + mark.len());
    if text.starts_with('\'') || text.starts_with('"') {
        // A doubled quote is a quoted text that another one follows at once.
        return closed_by(&text[..1], 1);
    }
    if text.starts_with("--") {
        return closed_by("\n", 2);
    }
    if text.starts_with("/*") {
        return end_of_comment(text);
    }
    match dollar_tag(text) {
        Some(tag) => closed_by(tag, tag.len()),
        // What is neither is skipped letter by letter; names keep their dollars.
        None => {
            let word = text.find(|letter: char| !letter.is_alphanumeric() && letter != '_' && letter != '$').unwrap_or(text.len());
            Some(if word > 0 { word } else { text.chars().next()?.len_utf8() })
        }
    }
}

/// Comments lie within each other.
fn end_of_comment(text: &str) -> Option<usize> {
    let (mut depth, mut at) = (0_usize, 0);
    loop {
        let rest = text.get(at..)?;
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return Some(at);
            }
        } else {
            at += rest.chars().next()?.len_utf8();
        }
    }
}

/// Returns `$tag$` at the beginning of a text, if it is one; `$1` is a place for a value.
fn dollar_tag(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('$')?;
    let end = inner.find('$')?;
    let is_tag = inner[..end]
        .chars()
        .enumerate()
        .all(|(index, letter)| letter == '_' || letter.is_alphabetic() || (index > 0 && letter.is_numeric()));
    is_tag.then(|| &text[..end + 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn questions(lines: &[&str]) -> Vec<String> {
        let mut held = Lines::default();
        let inputs = lines.iter().flat_map(|line| held.push(line)).collect::<Vec<_>>();
        assert!(held.is_empty(), "{held:?} is left of {lines:?}");
        inputs
            .into_iter()
            .map(|input| match input {
                Input::Question(sql) => sql,
                Input::Command(text) => text,
            })
            .collect()
    }

    #[test]
    fn a_question_ends_with_a_semicolon_on_whatever_line() {
        assert_eq!(questions(&["select 1;"]), ["select 1"]);
        assert_eq!(questions(&["select", "  1 ", ";"]), ["select\n  1"]);
        assert_eq!(questions(&["select 1; select 2;;  ; "]), ["select 1", "select 2"]);
        let mut held = Lines::default();
        assert!(held.push("select 1; select").len() == 1 && !held.is_empty());
        assert_eq!(held.push("2;"), [Input::Question("select\n2".to_owned())]);
    }

    #[test]
    fn semicolons_in_texts_names_and_comments_end_nothing() {
        for sql in [
            "select ';'",
            "select 'it''s; so'",
            "select \"a;b\" from t",
            "select 1 -- ; not yet\n, 2",
            "select /* ; /* ; */ ; */ 1",
            "select $$;$$",
            "select $tag$;$$;$tag$",
            "select $1, a$b from t",
            "select 'ä;ö'",
        ] {
            assert_eq!(questions(&[&format!("{sql};")]), [sql], "{sql}");
            let typed: Vec<String> = format!("{sql};").lines().map(str::to_owned).collect();
            assert_eq!(questions(&typed.iter().map(String::as_str).collect::<Vec<_>>()), [sql]);
        }
        let mut held = Lines::default();
        for open in ["select 'a;", "select \"a;", "select /* a;", "select $x$ a;"] {
            assert!(held.push(open).is_empty() && !held.is_empty(), "{open}");
            held.clear();
        }
    }

    #[test]
    fn a_backslash_is_a_command_only_where_no_question_has_begun() {
        let mut held = Lines::default();
        assert_eq!(held.push("  \\d invoice_lines "), [Input::Command("\\d invoice_lines".to_owned())]);
        assert!(held.push("select").is_empty());
        assert!(held.push("\\q").is_empty(), "it belongs to the question");
    }
}
