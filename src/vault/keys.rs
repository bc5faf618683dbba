//! Envelopes: the master key seals the owners' keys, an owner's key wraps one random key per file.

use granary_foundation::Boxed;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use granary_db::{Database, Tx, TxSettings};
use granary_types::{CustomerId, MspId};
use hmac::{Hmac, Mac};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::audit::AUDIT;
use crate::signature::Signature;
use crate::store::{self, WrappedRow};
use crate::{MasterKey, VaultError, seal};

/// How long an opened key is kept; a key that another process destroyed serves this long at most.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// What wraps file keys.
pub(crate) const WRAP: &str = "wrap";
/// What signs documents that are shown to others.
const SIGNING: &str = "signing";
/// What makes look-ups on sealed columns possible.
const BLIND_INDEX: &str = "blind_index";

/// Whose keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Owner {
    Msp(MspId),
    Customer(CustomerId),
    /// The operator's own, who belongs to no MSP.
    Installation,
}

impl Owner {
    /// Returns the bare id.
    pub const fn id(self) -> Uuid {
        match self {
            Self::Msp(id) => id.uuid(),
            Self::Customer(id) => id.uuid(),
            // There is one.
            Self::Installation => Uuid::nil(),
        }
    }

    const fn kind(self) -> &'static str {
        match self {
            Self::Msp(_) => "msp",
            Self::Customer(_) => "customer",
            Self::Installation => "installation",
        }
    }

    pub(crate) const fn row(self) -> (&'static str, Uuid) {
        (self.kind(), self.id())
    }

    const fn purposes(self) -> &'static [&'static str] {
        match self {
            Self::Msp(_) | Self::Installation => &[WRAP, BLIND_INDEX, AUDIT, SIGNING],
            Self::Customer(_) => &[WRAP, BLIND_INDEX],
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.id())
    }
}

/// A key in its envelope, as it lies in the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrapped {
    pub bytes: Vec<u8>,
    /// Which version of the owner's key opens it.
    pub key_version: i32,
}

/// The key of one file or document; it never prints and is wiped when dropped.
#[derive(Clone)]
pub struct FileKey(Zeroizing<[u8; 32]>);

impl FileKey {
    /// Makes a random key.
    ///
    /// # Errors
    /// When the operating system gives no random bytes.
    pub fn random() -> Result<Self, VaultError> {
        Ok(Self(Zeroizing::new(seal::random_key()?)))
    }

    /// Returns the key, for the one cipher that needs it.
    pub fn reveal(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for FileKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FileKey(…)")
    }
}

/// An owner's opened keys, by purpose and version.
pub(crate) struct Opened {
    keys: HashMap<(String, i32), Zeroizing<[u8; 32]>>,
    pub(crate) newest: i32,
    at: Instant,
}

/// The key store.
#[derive(Clone)]
pub struct Keys {
    db: Database,
    master: MasterKey,
    opened: Arc<Mutex<HashMap<Owner, Arc<Opened>>>>,
    audit_roots: Arc<Mutex<HashMap<Owner, Zeroizing<[u8; 32]>>>>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

impl Keys {
    /// Returns the key store of a database under its master key.
    pub fn new(db: Database, master: MasterKey) -> Self {
        Self { db, master, opened: Arc::default(), audit_roots: Arc::default() }
    }

