//! Takes usage events, each once for ever.

use granary_foundation::Boxed;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use granary_tenants::TenantTx;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use serde_json::Value;

use crate::batch::{Batch, BatchForm};
use crate::canonical::write_canonical;
use crate::counting::{Corrected, count};
use crate::error::MeteringError;
use crate::event::{Event, hash_of_misfit};
use crate::fields::{Misfit, without_nul};
use crate::store;
use crate::store::events::Refused;

/// The version of a silo from which on it takes every type of event.
const SCHEMA: i32 = 8;

/// What became of one event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It was new, and counts.
    Accepted,
    /// The same event, with the same content, was here before; it counted then.
    Duplicate,
    /// Another event with the same source and id was here before; this one lies in quarantine.
    Conflict,
    /// It does not fit: what in it (a JSON pointer into the event), and what about it.
    Invalid { pointer: String, message: String },
}

impl Outcome {
    /// Returns its word and the status that the event alone would be answered with.
    pub const fn word_and_status(&self) -> (&'static str, u16) {
        match self {
            Self::Accepted => ("accepted", 201),
            Self::Duplicate => ("duplicate", 200),
            Self::Conflict => ("conflict", 409),
            Self::Invalid { .. } => ("invalid", 422),
        }
    }
}

impl Serialize for Outcome {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (word, status) = self.word_and_status();
        let mut out = serializer.serialize_struct("Outcome", 4)?;
        out.serialize_field("outcome", word)?;
        out.serialize_field("status", &status)?;
        if let Self::Invalid { pointer, message } = self {
            out.serialize_field("pointer", pointer)?;
            out.serialize_field("message", message)?;
        }
        out.end()
    }
}

/// What became of a batch, event by event, in the batch's order.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct IngestReport {
    pub outcomes: Vec<Outcome>,
    pub accepted: usize,
    pub duplicates: usize,
    pub conflicts: usize,
    pub invalid: usize,
}

impl IngestReport {
    fn of(outcomes: Vec<Outcome>) -> Self {
        let mut report = Self::default();
        for outcome in &outcomes {
            match outcome {
                Outcome::Accepted => report.accepted += 1,
                Outcome::Duplicate => report.duplicates += 1,
                Outcome::Conflict => report.conflicts += 1,
                Outcome::Invalid { .. } => report.invalid += 1,
            }
        }
        report.outcomes = outcomes;
        report
    }
}

/// Takes a batch of usage events (a JSON array, or a single event) into the caller's transaction; see [`ingest_batch`].
///
/// # Errors
/// When the body is not JSON, neither an event nor an array, or too large; or when Postgres refuses.
pub fn ingest<'a>(tx: &'a TenantTx, source_allowed: Option<&'a str>, batch: &'a [u8]) -> Boxed<'a, Result<IngestReport, MeteringError>> {
    Box::pin(async move { ingest_batch(tx, source_allowed, &Batch::read(BatchForm::Json, batch)?).await })
}

/// Takes a batch of usage events into the caller's transaction: the log, the typed rows and the quarantine change together or
/// not at all.
///
/// An event is known for ever by (source, id): the same content again counts once, other content goes to quarantine. The
/// rows that come out do not depend on the order, the repetition or the batches in which events come. A source that the
/// caller's key may not speak for makes an event invalid. One transaction at a time ingests for a tenant.
///
/// # Errors
/// When Postgres refuses. A bad event is an [`Outcome`], never an error.
pub fn ingest_batch<'a>(
    tx: &'a TenantTx,
    source_allowed: Option<&'a str>,
    batch: &'a Batch,
) -> Boxed<'a, Result<IngestReport, MeteringError>> {
    Box::pin(async move {
        if tx.customer().schema_version < SCHEMA {
            return Err(MeteringError::SchemaBehind);
        }
        let values = batch.values.as_slice();
        let mut outcomes = vec![Outcome::Accepted; values.len()];
        let mut refused = Vec::new();
        let events = read_events(batch, source_allowed, &mut outcomes, &mut refused);
        let (fresh, corrected) = leave_out_repeats(tx, values, &events, &mut outcomes, &mut refused).await?;
        if !fresh.is_empty() {
            store::events::insert(tx, &fresh, tx.now()).await?;
            count(tx, &fresh, corrected).await?;
        }
        if !refused.is_empty() {
            store::events::insert_quarantined(tx, &refused, tx.now()).await?;
        }
        Ok(IngestReport::of(outcomes))
    })
}

