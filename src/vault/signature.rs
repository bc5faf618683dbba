//! Ed25519: whoever has the public key can see who signed, and that nothing was changed.

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::VaultError;

/// A signature and the key that checks it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    pub public_key: Vec<u8>,
    pub bytes: Vec<u8>,
}

impl Signature {
    pub(crate) fn make(seed: &[u8; 32], message: &[u8]) -> Result<Self, VaultError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| VaultError::Cipher("the key does not sign"))?;
        Ok(Self { public_key: pair.public_key().as_ref().to_vec(), bytes: pair.sign(message).as_ref().to_vec() })
    }

    /// Tells whether the key's owner signed exactly this message.
    pub fn covers(&self, message: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public_key).verify(message, &self.bytes).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_covers_its_message_and_no_other() {
        let signature = Signature::make(&[7; 32], b"gone").unwrap();
        assert!(signature.covers(b"gone") && !signature.covers(b"gonf"));
        let other = Signature { public_key: Signature::make(&[8; 32], b"gone").unwrap().public_key, ..signature };
        assert!(!other.covers(b"gone"));
    }
}
