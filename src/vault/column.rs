//! Single values that are sealed where they lie: personal data in columns, answers that name people.

use granary_foundation::Boxed;

use crate::keys::{Keys, Owner, WRAP, Wrapped};
use crate::{VaultError, seal};

/// What keeps a sealed value from passing for a sealed key.
const COLUMN: &[u8] = b"granary column ";

impl Keys {
    /// Seals a value so that only its owner's key opens it, and only under the name `aad` of its place.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn seal_column<'a>(&'a self, owner: Owner, plain: &'a [u8], aad: &'a [u8]) -> Boxed<'a, Result<Wrapped, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let key = opened.get(owner, WRAP, opened.newest)?;
            Ok(Wrapped { bytes: seal::seal(key, plain, &[COLUMN, aad].concat())?, key_version: opened.newest })
        })
    }

    /// Opens what [`Keys::seal_column`] sealed.
    ///
    /// # Errors
    /// When the owner's key was destroyed, or the value was sealed for another owner or place.
    pub fn open_column<'a>(&'a self, owner: Owner, sealed: &'a Wrapped, aad: &'a [u8]) -> Boxed<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let key = opened.get(owner, WRAP, sealed.key_version)?;
            seal::open(key, &sealed.bytes, &[COLUMN, aad].concat()).ok_or(VaultError::Sealed(owner))
        })
    }
}
