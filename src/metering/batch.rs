//! A delivery of usage events, as it was sent.

use std::collections::HashMap;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::MeteringError;
use crate::event::Event;

/// The most events that one batch may hold.
pub const MAX_BATCH_EVENTS: usize = 20_000;

/// How a delivery is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchForm {
    /// An event, or an array of events.
    Json,
    /// One event (`application/cloudevents+json`).
    Single,
    /// An array of events (`application/cloudevents-batch+json`).
    Array,
    /// An event a line; blank lines are none.
    Lines,
}

/// Events that were sent together, read as JSON.
#[derive(Debug)]
pub struct Batch {
    pub(crate) values: Vec<Value>,
    /// By position, why a line is not JSON.
    pub(crate) unreadable: HashMap<usize, String>,
    /// Whether any text may hold what Postgres cannot.
    pub(crate) may_hold_nul: bool,
}

impl Batch {
    /// Reads a delivery. A line that is not JSON is one bad event of its batch, and so is an element of an array that is JSON and
    /// cannot be read: nested too deeply, or with half a character or a number that is too large in it.
    ///
    /// # Errors
    /// When the body is not JSON, is not what its form says, or holds too many events.
    pub fn read(form: BatchForm, body: &[u8]) -> Result<Self, MeteringError> {
        let mut unreadable = HashMap::new();
        let values = if form == BatchForm::Lines { read_lines(body, &mut unreadable)? } else { read_json(form, body, &mut unreadable)? };
        if values.len() > MAX_BATCH_EVENTS {
            return Err(MeteringError::BatchTooLarge { count: values.len(), limit: MAX_BATCH_EVENTS });
        }
        let may_hold_nul = body.windows(6).any(|window| window == b"\\u0000");
        Ok(Self { values, unreadable, may_hold_nul })
    }

    /// Returns how many events there are, good and bad.
    pub const fn len(&self) -> usize {
        self.values.len()
    }

    /// Tells whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

fn read_json(form: BatchForm, body: &[u8], unreadable: &mut HashMap<usize, String>) -> Result<Vec<Value>, MeteringError> {
    let read: Value = match serde_json::from_slice(body) {
        Ok(read) => read,
        Err(error) => match elements(body) {
            Some(elements) if form != BatchForm::Single => return read_each(elements.into_iter(), unreadable),
            _ => return Err(MeteringError::NotJson(error.to_string())),
        },
    };
    match (form, read) {
        (BatchForm::Json | BatchForm::Array, Value::Array(values)) => Ok(values),
        (BatchForm::Json | BatchForm::Single, body @ Value::Object(_)) => Ok(vec![body]),
        _ => Err(MeteringError::NotEvents),
    }
}

fn read_lines(body: &[u8], unreadable: &mut HashMap<usize, String>) -> Result<Vec<Value>, MeteringError> {
    read_each(body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()), unreadable)
}

fn read_each<'b>(pieces: impl Iterator<Item = &'b [u8]>, unreadable: &mut HashMap<usize, String>) -> Result<Vec<Value>, MeteringError> {
    let mut values = Vec::new();
    for piece in pieces {
        if values.len() == MAX_BATCH_EVENTS {
            return Err(MeteringError::BatchTooLarge { count: MAX_BATCH_EVENTS + 1, limit: MAX_BATCH_EVENTS });
        }
        values.push(serde_json::from_slice(piece).unwrap_or_else(|error| {
            unreadable.insert(values.len(), format!("is not JSON: {error}"));
            Value::Null
        }));
    }
    Ok(values)
}

/// Returns the elements of an array that is JSON; none of anything else. Raw values read the grammar alone: neither depth nor halves of
/// characters nor large numbers stop them.
fn elements(body: &[u8]) -> Option<Vec<&[u8]>> {
    let elements: Vec<&RawValue> = serde_json::from_slice(body).ok()?;
    Some(elements.into_iter().map(|element| element.get().as_bytes()).collect())
}

/// Says what in an event does not fit (a JSON pointer into it) and what about it; nothing when it fits its type.
pub fn misfit_of(event: &Value) -> Option<(String, String)> {
    Event::read(event, None).err().map(|misfit| (misfit.pointer, misfit.message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_that_cannot_be_read_costs_no_other() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        let body = format!(r#" [{{"a": "],[\"{{"}}, {{"a": {deep}}}, {{"a": "\ud800"}}, {{"a": 1e999}}, [1, 2], {{"b": 1}} ] "#);
        let batch = Batch::read(BatchForm::Json, body.as_bytes()).unwrap();
        assert_eq!(batch.len(), 6);
        assert_eq!(batch.values[0]["a"], "],[\"{");
        assert_eq!(batch.values[5]["b"], 1);
        let mut unreadable: Vec<_> = batch.unreadable.keys().copied().collect();
        unreadable.sort_unstable();
        assert_eq!(unreadable, [1, 2, 3]);
        // What is no JSON says nothing of where its events begin and end.
        for broken in ["[{\"a\": }, {}]", "[{}, {}", "[{},]", ""] {
            assert!(Batch::read(BatchForm::Array, broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Batch::read(BatchForm::Single, body.as_bytes()).is_err());
    }
}
