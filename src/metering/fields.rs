//! Typed reading of an event's data, with a JSON pointer to what does not fit.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::{Map, Value};

use crate::canonical::write_canonical;

/// Why an event was not taken: what in it, and what about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    pub(crate) pointer: String,
    pub(crate) message: String,
}

/// The longest name or id: it must fit into an index.
const MAX_NAME_BYTES: usize = 200;
/// The longest free text that is kept.
const MAX_TEXT_BYTES: usize = 1_000;
/// The largest size in bytes: 8 PiB, exact in every JSON reader.
const MAX_BYTES: i64 = 1 << 53;

/// An object within an event, which knows where it stands.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fields<'a, 'p> {
    members: &'a Map<String, Value>,
    parent: &'p str,
    name: &'p str,
}

impl<'a, 'p> Fields<'a, 'p> {
    /// Reads a value as the object that stands at `/parent/name`.
    pub(crate) fn of(value: &'a Value, parent: &'p str, name: &'p str) -> Result<Self, Misfit> {
        let here = |message: &str| Misfit { pointer: join(parent, name), message: message.to_owned() };
        value.as_object().map(|members| Self { members, parent, name }).ok_or_else(|| here("must be an object"))
    }

    /// Makes the misfit of a member.
    pub(crate) fn misfit(&self, name: &str, message: impl Into<String>) -> Misfit {
        Misfit { pointer: join(&join(self.parent, self.name), name), message: message.into() }
    }

    /// Returns a member; null counts as absent.
    pub(crate) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Returns a member that must be there.
    pub(crate) fn required(&self, name: &str) -> Result<&'a Value, Misfit> {
        self.optional(name).ok_or_else(|| self.misfit(name, "is missing"))
    }

    fn str(&self, name: &str) -> Result<&'a str, Misfit> {
        self.required(name)?.as_str().ok_or_else(|| self.misfit(name, "must be a text"))
    }

    /// Returns a name or id: a text of 1 to 200 bytes.
    pub(crate) fn name(&self, name: &str) -> Result<&'a str, Misfit> {
        let text = self.str(name)?;
        if text.is_empty() || text.len() > MAX_NAME_BYTES {
            return Err(self.misfit(name, "must be a text of 1 to 200 bytes"));
        }
        Ok(text)
    }

    /// Returns a name that may be absent.
    pub(crate) fn optional_name(&self, name: &str) -> Result<Option<&'a str>, Misfit> {
        self.optional(name).map(|_| self.name(name)).transpose()
    }

    /// Returns a free text, cut at 1,000 bytes.
    pub(crate) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, Misfit> {
        let cut = |text: &'a str| &text[..text.floor_char_boundary(MAX_TEXT_BYTES)];
        self.optional(name).map(|_| self.str(name).map(cut)).transpose()
    }

    /// Returns a word of a closed set.
    pub(crate) fn word<T: FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<T, Misfit> {
        self.str(name)?.parse().map_err(|error: T::Err| self.misfit(name, error.to_string()))
    }

    /// Returns a word of a closed set that has no type of its own.
    pub(crate) fn one_of(&self, name: &str, choices: &[&'static str]) -> Result<&'static str, Misfit> {
        let text = self.str(name)?;
        let found = choices.iter().copied().find(|choice| *choice == text);
        found.ok_or_else(|| self.misfit(name, format!("must be one of {}", choices.join(", "))))
    }

    /// Returns an instant, to the microsecond, between the years 2000 and 2099.
    pub(crate) fn instant(&self, name: &str) -> Result<Timestamp, Misfit> {
        let parsed: Result<Timestamp, _> = self.str(name)?.parse();
        let at = parsed.map_err(|_| self.misfit(name, "must be an instant such as 2025-10-31T23:59:59Z"))?;
        if !(946_684_800..4_102_444_800).contains(&at.as_second()) {
            return Err(self.misfit(name, "must lie between the years 2000 and 2099"));
        }
        Timestamp::from_microsecond(at.as_microsecond()).map_err(|error| self.misfit(name, error.to_string()))
    }

    /// Returns an instant that may be absent.
    pub(crate) fn optional_instant(&self, name: &str) -> Result<Option<Timestamp>, Misfit> {
        self.optional(name).map(|_| self.instant(name)).transpose()
    }

    /// Returns a day between the years 2000 and 2099.
    pub(crate) fn day(&self, name: &str) -> Result<Date, Misfit> {
        let text = self.str(name)?;
        let day: Date =
            text.parse().ok().filter(|_| text.len() == 10).ok_or_else(|| self.misfit(name, "must be a day such as 2025-10-31"))?;
        if (2000..2100).contains(&day.year()) { Ok(day) } else { Err(self.misfit(name, "must lie between the years 2000 and 2099")) }
    }

    /// Returns a whole number from 0 to `most`.
    pub(crate) fn count(&self, name: &str, most: i32) -> Result<i32, Misfit> {
        let count = whole(self.required(name)?).and_then(|count| i32::try_from(count).ok());
        count
            .filter(|count| (0..=most).contains(count))
            .ok_or_else(|| self.misfit(name, format!("must be a whole number from 0 to {most}")))
    }

    /// Returns a count that may be absent.
    pub(crate) fn optional_count(&self, name: &str, most: i32) -> Result<Option<i32>, Misfit> {
        self.optional(name).map(|_| self.count(name, most)).transpose()
    }

    /// Returns a size in bytes.
    pub(crate) fn bytes(&self, name: &str) -> Result<i64, Misfit> {
        let size = whole(self.required(name)?);
        size.filter(|size| (0..=MAX_BYTES).contains(size))
            .ok_or_else(|| self.misfit(name, "must be a whole number of bytes from 0 to 2^53"))
    }

    /// Returns a size that may be absent.
    pub(crate) fn optional_bytes(&self, name: &str) -> Result<Option<i64>, Misfit> {
        self.optional(name).map(|_| self.bytes(name)).transpose()
    }

    /// Returns a truth value; absent is false.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Misfit> {
        let Some(value) = self.optional(name) else { return Ok(false) };
        value.as_bool().ok_or_else(|| self.misfit(name, "must be true or false"))
    }
}