    /// Makes an owner's keys; those that exist stay, a destroyed one stays destroyed.
    ///
    /// # Errors
    /// When the database fails.
    pub fn create_for<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            let wanted: Vec<(&str, i32)> = owner.purposes().iter().map(|purpose| (*purpose, 1)).collect();
            self.insert_keys(owner, &wanted).await
        })
    }

    /// Wraps a file's key so that only its owner's key opens it, and only under the name `aad`.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn wrap<'a>(&'a self, owner: Owner, key: &'a FileKey, aad: &'a [u8]) -> Boxed<'a, Result<Wrapped, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let wrapping = opened.get(owner, WRAP, opened.newest)?;
            Ok(Wrapped { bytes: seal::seal(wrapping, key.reveal(), aad)?, key_version: opened.newest })
        })
    }

    /// Opens an envelope.
    ///
    /// # Errors
    /// When the owner has no key, it was destroyed, or the envelope is another owner's or another name's.
    pub fn unwrap<'a>(&'a self, owner: Owner, wrapped: &'a Wrapped, aad: &'a [u8]) -> Boxed<'a, Result<FileKey, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let plain = seal::open(opened.get(owner, WRAP, wrapped.key_version)?, &wrapped.bytes, aad).map(Zeroizing::new);
            let bytes = plain.as_ref().and_then(|plain| <[u8; 32]>::try_from(plain.as_slice()).ok()).ok_or(VaultError::Sealed(owner))?;
            Ok(FileKey(Zeroizing::new(bytes)))
        })
    }

    /// Returns a keyed digest of a value, by which a sealed column can be looked up.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn blind_index<'a>(&'a self, owner: Owner, value: &'a [u8]) -> Boxed<'a, Result<[u8; 32], VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            let key = opened.get(owner, BLIND_INDEX, 1)?;
            let mut mac = <Hmac<Sha256> as Mac>::new_from_slice(key).map_err(|_| VaultError::Cipher("the digest takes no such key"))?;
            mac.update(value);
            Ok(mac.finalize().into_bytes().into())
        })
    }

    /// Seals a document under a key of its own that its owner's key wraps; it opens only under the same name.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn seal<'a>(&'a self, owner: Owner, plain: &'a [u8], name: &'a [u8]) -> Boxed<'a, Result<(Vec<u8>, Wrapped), VaultError>> {
        Box::pin(async move {
            let key = FileKey::random()?;
            let wrapped = self.wrap(owner, &key, name).await?;
            Ok((seal::seal(key.reveal(), plain, name)?, wrapped))
        })
    }

    /// Opens a sealed document.
    ///
    /// # Errors
    /// When the owner has no key, it was destroyed, or the document is another one.
    pub fn unseal<'a>(
        &'a self,
        owner: Owner,
        sealed: &'a [u8],
        wrapped: &'a Wrapped,
        name: &'a [u8],
    ) -> Boxed<'a, Result<Vec<u8>, VaultError>> {
        Box::pin(async move {
            let key = self.unwrap(owner, wrapped, name).await?;
            seal::open(key.reveal(), sealed, name).ok_or(VaultError::Sealed(owner))
        })
    }

    /// Signs a message with an MSP's key.
    ///
    /// # Errors
    /// When the owner has no key for signatures, or it was destroyed.
    pub fn sign<'a>(&'a self, owner: Owner, message: &'a [u8]) -> Boxed<'a, Result<Signature, VaultError>> {
        Box::pin(async move {
            let opened = self.open(owner).await?;
            Signature::make(opened.get(owner, SIGNING, 1)?, message)
        })
    }

    /// Destroys an owner's keys: whatever they wrapped can never be read again.
    ///
    /// # Errors
    /// When the database fails.
    pub fn destroy<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            store::destroy_keys(&tx, owner.row(), self.db.clock().now()).await?;
            tx.commit().await?;
            self.forget(owner);
            let session = self.db.owner().await?;
            store::forget_old_rows(&session).await?;
            session.give_back().await;
            Ok(())
        })
    }

    /// Takes back the making of an owner's keys, for an owner that never sealed anything: not a trace is kept.
    ///
    /// # Errors
    /// When the database fails.
    pub fn discard<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            store::delete_keys(&tx, owner.row()).await?;
            tx.commit().await?;
            self.forget(owner);
            Ok(())
        })
    }

    /// Tells for each purpose that an owner has keys for whether there is one that is not destroyed.
    ///
    /// # Errors
    /// When the database fails.
    pub fn present<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<Vec<bool>, VaultError>> {
        Box::pin(async move {
            let tx = self.begin().await?;
            let rows = store::list_keys(&tx, owner.row()).await?;
            tx.commit().await?;
            let is_there = |purpose: &&str| rows.iter().any(|row| row.purpose == **purpose && row.wrapped.is_some());
            Ok(owner.purposes().iter().map(is_there).collect())
        })
    }

    pub(crate) async fn open(&self, owner: Owner) -> Result<Arc<Opened>, VaultError> {
        let kept = self.lock().get(&owner).filter(|opened| opened.at.elapsed() < KEPT_FOR).cloned();
        if let Some(opened) = kept {
            return Ok(opened);
        }
        let tx = self.begin().await?;
        let rows = store::list_keys(&tx, owner.row()).await?;
        tx.commit().await?;
        let opened = Arc::new(self.open_rows(owner, rows).await?);
        self.lock().insert(owner, Arc::clone(&opened));
        Ok(opened)
    }

    async fn open_rows(&self, owner: Owner, rows: Vec<WrappedRow>) -> Result<Opened, VaultError> {
        if rows.is_empty() {
            return Err(VaultError::NoKey(owner));
        }
        let newest = rows.iter().filter(|row| row.purpose == WRAP).map(|row| row.version).max().ok_or(VaultError::NoKey(owner))?;
        let mut keys = HashMap::new();
        for row in rows {
            if row.wrapped.is_some() {
                let key = self.open_row(&row).await?;
                keys.insert((row.purpose, row.version), key);
            }
        }
        Ok(Opened { keys, newest, at: Instant::now() })
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.db.clock().now()
    }

    pub(crate) const fn master(&self) -> &MasterKey {
        &self.master
    }

    pub(crate) async fn begin(&self) -> Result<Tx, VaultError> {
        Ok(self.db.begin(&TxSettings::keystore()).await?)
    }

    pub(crate) fn forget(&self, owner: Owner) {
        self.lock().remove(&owner);
        self.audit_roots().remove(&owner);
    }

    pub(crate) fn audit_roots(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Zeroizing<[u8; 32]>>> {
        self.audit_roots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Owner, Arc<Opened>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Opened {
    pub(crate) fn get(&self, owner: Owner, purpose: &str, version: i32) -> Result<&[u8; 32], VaultError> {
        self.keys.get(&(purpose.to_owned(), version)).map(|key| &**key).ok_or(VaultError::KeyDestroyed(owner))
    }
}

/// What an owner's key is sealed for, so that two owners' rows cannot be exchanged.
pub(crate) fn name_of(owner: Owner, purpose: &str, version: i32) -> Vec<u8> {
    format!("granary key {owner} {purpose} {version}").into_bytes()
}
