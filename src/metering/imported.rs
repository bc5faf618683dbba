//! Usage events that an importer makes of rows: names that are the same in every import.

use jiff::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Writes an event.
pub(crate) fn envelope(id: &str, event_type: &str, at: Timestamp, source: &str, subject: &str, data: &Value) -> Value {
    json!({
        "specversion": "1.0", "id": id, "source": source, "type": event_type, "subject": subject, "time": at.to_string(), "data": data,
    })
}

/// Hashes names, each with its length, so that they do not run into one another.
pub(crate) fn id_of(names: &[&str]) -> String {
    let mut hasher = Sha256::new();
    for name in names {
        hasher.update((name.len() as u64).to_be_bytes());
        hasher.update(name);
    }
    hex::encode(&hasher.finalize()[..16])
}