/// Reads a whole number however it is written: `12`, `12.0` and `1.2e1` are one, as they are one in what is hashed.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| {
        let mut canonical = String::new();
        write_canonical(value.is_f64().then_some(value)?, &mut canonical);
        canonical.parse().ok()
    })
}

/// Refuses what Postgres cannot hold: the character U+0000, anywhere.
pub(crate) fn without_nul(value: &Value, pointer: &mut String) -> Result<(), Misfit> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
        Value::String(text) if text.as_bytes().contains(&0) => {
            Err(Misfit { pointer: pointer.clone(), message: "must not contain the character U+0000".to_owned() })
        }
        Value::String(_) => Ok(()),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(index, item)| within(item, &index.to_string(), pointer)),
        Value::Object(members) => members.iter().try_for_each(|(key, member)| within(member, key, pointer)),
    }
}

fn within(value: &Value, step: &str, pointer: &mut String) -> Result<(), Misfit> {
    let length = pointer.len();
    *pointer = join(pointer, step);
    if step.as_bytes().contains(&0) {
        return Err(Misfit { pointer: pointer.replace('\0', "\u{fffd}"), message: "must not contain the character U+0000".to_owned() });
    }
    without_nul(value, pointer)?;
    pointer.truncate(length);
    Ok(())
}

fn join(parent: &str, name: &str) -> String {
    if name.is_empty() { parent.to_owned() } else { format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1")) }
}

/// Tells whether every number occurs once.
pub(crate) fn are_distinct(numbers: impl Iterator<Item = i32>) -> bool {
    let mut seen = BTreeSet::new();
    numbers.into_iter().all(|number| seen.insert(number))
}
