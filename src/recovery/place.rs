//! The store that backups lie in, and how their names are read.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;
use granary_foundation::config::S3Config;
use granary_vault::{BackupKey, MasterKey, Objects, VaultError, backup_envelope};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::RecoveryError;
use crate::manifest::{Kept, Manifest};

/// Whose backups a store holds.
const INSTALLATION: &str = "installation";
const KIND: &str = "granary backups 1";

/// A store of backups.
#[derive(Clone)]
pub struct Backups {
    objects: Objects,
    url: String,
}

impl fmt::Debug for Backups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Backups({})", self.url)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Owner {
    kind: String,
    installation: Uuid,
}

/// An object, as a listing names it.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) stored_at: Timestamp,
}

/// A base, and how far the log behind it goes.
#[derive(Debug, Clone)]
pub struct Base {
    pub manifest: Manifest,
    /// The last instant that can be restored.
    pub until_at: Timestamp,
    pub(crate) path: String,
    pub(crate) content: Bytes,
    /// Up to which segment each covered instant needs the log.
    pub(crate) covered: BTreeMap<Timestamp, String>,
}

impl Base {
    /// Tells whether an instant can be restored from it.
    pub(crate) fn covers(&self, at: Timestamp) -> bool {
        self.manifest.from_at <= at && at <= self.until_at
    }

    /// Checks that the manifest is what was written, and opens what it keeps.
    ///
    /// # Errors
    /// When it was changed, or sealed under a master that is not here.
    pub async fn open(&self, master: &MasterKey) -> Result<Kept, RecoveryError> {
        self.manifest.verify(&self.path, &self.content, master).await
    }
}

/// Everything in a store: complete bases, and all objects by name.
#[derive(Debug)]
pub(crate) struct Stock {
    /// Oldest first.
    pub(crate) bases: Vec<Base>,
    /// Manifests that cannot be read, and why.
    pub(crate) damaged: Vec<(String, RecoveryError)>,
    pub(crate) objects: BTreeMap<String, Listed>,
}

impl Backups {
    /// Opens `file:///path` (the folder is made) or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// When the URL is neither.
    pub fn open(url: &str, s3: &S3Config) -> Result<Self, RecoveryError> {
        Ok(Self { objects: Objects::open(url, s3)?, url: url.trim_end_matches('/').to_owned() })
    }

