//! The certificate of an erasure: what was destroyed, what was kept, and when the last backup forgets; signed by the MSP.

use granary_vault::Signature;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a certificate is, for whoever finds the file.
pub(super) const KIND: &str = "granary erasure certificate 1";

/// A signed statement. The signature covers its canonical text: JSON without spaces, the keys of every object in order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Certificate {
    pub statement: Value,
    /// Ed25519, in hexadecimal digits.
    pub public_key: String,
    pub signature: String,
}

/// Why a certificate proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    #[error("it is not a certificate of an erasure")]
    NotOne,
    #[error("its key or its signature is not hexadecimal")]
    Unreadable,
    #[error("the signature does not cover what it says: it was changed, or never signed with this key")]
    Forged,
}

impl Certificate {
    pub(super) fn new(statement: Value, signature: &Signature) -> Self {
        Self { statement, public_key: hex::encode(&signature.public_key), signature: hex::encode(&signature.bytes) }
    }

    /// Returns what is signed.
    pub(super) fn message(statement: &Value) -> Vec<u8> {
        let mut text = String::new();
        write(statement, &mut text);
        text.into_bytes()
    }

    /// Checks the signature; whose key it is, the reader must know.
    ///
    /// # Errors
    /// When it does not prove what it says.
    pub fn check(&self) -> Result<(), CertificateFault> {
        if self.statement.get("kind").and_then(Value::as_str) != Some(KIND) {
            return Err(CertificateFault::NotOne);
        }
        let decode = |digits: &str| hex::decode(digits).map_err(|_| CertificateFault::Unreadable);
        let signature = Signature { public_key: decode(&self.public_key)?, bytes: decode(&self.signature)? };
        if signature.covers(&Self::message(&self.statement)) { Ok(()) } else { Err(CertificateFault::Forged) }
    }
}

/// Writes a value in the one way that is signed.
fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut names: Vec<&String> = fields.keys().collect();
            names.sort();
            text.push('{');
            for (index, name) in names.into_iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                write(&fields[name], text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index == 0 { "" } else { "," });
                write(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter_and_a_change_does() {
        let one: Value = serde_json::from_str(r#"{"b": [1, {"y": "ü\"", "x": null}], "a": true}"#).unwrap();
        let other: Value = serde_json::from_str(r#"{"a": true, "b": [1, {"x": null, "y": "ü\""}]}"#).unwrap();
        assert_eq!(Certificate::message(&one), Certificate::message(&other));
        assert_ne!(Certificate::message(&one), Certificate::message(&json!({"a": false})));
        let fake = Certificate { statement: json!({"kind": KIND}), public_key: "00".repeat(32), signature: "00".repeat(64) };
        assert_eq!(fake.check(), Err(CertificateFault::Forged));
        let other = Certificate { statement: json!({}), ..fake };
        assert_eq!(other.check(), Err(CertificateFault::NotOne));
    }
}
