//! Which master is current, and changing it: wrappers are rewritten, data is not.
//!
//! The database says which master is current, and whoever wraps something new holds that row: a process that has only the master
//! of before can wrap nothing with it once the new one is current. What it finds wrapped by a master that it does not hold, it
//! looks for: in the file, or behind the service.

use granary_db::Tx;
use granary_foundation::{Boxed, SharedProgress};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::keys::{Keys, Owner, name_of};
use crate::master::{Bytes, MasterKey, Source, fingerprint};
use crate::store::{self, MasterRow, WrappedRow};
use crate::{VaultError, seal};

/// Wrapped keys that are rewritten in one transaction.
const BATCH: i64 = 200;

/// A master, and what is wrapped by it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MasterStanding {
    pub fingerprint: String,
    /// Where it comes from: a file, the environment, a KMS.
    pub source: String,
    pub is_current: bool,
    /// Whether this process holds it.
    pub is_held: bool,
    /// Wrapped keys that only it opens.
    pub keys: i64,
    pub created_at: jiff::Timestamp,
    pub retired_at: Option<jiff::Timestamp>,
}

/// What a change of the master did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// The master that is current now.
    pub current: String,
    /// Wrappers that this call rewrote.
    pub rewrapped: u64,
    /// Whether it went on with a change that was begun before.
    pub is_resumed: bool,
}

