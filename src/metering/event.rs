//! The envelope of a usage event: CloudEvents 1.0 in JSON.

use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::canonical::{write_canonical, write_text};
use crate::fact::Fact;
use crate::fields::{Fields, Misfit};

/// SHA-256 of an event's canonical type, subject, time and data.
pub(crate) type ContentHash = [u8; 32];

/// A usage event that fits its type; it borrows from the batch.
#[derive(Debug, Clone)]
pub(crate) struct Event<'a> {
    pub(crate) source: &'a str,
    pub(crate) id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) subject: Option<&'a str>,
    pub(crate) occurred_at: Timestamp,
    pub(crate) content_hash: ContentHash,
    /// The canonical text of the data.
    pub(crate) data: String,
    pub(crate) fact: Fact<'a>,
}

impl<'a> Event<'a> {
    /// Reads an envelope and its data.
    pub(crate) fn read(value: &'a Value, source_allowed: Option<&str>) -> Result<Self, Misfit> {
        let envelope = Fields::of(value, "", "")?;
        envelope.one_of("specversion", &["1.0"])?;
        let source = envelope.name("source")?;
        if source_allowed.is_some_and(|allowed| allowed != source) {
            return Err(envelope.misfit("source", "is not the source that this key may speak for"));
        }
        let id = envelope.name("id")?;
        let event_type = envelope.name("type")?;
        let subject = envelope.optional_name("subject")?;
        let occurred_at = envelope.instant("time")?;
        let value = envelope.required("data")?;
        let fact = Fact::read(event_type, value)?;
        let mut data = String::with_capacity(512);
        write_canonical(value, &mut data);
        let content_hash = content_hash(event_type, subject, occurred_at, &data);
        Ok(Self { source, id, event_type, subject, occurred_at, content_hash, data, fact })
    }
}

impl Event<'_> {
    /// Returns what it is known by for ever.
    pub(crate) const fn name(&self) -> (&str, &str) {
        (self.source, self.id)
    }

    /// Whether it says something of another event.
    pub(crate) const fn is_correction(&self) -> bool {
        matches!(self.fact, Fact::Voided { .. } | Fact::Amended(_))
    }
}

/// Hashes what an event says, and not how it was written down.
pub(crate) fn content_hash(event_type: &str, subject: Option<&str>, time: Timestamp, data: &str) -> ContentHash {
    let mut rest = String::with_capacity(128);
    rest.push_str(",\"subject\":");
    match subject {
        Some(subject) => write_text(subject, &mut rest),
        None => rest.push_str("null"),
    }
    rest.push_str(",\"time\":");
    write_text(&time.to_string(), &mut rest);
    rest.push_str(",\"type\":");
    write_text(event_type, &mut rest);
    rest.push('}');
    Sha256::new().chain_update("{\"data\":").chain_update(data).chain_update(rest).finalize().into()
}

/// Hashes an event that does not fit, so that it is quarantined once.
pub(crate) fn hash_of_misfit(canonical: &str) -> ContentHash {
    Sha256::digest(canonical).into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(data: Value) -> Value {
        json!({"specversion": "1.0", "id": "1", "source": "cp", "type": "heartbeat.summary", "time": "2025-10-01T02:00:00+02:00", "data": data})
    }

    #[test]
    fn the_same_content_has_the_same_hash_however_it_is_written() {
        let one = event(json!({"day": "2025-10-01", "received": 96, "expected": 96, "last_at": "2025-10-01T23:59:00Z"}));
        let text = one.to_string().replace("02:00:00+02:00", "00:00:00Z").replace("96", "96.0").replace("96.0", "96");
        let two: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(Event::read(&one, None).unwrap().content_hash, Event::read(&two, None).unwrap().content_hash);
        let fraction = event(json!({"day": "2025-10-01", "received": 96.0, "expected": 9.6e1, "last_at": "2025-10-01T23:59:00Z"}));
        assert_eq!(Event::read(&one, None).unwrap().content_hash, Event::read(&fraction, None).unwrap().content_hash);
        let half = event(json!({"day": "2025-10-01", "received": 95.5, "expected": 96, "last_at": "2025-10-01T23:59:00Z"}));
        assert_eq!(Event::read(&half, None).unwrap_err().pointer, "/data/received");
        let other = event(json!({"day": "2025-10-01", "received": 95, "expected": 96, "last_at": "2025-10-01T23:59:00Z"}));
        assert_ne!(Event::read(&one, None).unwrap().content_hash, Event::read(&other, None).unwrap().content_hash);
    }

    #[test]
    fn what_does_not_fit_is_named_by_a_pointer() {
        let pointer = |value: &Value| Event::read(value, Some("cp")).unwrap_err().pointer;
        assert_eq!(pointer(&json!(1)), "");
        assert_eq!(pointer(&json!({"specversion": "0.3"})), "/specversion");
        assert_eq!(pointer(&event(json!({"day": "2025-10-32"}))), "/data/day");
        assert_eq!(pointer(&event(json!({"day": "2025-10-01", "received": -1}))), "/data/received");
        let mut foreign = event(json!({}));
        foreign["source"] = json!("other");
        assert_eq!(pointer(&foreign), "/source");
        let disk = json!({"index": 0, "size_bytes": 1, "transferred_bytes": 1.5, "state": "completed"});
        let mut run = event(json!({
            "run_id": "r", "machine": {"source_system": "v", "vendor_id": "m"}, "kind": "full", "attempt": 1,
            "started_at": "2025-10-01T00:00:00Z", "ended_at": "2025-10-01T01:00:00Z", "disks": [disk],
        }));
        run["type"] = json!("backup.completed");
        assert_eq!(pointer(&run), "/data/disks/0/transferred_bytes");
        run["data"]["disks"] = json!([]);
        run["data"]["machine"]["vendor_id"] = json!("");
        assert_eq!(pointer(&run), "/data/machine/vendor_id");
        run["type"] = json!("backup.vanished");
        assert_eq!(pointer(&run), "/type");
    }
}
