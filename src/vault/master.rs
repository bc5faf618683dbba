//! The master key, which lies outside the database: in a file, in the environment, or behind a key management service.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use granary_foundation::Secret;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::kms::Kms;
use crate::{VaultError, seal};

/// The bytes of one master.
pub(crate) type Bytes = Zeroizing<[u8; 32]>;

/// Where the current master comes from.
#[derive(Clone)]
pub(crate) enum Source {
    File,
    Environment,
    Kms(Arc<dyn Kms>),
}

impl Source {
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Environment => "environment",
            Self::Kms(_) => "kms",
        }
    }
}

/// The keys that seal every owner's keys: one, and while it is changed two. They never print and are wiped when dropped.
#[derive(Clone)]
pub struct MasterKey {
    source: Source,
    /// A file that is read when it is there, also where the master comes from somewhere else now.
    file: Option<PathBuf>,
    held: Arc<RwLock<Held>>,
}

/// By fingerprint, and the newest.
#[derive(Default)]
struct Held {
    keys: BTreeMap<String, Bytes>,
    newest: Option<String>,
}

/// Returns what a master is known by: a digest that tells nothing of it.
pub(crate) fn fingerprint(key: &[u8; 32]) -> Result<String, VaultError> {
    let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(|_| VaultError::Cipher("the digest takes no such key"))?;
    mac.update(b"granary master key fingerprint");
    Ok(hex::encode(&mac.finalize().into_bytes()[..8]))
}

impl MasterKey {
    /// Reads the key from a file of 64 hexadecimal digits a line that only its owner may read, or makes that file. Of several
    /// lines, which there are while the key is changed, the last is the newest.
    ///
    /// Of several processes that make it at once, one wins and the others read the winner's key.
    ///
    /// # Errors
    /// When the file cannot be read or made, is readable by others, or does not hold a key.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        if !path.exists() {
            let digits = Zeroizing::new(hex::encode(*Zeroizing::new(seal::random_key()?)));
            create_once(path, &digits).map_err(|error| failure(path, &error.to_string()))?;
        }
        let master = Self { source: Source::File, file: Some(path.to_owned()), held: Arc::default() };
        master.read_file()?;
        Ok(master)
    }

    /// Takes the key from a text of 64 hexadecimal digits, or several with commas between them, the newest last. `file` is read
    /// as well when it is there: what its key wrapped can be opened and wrapped anew.
    ///
    /// # Errors
    /// When the text holds no key.
    pub fn from_text(text: &Secret, file: &Path) -> Result<Self, VaultError> {
        let master = Self { source: Source::Environment, file: Some(file.to_owned()), held: Arc::default() };
        master.read_file_if_any()?;
        for digits in text.reveal().split(',') {
            master.hold(parse(digits).ok_or(VaultError::MasterKeyText)?)?;
        }
        Ok(master)
    }

    /// Lets a service open the key. `file` is read as [`Self::from_text`] does.
    ///
    /// # Errors
    /// When there is a file and it holds no key.
    pub fn from_kms(kms: Arc<dyn Kms>, file: &Path) -> Result<Self, VaultError> {
        let master = Self { source: Source::Kms(kms), file: Some(file.to_owned()), held: Arc::default() };
        master.read_file_if_any()?;
        Ok(master)
    }

    pub(crate) const fn source(&self) -> &Source {
        &self.source
    }

    /// Returns the key of a fingerprint, when it is held.
    pub(crate) fn get(&self, fingerprint: &str) -> Option<Bytes> {
        self.read().keys.get(fingerprint).cloned()
    }

    /// Returns every key that is held, by fingerprint.
    pub(crate) fn all(&self) -> Vec<(String, Bytes)> {
        self.read().keys.iter().map(|(fingerprint, key)| (fingerprint.clone(), key.clone())).collect()
    }

    /// Returns the newest, by fingerprint.
    pub(crate) fn newest(&self) -> Option<(String, Bytes)> {
        let held = self.read();
        let newest = held.newest.as_ref()?;
        held.keys.get(newest).map(|key| (newest.clone(), key.clone()))
    }

    /// Holds a key from now on, as the newest; returns its fingerprint.
    pub(crate) fn hold(&self, key: Bytes) -> Result<String, VaultError> {
        let name = fingerprint(&key)?;
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.keys.insert(name.clone(), key);
        held.newest = Some(name.clone());
        Ok(name)
    }

    /// Reads the file again, for keys that another process wrote there.
    pub(crate) fn read_file_if_any(&self) -> Result<(), VaultError> {
        if self.file.as_ref().is_some_and(|path| path.exists()) { self.read_file() } else { Ok(()) }
    }

    fn read_file(&self) -> Result<(), VaultError> {
        let Some(path) = &self.file else { return Ok(()) };
        let read = read_keys(path)?;
        let before = self.newest();
        for key in read {
            self.hold(key)?;
        }
        // Where the master comes from somewhere else the file's is never the newest.
        if let (Source::Environment | Source::Kms(_), Some((_, key))) = (&self.source, before) {
            self.hold(key)?;
        }
        Ok(())
    }

    /// Makes a new key at the end of the file and holds it; killed before the file was exchanged, nothing has happened.
    pub(crate) fn append_to_file(&self) -> Result<(), VaultError> {
        let Some(path) = &self.file else { return Ok(()) };
        let mut keys = read_keys(path)?;
        keys.push(Zeroizing::new(seal::random_key()?));
        write_keys(path, &keys)?;
        self.read_file()
    }

    /// Leaves one key in the file.
    pub(crate) fn keep_in_file(&self, fingerprint: &str) -> Result<(), VaultError> {
        let (Source::File, Some(path), Some(key)) = (&self.source, &self.file, self.get(fingerprint)) else { return Ok(()) };
        write_keys(path, &[key])
    }

    /// Puts a key that came out of escrow into a file, in front of those that are there, which stay in force.
    pub(crate) fn import(path: &Path, key: Bytes) -> Result<(), VaultError> {
        let mut keys = vec![key];
        if path.exists() {
            for there in read_keys(path)? {
                if *there != *keys[0] {
                    keys.push(there);
                }
            }
        }
        write_keys(path, &keys)
    }

    fn read(&self) -> RwLockReadGuard<'_, Held> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn failure(path: &Path, reason: &str) -> VaultError {
    VaultError::MasterKeyFile { path: path.to_owned(), reason: reason.to_owned() }
}

