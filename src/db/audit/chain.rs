//! What a digest covers. Pure: the same record has the same digest for ever.

use std::fmt;

use granary_types::CustomerId;
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;
use zeroize::Zeroizing;

/// What the first record of a chain follows, with the digest of what was there before the chain.
const GENESIS: &[u8] = b"granary audit chain 1";

/// The key of one chain; it never prints and is wiped when dropped.
#[derive(Clone)]
pub struct AuditKey(Zeroizing<[u8; 32]>);

/// A record as it stands in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRecord {
    pub sequence: i64,
    pub customer: Option<CustomerId>,
    pub actor: String,
    pub action: String,
    pub happened_at: Timestamp,
    /// The digest of subject, detail and reason, which an erasure may take out.
    pub words_digest: Vec<u8>,
    pub previous_digest: Vec<u8>,
}

/// What a checkpoint says: that a chain had so many records at an instant, and how the last one ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointClaim {
    pub chain: Uuid,
    pub number: i64,
    pub sequence: i64,
    pub digest: Vec<u8>,
    pub made_at: Timestamp,
}

impl AuditKey {
    /// Takes the bytes of a key.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Returns the digest that a record ends with.
    pub fn digest(&self, record: &AuditRecord) -> Vec<u8> {
        let mut mac = self.mac();
        mac.update(&record.sequence.to_be_bytes());
        mac.update(record.customer.map_or(Uuid::nil(), CustomerId::uuid).as_bytes());
        mac.update(&record.happened_at.as_microsecond().to_be_bytes());
        for part in [record.actor.as_bytes(), record.action.as_bytes(), &record.words_digest, &record.previous_digest] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac.finalize().into_bytes().to_vec()
    }

    /// Returns what the first record follows: how many entries were there before the chain, and their digest.
    pub fn genesis(&self, older: i64, older_digest: Option<&[u8]>) -> Vec<u8> {
        let mut mac = self.mac();
        mac.update(GENESIS);
        mac.update(&older.to_be_bytes());
        mac.update(older_digest.unwrap_or_default());
        mac.finalize().into_bytes().to_vec()
    }

    #[expect(clippy::expect_used, reason = "HMAC takes keys of every length")]
    fn mac(&self) -> Hmac<Sha256> {
        <Hmac<Sha256> as Mac>::new_from_slice(self.0.as_slice()).expect("HMAC takes keys of every length")
    }
}

impl fmt::Debug for AuditKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuditKey(…)")
    }
}

impl CheckpointClaim {
    /// Returns the text that is signed.
    pub fn message(&self) -> Vec<u8> {
        let Self { chain, number, sequence, digest, made_at } = self;
        let (digest, made_us) = (hex::encode(digest), made_at.as_microsecond());
        format!("granary audit checkpoint 1\n{chain}\n{number}\n{sequence}\n{digest}\n{made_us}").into_bytes()
    }
}

/// Returns the digest of a record's words. Nobody who lacks the salt can try words out against it.
pub fn words_digest(salt: &[u8], subject: &str, detail: &Value, reason: Option<&str>) -> Vec<u8> {
    let mut hash = Sha256::new_with_prefix(salt);
    let mut written = String::new();
    write_canonical(detail, &mut written);
    for part in [Some(subject), Some(written.as_str()), reason] {
        match part {
            Some(part) => {
                hash.update((part.len() as u64 + 1).to_be_bytes());
                hash.update(part);
            }
            None => hash.update(0_u64.to_be_bytes()),
        }
    }
    hash.finalize().to_vec()
}

/// Writes JSON as it is the same before Postgres has it and after: names in order, whole numbers without a fraction.
fn write_canonical(value: &Value, to: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort_unstable();
            to.push('{');
            for name in names {
                to.push_str(&Value::String(name.clone()).to_string());
                to.push(':');
                write_canonical(&fields[name], to);
                to.push(',');
            }
            to.push('}');
        }
        Value::Array(values) => {
            to.push('[');
            for value in values {
                write_canonical(value, to);
                to.push(',');
            }
            to.push(']');
        }
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => to.push_str(&whole.to_string()),
            (None, Some(float)) if float.fract() == 0.0 && float.abs() < 9e18 => to.push_str(&(float as i64).to_string()),
            (None, Some(float)) => to.push_str(&format!("{float:e}")),
            (None, None) => to.push_str(&number.to_string()),
        },
        Value::Null | Value::Bool(_) | Value::String(_) => to.push_str(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn record() -> AuditRecord {
        AuditRecord {
            sequence: 7,
            customer: None,
            actor: "user:ada".to_owned(),
            action: "customer.suspend".to_owned(),
            happened_at: Timestamp::from_microsecond(1_760_000_000_000_001).unwrap(),
            words_digest: vec![1; 32],
            previous_digest: vec![2; 32],
        }
    }

    #[test]
    fn every_part_of_a_record_is_covered() {
        let key = AuditKey::new([9; 32]);
        let digest = key.digest(&record());
        let others = [
            AuditRecord { sequence: 8, ..record() },
            AuditRecord { customer: Some(CustomerId::new()), ..record() },
            AuditRecord { actor: "user:ad".to_owned(), action: "acustomer.suspend".to_owned(), ..record() },
            AuditRecord { happened_at: Timestamp::from_microsecond(1_760_000_000_000_002).unwrap(), ..record() },
            AuditRecord { words_digest: vec![3; 32], ..record() },
            AuditRecord { previous_digest: vec![3; 32], ..record() },
        ];
        for other in &others {
            assert_ne!(key.digest(other), digest, "{other:?}");
        }
        assert_ne!(AuditKey::new([8; 32]).digest(&record()), digest);
        assert_eq!(key.digest(&record()), digest);
        assert_ne!(key.genesis(0, None), key.genesis(1, None));
        assert_eq!(format!("{key:?}"), "AuditKey(…)");
    }

    #[test]
    fn words_are_the_same_in_any_order_of_names_and_differ_with_the_salt() {
        let here = words_digest(b"salt", "customer:ACME", &json!({"b": [1, 2.5, 1e16], "a": {"y": null, "x": "é\n"}}), Some("why"));
        let there: Value = serde_json::from_str("{\"a\": {\"x\": \"é\\n\", \"y\": null}, \"b\": [1, 2.50, 1.0e16]}").unwrap();
        assert_eq!(here, words_digest(b"salt", "customer:ACME", &there, Some("why")));
        assert_ne!(here, words_digest(b"tlas", "customer:ACME", &there, Some("why")));
        assert_ne!(here, words_digest(b"salt", "customer:ACME", &there, None));
        assert_ne!(words_digest(b"", "a", &json!({}), None), words_digest(b"", "a", &json!({}), Some("")));
    }

    #[test]
    fn a_large_number_has_one_form_whether_postgres_wrote_it_out_or_not() {
        let forms = ["10000000000000000", "1e16", "1.0e16"].map(|text| {
            let mut to = String::new();
            write_canonical(&serde_json::from_str(text).unwrap(), &mut to);
            to
        });
        assert!(forms.iter().all(|form| form == "10000000000000000"), "{forms:?}");
    }
}
