//! How one process of this house knows that a message comes from another.

use granary_foundation::Boxed;
use granary_vault::{Owner, VaultError};

use crate::{Lake, LakeError};

/// What keeps a message between processes from passing for a value that is looked up.
const VOUCHED: &[u8] = b"granary vouches\0";

impl Lake {
    /// Returns a digest of a message that only processes with this house's master key and key store can make.
    ///
    /// # Errors
    /// When the key store cannot be read.
    pub fn vouch<'a>(&'a self, message: &'a [u8]) -> Boxed<'a, Result<[u8; 32], LakeError>> {
        Box::pin(async move {
            let message = [VOUCHED, message].concat();
            match self.keys().blind_index(Owner::Installation, &message).await {
                Err(VaultError::NoKey(_)) => {
                    self.keys().create_for(Owner::Installation).await?;
                    Ok(self.keys().blind_index(Owner::Installation, &message).await?)
                }
                digest => Ok(digest?),
            }
        })
    }
}