/// Reads what fits; what does not becomes an invalid outcome, and is kept if it has a name.
fn read_events<'a>(
    batch: &'a Batch,
    source_allowed: Option<&str>,
    outcomes: &mut [Outcome],
    refused: &mut Vec<Refused>,
) -> Vec<(usize, Event<'a>)> {
    let mut events = Vec::with_capacity(batch.len());
    for (position, value) in batch.values.iter().enumerate() {
        if let Some(message) = batch.unreadable.get(&position) {
            outcomes[position] = Outcome::Invalid { pointer: String::new(), message: message.clone() };
            continue;
        }
        let checked = if batch.may_hold_nul { without_nul(value, &mut String::new()) } else { Ok(()) };
        match checked.and_then(|()| Event::read(value, source_allowed)) {
            Ok(event) => events.push((position, event)),
            Err(misfit) => {
                refused.extend(quarantined(value, source_allowed, &misfit));
                outcomes[position] = Outcome::Invalid { pointer: misfit.pointer, message: misfit.message };
            }
        }
    }
    events
}

/// Keeps an event that does not fit, if it says which one it is and may speak for its source.
fn quarantined(value: &Value, source_allowed: Option<&str>, misfit: &Misfit) -> Option<Refused> {
    let name = |member: &str| {
        let text = value.get(member)?.as_str()?;
        ((1..=200).contains(&text.len()) && !text.contains('\0')).then_some(text)
    };
    let (source, id) = (name("source")?, name("id")?);
    if source_allowed.is_some_and(|allowed| allowed != source) {
        return None;
    }
    let mut text = String::new();
    write_canonical(value, &mut text);
    let reason = format!("{} {}", misfit.pointer, misfit.message);
    Some(Refused { source: source.to_owned(), id: id.to_owned(), content_hash: hash_of_misfit(&text), reason, event: text })
}

/// Leaves out events that were here before, in this batch or in the log.
async fn leave_out_repeats<'e, 'a>(
    tx: &TenantTx,
    values: &[Value],
    events: &'e [(usize, Event<'a>)],
    outcomes: &mut [Outcome],
    refused: &mut Vec<Refused>,
) -> Result<(Vec<&'e Event<'a>>, Corrected), MeteringError> {
    let mut refuse = |position: usize, event: &Event<'_>| {
        let (source, id, content_hash) = (event.source.to_owned(), event.id.to_owned(), event.content_hash);
        let mut text = String::new();
        write_canonical(&values[position], &mut text);
        let reason = "another event with this source and id was accepted before".to_owned();
        refused.push(Refused { source, id, content_hash, reason, event: text });
        Outcome::Conflict
    };
    // The first of each name in the batch, and where it stands.
    let mut first: HashMap<(&str, &str), usize> = HashMap::with_capacity(events.len());
    let mut distinct: Vec<(i32, &Event<'a>)> = Vec::with_capacity(events.len());
    for (index, (_, event)) in events.iter().enumerate() {
        if let Entry::Vacant(entry) = first.entry((event.source, event.id)) {
            entry.insert(index);
            distinct.push((i32::try_from(index).unwrap_or(i32::MAX), event));
        }
    }
    if distinct.is_empty() {
        return Ok((Vec::new(), Corrected::Nothing));
    }
    store::events::lock(tx).await?;
    let known = store::events::get_known(tx, &distinct).await?;
    let mut fresh = Vec::with_capacity(distinct.len());
    for (index, (position, event)) in events.iter().enumerate() {
        let first = first.get(&(event.source, event.id)).copied().unwrap_or(index);
        let logged = i32::try_from(first).ok().and_then(|first| known.hashes.get(&first));
        if logged.is_none() && first == index {
            fresh.push(event);
        } else if event.content_hash == logged.map_or(&events[first].1.content_hash[..], Vec::as_slice) {
            outcomes[*position] = Outcome::Duplicate;
        } else {
            outcomes[*position] = refuse(*position, event);
        }
    }
    Ok((fresh, known.corrected))
}