impl Keys {
    /// Lists the masters, the current one first.
    ///
    /// # Errors
    /// When the database fails.
    pub fn masters<'a>(&'a self) -> Boxed<'a, Result<Vec<MasterStanding>, VaultError>> {
        Box::pin(async move {
            self.current_master().await?;
            let tx = self.begin().await?;
            let rows = store::list_masters(&tx).await?;
            tx.commit().await?;
            self.look_for_masters(&rows).await?;
            let standing = |row: MasterRow| MasterStanding {
                is_held: self.master().get(&row.fingerprint).is_some(),
                fingerprint: row.fingerprint,
                source: row.source,
                is_current: row.is_current,
                keys: row.keys,
                created_at: row.created_at,
                retired_at: row.retired_at,
            };
            Ok(rows.into_iter().map(standing).collect())
        })
    }

    /// Changes the master: a new one becomes current, every wrapper is rewritten, and the old one is let go. Killed anywhere, the
    /// next call goes on; what is sealed is never touched.
    ///
    /// # Errors
    /// When the database or the service fails, or the environment holds no new key.
    pub fn rotate_master<'a>(&'a self, progress: &'a SharedProgress) -> Boxed<'a, Result<Rotation, VaultError>> {
        Box::pin(async move {
            let (before, _) = self.current_master().await?;
            let tx = self.begin().await?;
            let is_unfinished = store::list_masters(&tx).await?.iter().any(|row| !row.is_current && row.retired_at.is_none());
            tx.commit().await?;
            let begun = if is_unfinished { None } else { Some(self.next_master(&before).await?) };
            let is_resumed = begun.as_ref().is_none_or(|next| next.is_resumed);
            if let Some(next) = &begun {
                let tx = self.begin().await?;
                store::switch_master(&tx, &before, &next.fingerprint, self.master().source().as_str(), next.wrapped.as_deref()).await?;
                tx.commit().await?;
            }
            let (current, key) = self.current_master().await?;
            let rewrapped = self.rewrap(&current, &key, progress).await?;
            self.master().keep_in_file(&current)?;
            let tx = self.begin().await?;
            store::retire_masters(&tx).await?;
            tx.commit().await?;
            Ok(Rotation { current, rewrapped, is_resumed })
        })
    }

    /// Gives an owner a new version of the key that wraps its files from now on; older ones open what they wrapped. Returns the
    /// version.
    ///
    /// # Errors
    /// When the owner has no key, or it was destroyed.
    pub fn renew<'a>(&'a self, owner: Owner) -> Boxed<'a, Result<i32, VaultError>> {
        Box::pin(async move {
            let newest = self.open(owner).await?.newest;
            self.insert_keys(owner, &[(crate::keys::WRAP, newest + 1)]).await?;
            self.forget(owner);
            Ok(self.open(owner).await?.newest)
        })
    }

    /// Wraps new keys with the current master, all in one transaction; those that exist stay.
    pub(crate) async fn insert_keys(&self, owner: Owner, wanted: &[(&str, i32)]) -> Result<(), VaultError> {
        loop {
            let (current, master) = self.current_master().await?;
            let tx = self.begin().await?;
            // Nobody makes another one current until this has been committed.
            if !store::lock_current_master(&tx, &current).await? {
                tx.rollback().await?;
                continue;
            }
            for (purpose, version) in wanted {
                let key = Zeroizing::new(seal::random_key()?);
                let wrapped = seal::seal(&master, key.as_slice(), &name_of(owner, purpose, *version))?;
                store::insert_key(&tx, owner.row(), purpose, *version, (&wrapped, &current), self.now()).await?;
            }
            return Ok(tx.commit().await?);
        }
    }

    /// Returns the current master; the first process that asks says which it is.
    pub(crate) async fn current_master(&self) -> Result<(String, Bytes), VaultError> {
        let tx = self.begin().await?;
        let found = store::find_current_master(&tx).await?;
        tx.commit().await?;
        let current = match found {
            Some(current) => current,
            None => self.establish().await?,
        };
        let key = self.master_of(&current).await?.ok_or_else(|| VaultError::UnknownMaster(current.clone()))?;
        Ok((current, key))
    }

    /// Returns a master by its fingerprint; one that is not held is looked for.
    pub(crate) async fn master_of(&self, wanted: &str) -> Result<Option<Bytes>, VaultError> {
        if let Some(key) = self.master().get(wanted) {
            return Ok(Some(key));
        }
        let tx = self.begin().await?;
        let rows = store::list_masters(&tx).await?;
        tx.commit().await?;
        self.look_for_masters(&rows).await?;
        Ok(self.master().get(wanted))
    }

    /// Holds the masters that this process can have.
    async fn look_for_masters(&self, rows: &[MasterRow]) -> Result<(), VaultError> {
        self.master().read_file_if_any()?;
        let Source::Kms(kms) = self.master().source() else { return Ok(()) };
        for row in rows.iter().filter(|row| row.retired_at.is_none() && self.master().get(&row.fingerprint).is_none()) {
            let Some(wrapped) = &row.wrapped else { continue };
            let key = kms.open(wrapped).await?;
            if fingerprint(&key)? != row.fingerprint {
                return Err(VaultError::Kms("it opened another key than the one that was wrapped".to_owned()));
            }
            self.master().hold(key)?;
        }
        Ok(())
    }

    /// Enters the first master: the one that opens what is there, or a new one when nothing is.
    async fn establish(&self) -> Result<String, VaultError> {
        let tx = self.begin().await?;
        let sample = store::find_unnamed(&tx).await?;
        tx.commit().await?;
        let (name, wrapped) = match (sample, self.master().source()) {
            (Some(row), _) => {
                let opens = |(_, key): &(String, Bytes)| row.open(key).is_some();
                let found = self.master().all().into_iter().find(opens);
                (found.ok_or(VaultError::WrongMasterKey(row.owner))?.0, None)
            }
            (None, Source::Kms(kms)) => {
                let (key, wrapped) = kms.generate().await?;
                (self.master().hold(key)?, Some(wrapped))
            }
            (None, Source::File | Source::Environment) => (self.master().newest().ok_or(VaultError::MasterKeyText)?.0, None),
        };
        let tx = self.begin().await?;
        let source = match self.master().source() {
            // What the service did not make is the file's.
            Source::Kms(_) if wrapped.is_none() => Source::File,
            source => source.clone(),
        };
        store::enter_master(&tx, &name, source.as_str(), wrapped.as_deref(), self.now()).await?;
        let current = store::find_current_master(&tx).await?;
        tx.commit().await?;
        current.ok_or(VaultError::Cipher("no master key is current"))
    }

    /// Makes the master that comes next, or finds the one that an earlier call made and did not get further with.
    async fn next_master(&self, before: &str) -> Result<Next, VaultError> {
        let tx = self.begin().await?;
        let known: Vec<String> = store::list_masters(&tx).await?.into_iter().map(|row| row.fingerprint).collect();
        tx.commit().await?;
        let newest = |master: &MasterKey| master.newest().map(|(name, _)| name).filter(|name| !known.contains(name));
        match self.master().source() {
            Source::Kms(kms) => {
                let (key, wrapped) = kms.generate().await?;
                Ok(Next { fingerprint: self.master().hold(key)?, wrapped: Some(wrapped), is_resumed: false })
            }
            Source::File => {
                self.master().read_file_if_any()?;
                let begun = newest(self.master());
                let is_resumed = begun.is_some();
                if begun.is_none() {
                    self.master().append_to_file()?;
                }
                let next = newest(self.master()).ok_or_else(|| VaultError::UnknownMaster(before.to_owned()))?;
                Ok(Next { fingerprint: next, wrapped: None, is_resumed })
            }
            Source::Environment => {
                let next = newest(self.master()).ok_or(VaultError::NoNewMaster)?;
                Ok(Next { fingerprint: next, wrapped: None, is_resumed: false })
            }
        }
    }

    /// Rewrites what other masters wrapped.
    async fn rewrap(&self, current: &str, key: &Bytes, progress: &SharedProgress) -> Result<u64, VaultError> {
        let tx = self.begin().await?;
        let all = store::count_foreign(&tx, current).await?;
        tx.commit().await?;
        progress.begin("rewriting wrappers", u64::try_from(all).unwrap_or_default());
        let mut done = 0;
        loop {
            let tx = self.begin().await?;
            let rows = store::list_foreign(&tx, current, BATCH).await?;
            tx.commit().await?;
            if rows.is_empty() {
                break;
            }
            let mut rewritten = Vec::new();
            for row in &rows {
                let plain = self.open_row(row).await?;
                rewritten.push(seal::seal(key, plain.as_slice(), &row.name())?);
            }
            let tx: Tx = self.begin().await?;
            for (row, wrapped) in rows.iter().zip(&rewritten) {
                done += store::rewrap_key(&tx, row, (wrapped, current)).await?;
            }
            tx.commit().await?;
            progress.advance(rows.len() as u64);
        }
        progress.end();
        Ok(done)
    }

    /// Opens the wrapper of one key.
    pub(crate) async fn open_row(&self, row: &WrappedRow) -> Result<Bytes, VaultError> {
        let opened = match &row.master {
            Some(name) => self.master_of(name).await?.and_then(|master| row.open(&master)),
            // From before masters had names, or by a program from then.
            None => self.master().all().iter().find_map(|(_, master)| row.open(master)),
        };
        opened.ok_or(VaultError::WrongMasterKey(row.owner))
    }
}

/// The master that comes next.
struct Next {
    fingerprint: String,
    wrapped: Option<Vec<u8>>,
    is_resumed: bool,
}