fn parse(digits: &str) -> Option<Bytes> {
    let mut key = Zeroizing::new([0; 32]);
    hex::decode_to_slice(digits.trim(), key.as_mut_slice()).ok()?;
    Some(key)
}

fn read_keys(path: &Path) -> Result<Vec<Bytes>, VaultError> {
    let fail = |error: io::Error| failure(path, &error.to_string());
    let mode = fs::metadata(path).map_err(fail)?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failure(path, &format!("others may read it (mode {:o}); chmod 600 it", mode & 0o777)));
    }
    let text = Zeroizing::new(fs::read_to_string(path).map_err(fail)?);
    let keys: Option<Vec<Bytes>> = text.split_whitespace().map(parse).collect();
    keys.filter(|keys| !keys.is_empty()).ok_or_else(|| failure(path, "it does not hold 64 hexadecimal digits a line"))
}

/// Exchanges the file for one with these keys, whole or not at all.
fn write_keys(path: &Path, keys: &[Bytes]) -> Result<(), VaultError> {
    let lines = Zeroizing::new(keys.iter().map(|key| hex::encode(**key)).collect::<Vec<_>>().join("\n"));
    let draft = path.with_extension(Uuid::now_v7().to_string());
    write_draft(&draft, &lines).and_then(|()| fs::rename(&draft, path)).map_err(|error| failure(path, &error.to_string()))?;
    // The new name must outlive a loss of power before anything is wrapped with a new key.
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| failure(path, &error.to_string()))
}

fn write_draft(draft: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Writes a file that appears with its whole content or not at all, and leaves one that is already there alone.
fn create_once(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(Uuid::now_v7().to_string());
    write_draft(&draft, content)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_never_prints() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let first = MasterKey::load_or_create(&path).unwrap();
        let second = MasterKey::load_or_create(&path).unwrap();
        assert!(first.newest().is_some() && first.newest() == second.newest());
        assert_eq!(format!("{first:?}"), "MasterKey(…)");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        MasterKey::load_or_create(&path).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let error = MasterKey::load_or_create(&path).unwrap_err().to_string();
        assert!(error.contains("others may read it (mode 644)"), "{error}");
    }

    #[test]
    fn a_file_that_holds_no_key_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        create_once(&path, "not a key").unwrap();
        assert!(MasterKey::load_or_create(&path).is_err());
    }

    #[test]
    fn of_several_keys_the_last_is_the_newest_wherever_they_come_from() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("master.key");
        let file = MasterKey::load_or_create(&path).unwrap();
        let old = file.newest().unwrap().0;
        file.append_to_file().unwrap();
        let new = file.newest().unwrap().0;
        assert!(old != new && MasterKey::load_or_create(&path).unwrap().newest().unwrap().0 == new);
        assert!(file.get(&old).is_some() && file.all().len() == 2);
        let text = Secret::new(format!("{},{}", "a".repeat(64), "b".repeat(64)));
        let environment = MasterKey::from_text(&text, &path).unwrap();
        assert_eq!(environment.newest().unwrap().1.as_slice(), [0xbb; 32]);
        environment.read_file_if_any().unwrap();
        assert!(environment.newest().unwrap().1.as_slice() == [0xbb; 32] && environment.all().len() == 4);
        assert!(MasterKey::from_text(&Secret::new("short"), &path).is_err());
        file.keep_in_file(&new).unwrap();
        assert_eq!(MasterKey::load_or_create(&path).unwrap().all().len(), 1);
    }
}
