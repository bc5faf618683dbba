//! What leaves the house as a backup: sealed under a key of its own, which the master wraps. The master never goes along.
//!
//! Each object carries its envelope, so that a series of them outlives every change of the master; it opens only under the name it was
//! sealed for, so that objects cannot be exchanged.

use std::fmt;

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::master::{Bytes, MasterKey, Source, fingerprint};
use crate::{VaultError, seal};

/// What an object begins with; the length of its envelope follows.
const MAGIC: &[u8] = b"granary backup 1\n";
/// What the key of a backup is wrapped for.
const PURPOSE: &[u8] = b"granary backup key";
/// What keeps the key of a manifest's code from being the key of its objects.
const MANIFEST: &[u8] = b"granary backup manifest";

/// The key of a backup, as it lies beside what it seals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupEnvelope {
    /// The fingerprint of the master that wraps the key.
    pub master: String,
    /// Of a master behind a KMS: what the service opens to it, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    master_wrapped: Option<String>,
    wrapped: String,
}

/// The opened key of a backup; it never prints.
#[derive(Clone)]
pub struct BackupKey {
    key: Bytes,
    envelope: BackupEnvelope,
}

impl fmt::Debug for BackupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BackupKey(…)")
    }
}

impl MasterKey {
    /// Makes the key of a backup. `current` is what the database says of the master in force: its fingerprint, and what a KMS opens to
    /// it; none where no database has said so yet.
    ///
    /// # Errors
    /// When this process does not have that master.
    pub async fn new_backup_key(&self, current: Option<(String, Option<Vec<u8>>)>) -> Result<BackupKey, VaultError> {
        let (name, master_wrapped) = match current {
            Some(current) => current,
            None => (self.newest().ok_or_else(|| VaultError::UnknownMaster("of the installation".to_owned()))?.0, None),
        };
        let master = self.find_master(&name, master_wrapped.as_deref()).await?.ok_or_else(|| VaultError::UnknownMaster(name.clone()))?;
        let key = Zeroizing::new(seal::random_key()?);
        let wrapped = hex::encode(seal::seal(&master, key.as_slice(), PURPOSE)?);
        Ok(BackupKey { key, envelope: BackupEnvelope { master: name, master_wrapped: master_wrapped.map(hex::encode), wrapped } })
    }

    /// Opens the key of a backup.
    ///
    /// # Errors
    /// When this process does not have the master that wraps it, or the envelope was changed.
    pub async fn open_backup_key(&self, envelope: &BackupEnvelope) -> Result<BackupKey, VaultError> {
        let foreign = || VaultError::BackupMaster(envelope.master.clone());
        let changed = || VaultError::Cipher("the key beside it was changed");
        let master_wrapped = envelope.master_wrapped.as_ref().map(hex::decode).transpose().map_err(|_| changed())?;
        let master = self.find_master(&envelope.master, master_wrapped.as_deref()).await?.ok_or_else(foreign)?;
        let plain = hex::decode(&envelope.wrapped).ok().and_then(|wrapped| seal::open(&master, &wrapped, PURPOSE)).map(Zeroizing::new);
        let key = plain.and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok()).map(Zeroizing::new).ok_or_else(changed)?;
        Ok(BackupKey { key, envelope: envelope.clone() })
    }

    async fn find_master(&self, name: &str, wrapped: Option<&[u8]>) -> Result<Option<Bytes>, VaultError> {
        self.read_file_if_any()?;
        let (Source::Kms(kms), Some(wrapped), None) = (self.source(), wrapped, self.get(name)) else { return Ok(self.get(name)) };
        let key = kms.open(wrapped).await?;
        if fingerprint(&key)? != name {
            return Err(VaultError::Kms("it opened another key than the one that was wrapped".to_owned()));
        }
        self.hold(key)?;
        Ok(self.get(name))
    }
}

impl BackupKey {
    /// Returns the envelope, which may lie in the open.
    pub const fn envelope(&self) -> &BackupEnvelope {
        &self.envelope
    }

    /// Seals an object under its name.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let envelope = serde_json::to_vec(&self.envelope).map_err(|_| VaultError::Cipher("an envelope cannot be written"))?;
        let length = u32::try_from(envelope.len()).map_err(|_| VaultError::Cipher("an envelope is too long"))?;
        Ok([MAGIC, &length.to_be_bytes(), &envelope, &seal::seal(&self.key, plain, name.as_bytes())?].concat())
    }

    /// Opens what [`Self::seal`] made; none when name, key or a single bit differs.
    pub fn open(&self, name: &str, object: &[u8]) -> Option<Vec<u8>> {
        let (_, sealed) = split(object)?;
        seal::open(&self.key, sealed, name.as_bytes())
    }

    /// Returns a code over a manifest that only a holder of the key can make, in hexadecimal digits.
    ///
    /// # Errors
    /// Never for a key of this length.
    pub fn code(&self, manifest: &[u8]) -> Result<String, VaultError> {
        Ok(hex::encode(self.mac(manifest)?.finalize().into_bytes()))
    }

    /// Tells whether a manifest has that code.
    ///
    /// # Errors
    /// Never for a key of this length.
    pub fn covers(&self, manifest: &[u8], code: &str) -> Result<bool, VaultError> {
        let mac = self.mac(manifest)?;
        Ok(hex::decode(code).is_ok_and(|code| mac.verify_slice(&code).is_ok()))
    }

    fn mac(&self, manifest: &[u8]) -> Result<Hmac<Sha256>, VaultError> {
        let refused = |_| VaultError::Cipher("the digest takes no such key");
        let mut derived = <Hmac<Sha256> as Mac>::new_from_slice(self.key.as_slice()).map_err(refused)?;
        derived.update(MANIFEST);
        let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(&derived.finalize().into_bytes()).map_err(refused)?;
        mac.update(manifest);
        Ok(mac)
    }
}

/// Reads the envelope of an object; none when it is no object of a backup.
pub fn backup_envelope(object: &[u8]) -> Option<BackupEnvelope> {
    serde_json::from_slice(split(object)?.0).ok()
}

fn split(object: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = object.strip_prefix(MAGIC)?.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_object_opens_under_its_name_by_its_master_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, theirs] = ["ours", "theirs"].map(|name| MasterKey::load_or_create(&folder.path().join(name)).unwrap());
        let key = ours.new_backup_key(None).await.unwrap();
        let sealed = key.seal("a/part", b"rows").unwrap();
        let envelope = backup_envelope(&sealed).unwrap();
        let opened = ours.open_backup_key(&envelope).await.unwrap();
        assert_eq!(opened.open("a/part", &sealed).as_deref(), Some(b"rows".as_slice()));
        assert_eq!(opened.open("b/part", &sealed), None);
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            // Where the envelope cannot be read, or is another one, there is no key.
            let Some(found) = backup_envelope(&broken) else { continue };
            let Ok(key) = ours.open_backup_key(&found).await else { continue };
            assert_eq!(key.open("a/part", &broken), None, "byte {at}");
        }
        let refused = theirs.open_backup_key(&envelope).await.unwrap_err();
        assert!(matches!(&refused, VaultError::BackupMaster(name) if *name == envelope.master), "{refused}");
        let code = key.code(b"manifest").unwrap();
        assert!(opened.covers(b"manifest", &code).unwrap() && !opened.covers(b"manifesto", &code).unwrap());
        assert!(!opened.covers(b"manifest", "no digits").unwrap());
    }
}
