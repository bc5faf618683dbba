//! The log on its way to the store: what the server laid into the spool, and up to which instant that leads.

use std::time::{Duration, Instant};

use granary_db::OwnerConnection;
use granary_db::embedded::Spool;
use granary_foundation::Secret;
use granary_foundation::config::S3Config;
use granary_vault::{BackupKey, MasterKey, VaultError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::place::{Backups, OpenedKeys, covered_path, segment_path};
use crate::{RecoveryError, parts, store};

/// How long the server may take to lay out a segment that is full, when it lays out nothing else meanwhile.
const PATIENCE: Duration = Duration::from_secs(60);
/// No segment is larger: the most that Postgres can be built with.
const LARGEST_SEGMENT: usize = 1 << 30;

/// What ships the log of one server.
#[derive(Debug)]
pub struct Shipping<'a> {
    /// How the owner connects.
    pub url: &'a Secret,
    pub spool: &'a Spool,
    pub s3: &'a S3Config,
    pub master: &'a MasterKey,
    /// What [`Shipped::mark`] said the last time: when nobody has written since, nothing is done.
    pub since: Option<&'a str>,
}

/// What was shipped.
#[derive(Debug, Clone, Serialize)]
pub struct Shipped {
    pub segments: usize,
    pub size_bytes: u64,
    /// Every instant up to here can be restored; none when nobody has written since the last time.
    pub until_at: Option<Timestamp>,
    #[serde(skip)]
    pub mark: String,
}

/// What segments are fetched for, as the spool keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Purpose {
    pub(crate) url: String,
    pub(crate) series: String,
}

impl Purpose {
    pub(crate) fn of(spool: &Spool) -> Result<Option<Self>, RecoveryError> {
        // What nobody can read is begun anew by the next backup.
        Ok(spool.purpose()?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    pub(crate) fn begin(&self, spool: &Spool) -> Result<(), RecoveryError> {
        let text = serde_json::to_string(self).map_err(|error| RecoveryError::Packing(error.to_string()))?;
        Ok(spool.open(&text)?)
    }
}

/// Ships what waits, after the segment that is written into was ended; none where no backup was made yet.
///
/// # Errors
/// When the server or the store does not answer. What was shipped stays, and the next call goes on.
pub async fn ship(shipping: &Shipping<'_>) -> Result<Option<Shipped>, RecoveryError> {
    if shipping.spool.purpose()?.is_none() {
        return Ok(None);
    }
    let owner = OwnerConnection::connect(shipping.url).await?;
    store::lock_shipping(&owner).await?;
    // Read under the lock: a backup may have begun another series meanwhile.
    let Some(purpose) = Purpose::of(shipping.spool)? else { return Ok(None) };
    let mark = store::next_transaction(&owner).await?;
    if shipping.since == Some(mark.as_str()) {
        return Ok(Some(Shipped { segments: 0, size_bytes: 0, until_at: None, mark }));
    }
    let to = Backups::open(&purpose.url, shipping.s3)?;
    to.must_stand().await?;
    let until_at = store::now(&owner).await?;
    store::tick(&owner).await?;
    let last = store::switch(&owner).await?;
    let mark = store::next_transaction(&owner).await?;
    wait_for(shipping.spool, &last).await?;
    let key = shipping.master.new_backup_key(store::find_master(&owner).await?).await?;
    let (segments, size_bytes) = send(shipping, &to, &purpose.series, &key).await?;
    let covered = covered_path(&purpose.series, until_at, &last);
    to.put(&key, &covered, last.as_bytes()).await?;
    Ok(Some(Shipped { segments, size_bytes, until_at: Some(until_at), mark }))
}

async fn wait_for(spool: &Spool, last: &str) -> Result<(), RecoveryError> {
    let (mut known, mut deadline) = (0, Instant::now() + PATIENCE);
    loop {
        let waiting = spool.segments()?;
        if waiting.iter().any(|(name, _)| name == last) {
            return Ok(());
        }
        if waiting.len() > known {
            (known, deadline) = (waiting.len(), Instant::now() + PATIENCE);
        }
        if Instant::now() > deadline {
            return Err(RecoveryError::SegmentNotArchived(last.to_owned()));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends the segments, oldest first, and removes each from the spool when the store has it.
async fn send(shipping: &Shipping<'_>, to: &Backups, series: &str, key: &BackupKey) -> Result<(usize, u64), RecoveryError> {
    let waiting = shipping.spool.segments()?;
    let (count, mut size_bytes) = (waiting.len(), 0);
    for (name, file) in waiting {
        let content = tokio::fs::read(&file).await.map_err(RecoveryError::file("read", &file))?;
        let packing = tokio::task::spawn_blocking(move || Ok::<_, RecoveryError>((parts::compress(&content)?, content)));
        let (packed, content) = packing.await.map_err(|error| RecoveryError::Packing(error.to_string()))??;
        let path = segment_path(series, &name);
        match to.put(key, &path, &packed).await {
            Ok((size, _)) => size_bytes += size,
            // We were killed behind the store's answer, or the server lays it out a second time.
            Err(RecoveryError::Vault(VaultError::ObjectExists(_))) => {
                let mut keys = OpenedKeys::new(shipping.master);
                let there = to.open_object(&path, &to.get(&path).await?, &mut keys).await?;
                if parts::decompress(&there, LARGEST_SEGMENT)? != content {
                    return Err(RecoveryError::damaged(&path, "is there already, and holds something else"));
                }
            }
            Err(error) => return Err(error),
        }
        tokio::fs::remove_file(&file).await.map_err(RecoveryError::file("remove", &file))?;
    }
    Ok((count, size_bytes))
}
