//! A delivery of usage events, as it was sent.

use std::collections::HashMap;

use serde_json::Value;

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
    /// Reads a delivery. A line that is not JSON is one bad event of its batch.
    ///
    /// # Errors
    /// When the body is not JSON, is not what its form says, or holds too many events.
    pub fn read(form: BatchForm, body: &[u8]) -> Result<Self, MeteringError> {
        let mut unreadable = HashMap::new();
        let values = if form == BatchForm::Lines { read_lines(body, &mut unreadable)? } else { read_json(form, body)? };
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

fn read_json(form: BatchForm, body: &[u8]) -> Result<Vec<Value>, MeteringError> {
    let body: Value = serde_json::from_slice(body).map_err(|error| MeteringError::NotJson(error.to_string()))?;
    match (form, body) {
        (BatchForm::Json | BatchForm::Array, Value::Array(values)) => Ok(values),
        (BatchForm::Json | BatchForm::Single, body @ Value::Object(_)) => Ok(vec![body]),
        _ => Err(MeteringError::NotEvents),
    }
}

fn read_lines(body: &[u8], unreadable: &mut HashMap<usize, String>) -> Result<Vec<Value>, MeteringError> {
    let mut values = Vec::new();
    for line in body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
        if values.len() == MAX_BATCH_EVENTS {
            return Err(MeteringError::BatchTooLarge { count: MAX_BATCH_EVENTS + 1, limit: MAX_BATCH_EVENTS });
        }
        values.push(serde_json::from_slice(line).unwrap_or_else(|error| {
            unreadable.insert(values.len(), format!("is not JSON: {error}"));
            Value::Null
        }));
    }
    Ok(values)
}

/// Says what in an event does not fit (a JSON pointer into it) and what about it; nothing when it fits its type.
pub fn misfit_of(event: &Value) -> Option<(String, String)> {
    Event::read(event, None).err().map(|misfit| (misfit.pointer, misfit.message))
}
