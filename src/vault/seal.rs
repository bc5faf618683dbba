//! AES-256-GCM with a random nonce in front: `nonce (12) ‖ ciphertext ‖ tag (16)`.
//!
//! A wrapping key seals one file key per file; at 2^32 files the random nonces of one key would run out, and no owner has
//! that many.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::VaultError;

const NONCE_BYTES: usize = 12;

/// Returns 32 bytes from the operating system.
pub(crate) fn random_key() -> Result<[u8; 32], VaultError> {
    let mut key = [0; 32];
    OsRng.try_fill_bytes(&mut key).map_err(|_| VaultError::Cipher("the operating system gives no random bytes"))?;
    Ok(key)
}

/// Seals `plain` so that it opens only under the same key and `aad`.
pub(crate) fn seal(key: &[u8; 32], plain: &[u8], aad: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut nonce = [0; NONCE_BYTES];
    OsRng.try_fill_bytes(&mut nonce).map_err(|_| VaultError::Cipher("the operating system gives no random bytes"))?;
    let cipher = Aes256Gcm::new(key.into());
    let sealed =
        cipher.encrypt(Nonce::from_slice(&nonce), Payload { msg: plain, aad }).map_err(|_| VaultError::Cipher("sealing failed"))?;
    Ok([nonce.as_slice(), &sealed].concat())
}

/// Opens what [`seal`] made; none when key, `aad` or a single bit differs.
pub(crate) fn open(key: &[u8; 32], sealed: &[u8], aad: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES)?;
    Aes256Gcm::new(key.into()).decrypt(Nonce::from_slice(nonce), Payload { msg: sealed, aad }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_opens_only_under_its_key_and_name() {
        let (key, other) = (random_key().unwrap(), random_key().unwrap());
        let sealed = seal(&key, b"secret", b"name").unwrap();
        assert_eq!(open(&key, &sealed, b"name").as_deref(), Some(b"secret".as_slice()));
        assert_eq!(open(&other, &sealed, b"name"), None);
        assert_eq!(open(&key, &sealed, b"another name"), None);
        assert_eq!(open(&key, &sealed[..5], b"name"), None);
        for bit in 0..sealed.len() * 8 {
            let mut broken = sealed.clone();
            broken[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, &broken, b"name"), None, "bit {bit}");
        }
    }
}
