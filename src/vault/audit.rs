//! Keys of the audit log: one per MSP and one of the installation, and from it one for every chain.

use granary_db::{AuditChain, AuditKey, AuditKeys, DbError};
use granary_foundation::Boxed;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::keys::{Keys, Owner};
use crate::{Signature, VaultError};

/// What keys the records of audit logs.
pub(crate) const AUDIT: &str = "audit";

impl Owner {
    /// Returns whose keys an audit chain is made and signed with: its MSP's, because a customer's own die with the customer.
    pub const fn of_chain(chain: AuditChain) -> Self {
        match chain.msp() {
            Some(msp) => Self::Msp(msp),
            None => Self::Installation,
        }
    }
}

impl AuditKeys for Keys {
    fn audit_key(&self, chain: AuditChain) -> Boxed<'_, Result<AuditKey, DbError>> {
        Box::pin(async move { self.key_of_chain(chain).await.map_err(|error| DbError::AuditKey(error.to_string())) })
    }
}

impl Keys {
    async fn key_of_chain(&self, chain: AuditChain) -> Result<AuditKey, VaultError> {
        let root = self.audit_root(Owner::of_chain(chain)).await?;
        let Some(customer) = chain.customer() else { return Ok(AuditKey::new(*root)) };
        let mut mac =
            <Hmac<Sha256> as Mac>::new_from_slice(root.as_slice()).map_err(|_| VaultError::Cipher("the digest takes no such key"))?;
        mac.update(b"granary audit of a silo");
        mac.update(customer.uuid().as_bytes());
        Ok(AuditKey::new(mac.finalize().into_bytes().into()))
    }

    /// An owner's audit key, which never changes, so that it is opened once. Owners from before there was one get it now.
    async fn audit_root(&self, owner: Owner) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        if let Some(key) = self.audit_roots().get(&owner) {
            return Ok(key.clone());
        }
        let found = match self.open(owner).await {
            Ok(opened) => opened.get(owner, AUDIT, 1).ok().copied(),
            Err(VaultError::NoKey(_)) => None,
            Err(error) => return Err(error),
        };
        let key = match found {
            Some(key) => key,
            None => {
                self.create_for(owner).await?;
                self.forget(owner);
                *self.open(owner).await?.get(owner, AUDIT, 1)?
            }
        };
        let key = Zeroizing::new(key);
        self.audit_roots().insert(owner, key.clone());
        Ok(key)
    }

    /// Returns the key that checks an owner's signatures.
    ///
    /// # Errors
    /// When the owner has no key for signatures, or it was destroyed.
    pub fn public_key<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let Signature { public_key, .. } = self.sign(owner, b"granary public key").await?;
            Ok(public_key)
        })
    }
}
