//! The one key that lies outside the database.

use std::fmt;
use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{VaultError, seal};

/// The key that seals every owner's keys; it never prints and is wiped when dropped.
#[derive(Clone)]
pub struct MasterKey(Arc<Zeroizing<[u8; 32]>>);

impl MasterKey {
    /// Reads the key from a file of 64 hexadecimal digits that only its owner may read, or makes that file.
    ///
    /// Of several processes that make it at once, one wins and the others read the winner's key.
    ///
    /// # Errors
    /// When the file cannot be read or made, is readable by others, or does not hold a key.
    pub fn load_or_create(path: &Path) -> Result<Self, VaultError> {
        let fail = |reason: String| VaultError::MasterKeyFile { path: path.to_owned(), reason };
        if !path.exists() {
            let digits = Zeroizing::new(hex::encode(*Zeroizing::new(seal::random_key()?)));
            create_once(path, &digits).map_err(|error| fail(error.to_string()))?;
        }
        let mode = fs::metadata(path).map_err(|error| fail(error.to_string()))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(fail(format!("others may read it (mode {:o}); chmod 600 it", mode & 0o777)));
        }
        let digits = Zeroizing::new(fs::read_to_string(path).map_err(|error| fail(error.to_string()))?);
        let mut key = Zeroizing::new([0; 32]);
        hex::decode_to_slice(digits.trim(), key.as_mut_slice()).map_err(|_| fail("it does not hold 64 hexadecimal digits".to_owned()))?;
        Ok(Self(Arc::new(key)))
    }

    pub(crate) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

/// Writes a file that appears with its whole content or not at all, and leaves one that is already there alone.
fn create_once(path: &Path, content: &str) -> io::Result<()> {
    let draft = path.with_extension(Uuid::now_v7().to_string());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
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
        assert_eq!(first.bytes(), second.bytes());
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
}