    /// Returns where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Lists the bases that are complete, oldest first, and what is wrong with manifests that cannot be read.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn list(&self) -> Result<(Vec<Base>, Vec<RecoveryError>), RecoveryError> {
        let stock = self.stock().await?;
        Ok((stock.bases, stock.damaged.into_iter().map(|(_, error)| error).collect()))
    }

    /// Makes the store this installation's own.
    pub(crate) async fn claim(&self, ours: Uuid) -> Result<(), RecoveryError> {
        let text = serde_json::to_vec(&Owner { kind: KIND.to_owned(), installation: ours });
        let text = text.map_err(|error| RecoveryError::Packing(error.to_string()))?;
        match self.objects.put_new(INSTALLATION, text.into()).await {
            Ok(()) => return Ok(self.objects.flush(&[INSTALLATION.to_owned()]).await?),
            Err(VaultError::ObjectExists(_)) => {}
            Err(error) => return Err(error.into()),
        }
        let found: Owner = serde_json::from_slice(&self.objects.get(INSTALLATION).await?)
            .map_err(|_| RecoveryError::damaged(INSTALLATION, "does not say whose backups these are"))?;
        if found.installation == ours {
            Ok(())
        } else {
            Err(RecoveryError::OtherInstallation { url: self.url.clone(), found: found.installation, ours })
        }
    }

    /// Refuses to go on where the backups are gone: a log without a base restores nothing.
    pub(crate) async fn must_stand(&self) -> Result<(), RecoveryError> {
        match self.objects.get(INSTALLATION).await {
            Ok(_) => Ok(()),
            Err(VaultError::ObjectMissing(_)) => Err(RecoveryError::Gone(self.url.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the names of everything, and the manifests.
    pub(crate) async fn stock(&self) -> Result<Stock, RecoveryError> {
        let mut objects = BTreeMap::new();
        for meta in self.objects.list("").await? {
            let path = meta.location.to_string();
            let stored_at = Timestamp::from_microsecond(meta.last_modified.timestamp_micros()).unwrap_or(Timestamp::MAX);
            objects.insert(path.clone(), Listed { path, size_bytes: meta.size, stored_at });
        }
        let (mut bases, mut damaged) = (Vec::new(), Vec::new());
        for path in objects.keys().filter(|path| path.ends_with("/manifest")) {
            let content = self.objects.get(path).await?;
            let manifest = match Manifest::decode(path, &content) {
                Ok(manifest) => manifest,
                Err(error) => {
                    damaged.push((path.clone(), error));
                    continue;
                }
            };
            let covered = match &manifest.first_segment {
                Some(_) => covered(&objects, &manifest.series),
                None => BTreeMap::new(),
            };
            let until_at = covered.last_key_value().map_or(manifest.from_at, |(at, _)| *at);
            bases.push(Base { until_at, path: path.clone(), content, covered, manifest });
        }
        bases.sort_by_key(|base| base.manifest.from_at);
        Ok(Stock { bases, damaged, objects })
    }

    /// Seals an object and stores it. One of that name with the same content is as good; returns its size and digest.
    pub(crate) async fn put(&self, key: &BackupKey, path: &str, plain: &[u8]) -> Result<(u64, String), RecoveryError> {
        let sealed = key.seal(path, plain)?;
        let stored = (sealed.len() as u64, hex::encode(Sha256::digest(&sealed)));
        self.put_plain(path, sealed).await?;
        Ok(stored)
    }

    /// Stores what may be read by everybody, or is sealed already.
    pub(crate) async fn put_plain(&self, path: &str, content: Vec<u8>) -> Result<(), RecoveryError> {
        self.objects.put_new(path, content.into()).await?;
        Ok(self.objects.flush(&[path.to_owned()]).await?)
    }

    /// Returns an object as it lies there.
    pub(crate) async fn get(&self, path: &str) -> Result<Bytes, RecoveryError> {
        match self.objects.get(path).await {
            Err(VaultError::ObjectMissing(_)) => Err(RecoveryError::damaged(path, "is missing")),
            outcome => Ok(outcome?),
        }
    }

    /// Opens an object, by the envelope that it carries.
    pub(crate) async fn open_object(&self, path: &str, content: &[u8], keys: &mut OpenedKeys<'_>) -> Result<Vec<u8>, RecoveryError> {
        let refused = || RecoveryError::damaged(path, "was changed, or is another object under this name");
        let envelope = backup_envelope(content).ok_or_else(refused)?;
        let key = match keys.opened.iter().find(|key| *key.envelope() == envelope) {
            Some(key) => key.clone(),
            None => {
                let key = keys.master.open_backup_key(&envelope).await.map_err(RecoveryError::sealed(path))?;
                keys.opened.push(key.clone());
                key
            }
        };
        key.open(path, content).ok_or_else(refused)
    }

    pub(crate) async fn delete(&self, path: &str) -> Result<(), RecoveryError> {
        Ok(self.objects.delete(path).await?)
    }
}

/// Keys that were opened already: a series has one for each time that something was shipped.
pub(crate) struct OpenedKeys<'a> {
    master: &'a MasterKey,
    opened: Vec<BackupKey>,
}

impl<'a> OpenedKeys<'a> {
    pub(crate) const fn new(master: &'a MasterKey) -> Self {
        Self { master, opened: Vec::new() }
    }
}

/// Up to which instants a series can be restored, and by which segment.
fn covered(objects: &BTreeMap<String, Listed>, series: &str) -> BTreeMap<Timestamp, String> {
    let prefix = format!("{series}/covered/");
    let names = objects.range(prefix.clone()..).map_while(|(path, _)| path.strip_prefix(&prefix));
    names.filter_map(read_covered).collect()
}

/// Names what says that everything up to an instant lies in the log up to a segment.
pub(crate) fn covered_path(series: &str, at: Timestamp, segment: &str) -> String {
    format!("{series}/covered/{:020}-{segment}", at.as_microsecond())
}

fn read_covered(name: &str) -> Option<(Timestamp, String)> {
    let (micros, segment) = name.split_once('-')?;
    Some((Timestamp::from_microsecond(micros.parse().ok()?).ok()?, segment.to_owned()))
}

pub(crate) fn segment_path(series: &str, segment: &str) -> String {
    format!("{series}/wal/{segment}")
}

pub(crate) fn base_folder(series: &str, base: &str) -> String {
    format!("{series}/base/{base}")
}

/// A name that sorts by its instant and is nobody else's.
pub(crate) fn new_name(now: Timestamp) -> String {
    format!("{}-{}", now.strftime("%Y%m%dT%H%M%SZ"), &Uuid::new_v4().simple().to_string()[..8])
}

/// Lists the segments from one to another, both included; `bytes` is the size of each.
pub(crate) fn segments_between(first: &str, last: &str, bytes: u64) -> Option<Vec<String>> {
    let read = |name: &str| {
        let part = |range| u64::from_str_radix(name.get(range)?, 16).ok();
        Some((part(0..8)?, part(8..16)?, part(16..24)?))
    };
    let per_log = (1_u64 << 32).checked_div(bytes)?;
    let ((timeline, log, number), (last_timeline, last_log, last_number)) = (read(first)?, read(last)?);
    let (from, to) = (log * per_log + number, last_log * per_log + last_number);
    if timeline != last_timeline || per_log == 0 {
        return None;
    }
    Some((from..=to).map(|at| format!("{timeline:08X}{:08X}{:08X}", at / per_log, at % per_log)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_follow_one_another_over_the_end_of_a_log() {
        let found = segments_between("0000000100000000000000FE", "000000010000000100000001", 16 << 20).unwrap();
        assert_eq!(found, ["0000000100000000000000FE", "0000000100000000000000FF", "000000010000000100000000", "000000010000000100000001"]);
        assert_eq!(segments_between("000000010000000000000002", "000000010000000000000001", 16 << 20), Some(Vec::new()));
        assert_eq!(segments_between("000000010000000000000002", "000000020000000000000003", 16 << 20), None);
        assert_eq!(segments_between("short", "000000020000000000000003", 16 << 20), None);
    }

    #[test]
    fn what_is_covered_stands_in_its_name() {
        let at: Timestamp = "2025-10-01T12:00:00.123456Z".parse().unwrap();
        let path = covered_path("s", at, "000000010000000000000002");
        assert_eq!(read_covered(path.strip_prefix("s/covered/").unwrap()), Some((at, "000000010000000000000002".to_owned())));
        assert_eq!(read_covered("nonsense"), None);
    }
}
