//! Backups that need not be kept any more, and what killed ones have left.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::RecoveryError;
use crate::place::Backups;

/// What lies about without a base is somebody's work in progress for so long.
const IN_PROGRESS: SignedDuration = SignedDuration::from_hours(24);

/// Which bases stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// The newest ones.
    Newest(usize),
    /// Those that are not older, and the newest one always.
    Days(u32),
}

/// What went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    pub bases: usize,
    pub objects: usize,
    pub size_bytes: u64,
}

/// Deletes bases, and the log that only they need. A base's manifest goes first: killed, what is left is a leftover, not a backup that
/// lacks something.
pub(crate) async fn prune(backups: &Backups, keep: Keep, now: Timestamp) -> Result<Pruned, RecoveryError> {
    let stock = backups.stock().await?;
    let (mut keeping, mut going) = (Vec::new(), Vec::new());
    let count = stock.bases.len();
    for (index, base) in stock.bases.iter().enumerate() {
        let stays = match keep {
            Keep::Newest(newest) => index + newest.max(1) >= count,
            Keep::Days(days) => index + 1 == count || base.manifest.started_at >= now - SignedDuration::from_hours(24 * i64::from(days)),
        };
        if stays { keeping.push(base) } else { going.push(base) }
    }
    let mut pruned = Pruned { bases: going.len(), ..Pruned::default() };
    let mut deleted = BTreeSet::new();
    for base in &going {
        backups.delete(&base.path).await?;
        deleted.insert(base.path.clone());
    }
    // From which segment on the log of a series is needed, and from which instant on it is spoken of.
    let mut needed: BTreeMap<&str, (&str, Timestamp)> = BTreeMap::new();
    for base in &keeping {
        if let Some(first) = &base.manifest.first_segment {
            let entry = needed.entry(&base.manifest.series).or_insert((first, base.manifest.from_at));
            *entry = (entry.0.min(first), entry.1.min(base.manifest.from_at));
        }
    }
    for object in stock.objects.values() {
        let parts: Vec<&str> = object.path.split('/').collect();
        let is_old = object.stored_at < now - IN_PROGRESS;
        let is_dead = match parts[..] {
            [series, "base", base, _] => {
                let manifest = format!("{series}/base/{base}/manifest");
                deleted.contains(&manifest) || (is_old && !stock.objects.contains_key(&manifest))
            }
            [series, "wal", segment] => needed.get(series).map_or(is_old, |(first, _)| segment < *first),
            [series, "covered", name] => {
                let at: i64 = name.split('-').next().and_then(|micros| micros.parse().ok()).unwrap_or_default();
                needed.get(series).map_or(is_old, |(_, from)| at < from.as_microsecond())
            }
            _ => false,
        };
        if is_dead {
            backups.delete(&object.path).await?;
            pruned.objects += 1;
            pruned.size_bytes += object.size_bytes;
        }
    }
    Ok(pruned)
}

impl Backups {
    /// Deletes what need not be kept any more.
    ///
    /// # Errors
    /// When the store does not answer. What was deleted is gone, and the next call goes on.
    pub async fn prune(&self, keep: Keep, now: Timestamp) -> Result<Pruned, RecoveryError> {
        prune(self, keep, now).await
    }
}
