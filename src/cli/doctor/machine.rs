//! What the house stands on: disks, and the store of the lake.

use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::body::Bytes;
use granary_db::embedded::Spool;
use granary_tenants::Finding;
use granary_vault::{Objects, VaultError};

use super::fault;
use crate::cli::house::Rooms;

/// Postgres stops when its disk is full; with less than this left somebody must look.
const LEAST_BYTES: u64 = 2 << 30;
/// Of a large disk, this share.
const LEAST_PERCENT: u64 = 5;

/// A server that runs ships the log every minute.
const LATE_LOG: Duration = Duration::from_mins(15);

/// Whether the log that belongs to the last backup is on its way: what waits beside the database is lost with it.
pub(super) fn log(spool: &Spool) -> Option<Finding> {
    match spool.segments() {
        Ok(segments) => late(&segments),
        Err(error) => Some(fault("backup_log", "spool", error.to_string(), "mend the folder: Postgres lays its log there")),
    }
}

fn late(segments: &[(String, PathBuf)]) -> Option<Finding> {
    let ages = segments.iter().filter_map(|(_, path)| path.metadata().ok()?.modified().ok()?.elapsed().ok());
    let oldest = ages.max().filter(|age| *age > LATE_LOG)?;
    let (count, minutes) = (segments.len(), oldest.as_secs() / 60);
    let found =
        format!("{count} pieces of the log wait to be shipped, the oldest for {minutes} minutes: no backup holds what happened since");
    Some(fault("backup_log", "spool", found, "granary backup ship says what is wrong; a server that runs ships every minute"))
}

/// Whether every store of the lake takes, shows and lets go of a file.
pub(super) async fn lake(house: &Rooms) -> Vec<Finding> {
    let objects = house.lake.objects();
    let mut findings = Vec::new();
    for root in objects.roots() {
        let path = format!("{root}/doctor-{}", uuid::Uuid::now_v7());
        if let Err(error) = try_out(objects, &path).await {
            let remedy = "see lake.url, its rights and its disk; granary export verify compares what lies there";
            findings.push(fault("lake_unusable", root, error.to_string(), remedy));
        }
    }
    findings
}

async fn try_out(objects: &Objects, path: &str) -> Result<(), VaultError> {
    let content = Bytes::from_static(b"granary doctor\n");
    objects.put_new(path, content.clone()).await?;
    let read = objects.get(path).await;
    objects.delete(path).await?;
    if read? == content { Ok(()) } else { Err(VaultError::ObjectMissing(path.to_owned())) }
}

/// Whether a disk has room; a place that is not there has other troubles.
pub(super) fn disk(place: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(place).ok()?;
    let (free, whole) = (disk.f_bavail.saturating_mul(disk.f_frsize), disk.f_blocks.saturating_mul(disk.f_frsize));
    let is_short = free < LEAST_BYTES.min(whole / 4) || (free < whole / 100 * LEAST_PERCENT && free < 10 * LEAST_BYTES);
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    is_short.then(|| {
        let found = format!("{} of {} are free", gib(free), gib(whole));
        fault(
            "disk_space",
            place.display().to_string(),
            found,
            "make room, or move the data to a larger disk: Postgres stops on a full one",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_waits_is_found() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("000000010000000000000001");
        let file = std::fs::File::create(&path).unwrap();
        let segments = [("000000010000000000000001".to_owned(), path)];
        assert!(late(&segments).is_none(), "it came just now");
        let now = file.metadata().unwrap().modified().unwrap();
        file.set_modified(now - Duration::from_mins(16)).unwrap();
        assert!(late(&segments).unwrap().found.starts_with("1 pieces of the log wait to be shipped, the oldest for 16 minutes"));
    }

    #[test]
    fn a_place_that_is_not_there_is_no_disk() {
        assert!(disk(Path::new("/nowhere/at/all")).is_none());
    }
}
