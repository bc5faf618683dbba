//! What went wrong, in the words and codes of Postgres' protocol.

use granary_access::AccessError;
use granary_types::{Classify, ErrorKind};
use granary_warehouse::WarehouseError;
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::ErrorResponse;

use crate::DoorError;

/// As much as a client is told.
const LONGEST: usize = 2_000;

/// An error as a client is told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// The letter of the statement at which it was noticed, from one.
    pub(super) position: Option<usize>,
    /// Whether the connection ends with it.
    pub(super) is_fatal: bool,
}

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, position: None, is_fatal: false }
    }

    pub(super) fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_fatal: true, ..Self::new(code, message) }
    }

    #[must_use]
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Somebody broke the protocol.
    pub(super) fn protocol(message: impl Into<String>) -> Self {
        Self::fatal("08P01", message)
    }

    pub(super) fn cancelled() -> Self {
        Self::new("57014", "canceling statement due to user request")
    }

    pub(super) fn timed_out() -> Self {
        Self::new("57014", "canceling statement due to statement timeout")
    }

    pub(super) fn read_only() -> Self {
        Self::new("25006", "the warehouse is read-only: write a select")
    }

    pub(super) fn message(&self) -> PgWireBackendMessage {
        let severity = if self.is_fatal { "FATAL" } else { "ERROR" };
        // A zero would end the text within the message.
        let text = |text: &str| text.chars().filter(|letter| *letter != '\0').take(LONGEST).collect::<String>();
        let mut fields =
            vec![(b'S', severity.to_owned()), (b'V', severity.to_owned()), (b'C', self.code.to_owned()), (b'M', text(&self.message))];
        fields.extend(self.hint.as_ref().map(|hint| (b'H', text(hint))));
        fields.extend(self.position.map(|position| (b'P', position.to_string())));
        PgWireBackendMessage::ErrorResponse(ErrorResponse::new(fields))
    }

    /// Finds where in the statement the engine's "at Line: 1, Column: 8" is.
    #[must_use]
    pub(super) fn placed(mut self, sql: &str) -> Self {
        let Some((_, place)) = self.message.rsplit_once("at Line: ") else {
            // What ends too early is wrong behind its last letter.
            if self.message.ends_with("found: EOF") {
                self.position = Some(sql.chars().count() + 1);
            }
            return self;
        };
        let mut numbers = place.split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse::<usize>().ok());
        if let (Some(line), Some(column)) = (numbers.next(), numbers.next()) {
            let before: usize = sql.lines().take(line.saturating_sub(1)).map(|line| line.chars().count() + 1).sum();
            self.position = Some(before + column);
        }
        self
    }
}

/// What the engine says, by the codes that Postgres has for it.
fn code_of(message: &str) -> &'static str {
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if says(&["the warehouse is read-only"]) {
        "25006"
    } else if message.starts_with("the statement ") || message.starts_with("the query has more than ") {
        "54001"
    } else if says(&["Expected: ", "Unterminated", "sql parser error", "there is no query", "one statement at a time", "Expected an SQL"]) {
        "42601"
    } else if message.starts_with("table ") && says(&["not found"]) {
        "42P01"
    } else if says(&["No field named", "not found in "]) {
        "42703"
    } else if says(&["Ambiguous reference"]) {
        "42702"
    } else if says(&["Invalid function", "No function matches", "Failed to coerce arguments", "does not support zero arguments"]) {
        "42883"
    } else if says(&["ivide by zero"]) {
        "22012"
    } else if says(&["Cast error", "Cannot cast", "Parser error", "Error parsing"]) {
        "22P02"
    } else if says(&["verflow"]) {
        "22003"
    } else if says(&["laceholder", "parameter"]) {
        "42P18"
    } else if says(&["not supported", "nsupported", "not implemented"]) {
        "0A000"
    } else {
        "42000"
    }
}

impl From<WarehouseError> for Fault {
    fn from(error: WarehouseError) -> Self {
        let text = error.to_string();
        match &error {
            WarehouseError::Query(_) => Self::new(code_of(&text), text),
            WarehouseError::Budget { budget, .. } => match *budget {
                "time" => Self::new("57014", text).hint("ask for fewer months or customers, or ask a model instead of raw rows"),
                "memory" | "spill" => Self::new("53200", text).hint("group or filter earlier, so that less is held at once"),
                _ => Self::new("54000", text).hint("add a filter on month or customer_code, or a limit"),
            },
            WarehouseError::Busy(_) => Self::new("53400", text),
            WarehouseError::Abandoned => Self::new("34000", text),
            other if matches!(other.kind(), ErrorKind::NotFound | ErrorKind::Invalid | ErrorKind::Conflict) => Self::new("22023", text),
            other => Self::hidden(other),
        }
    }
}

impl From<AccessError> for Fault {
    fn from(error: AccessError) -> Self {
        match &error {
            AccessError::Denied(_) => Self::new("42501", error.to_string()),
            AccessError::KeyRefused(_) => Self::fatal("57P01", "terminating connection: the API key is not valid any more"),
            other => Self::hidden(other),
        }
    }
}

impl From<DoorError> for Fault {
    fn from(error: DoorError) -> Self {
        match error {
            DoorError::Access(error) => error.into(),
            DoorError::Warehouse(error) => error.into(),
            other => Self::hidden(&other),
        }
    }
}

impl Fault {
    /// What is our own fault is told to the log alone.
    fn hidden(error: &impl Classify) -> Self {
        tracing::error!(error = %error, code = error.code(), "a statement at the Postgres door failed");
        match error.kind() {
            ErrorKind::Unavailable => Self::new("57P03", "the warehouse does not answer now; try again in a moment"),
            _ => Self::new("XX000", "something went wrong in the warehouse; its log says more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_an_error_is_a_letter_of_the_statement() {
        let fault = Fault::new("42601", "Expected: an expression, found: frm at Line: 2, Column: 3").placed("select ü,\n  frm");
        assert_eq!(fault.position, Some(13));
        assert_eq!(Fault::new("42601", "Expected: an expression, found: EOF").placed("select ü +").position, Some(11));
        assert_eq!(Fault::new("42601", "something else").placed("select").position, None);
    }

    #[test]
    fn the_engines_words_have_the_codes_of_postgres() {
        for (words, code) in [
            ("table 'north.warehouse.nosuch' not found", "42P01"),
            ("No field named nosuch. Valid fields are a.", "42703"),
            ("the warehouse is read-only: write a select", "25006"),
            ("Invalid function 'nosuch'.", "42883"),
            ("the statement chains more than 400 operators, joins and selects; say it in fewer", "54001"),
            ("Arrow error: Divide by zero error", "22012"),
            ("Arrow error: Cast error: Cannot cast string 'x' to value of Int64 type", "22P02"),
        ] {
            assert_eq!(code_of(words), code, "{words}");
        }
    }
}
