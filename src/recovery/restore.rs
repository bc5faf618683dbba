//! The way back: a data directory made from a backup, at an instant.

use std::fs;
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Instant;

use granary_db::embedded::{Origin, Recovered, Restoration};
use granary_foundation::{Boxed, SharedProgress};
use granary_vault::MasterKey;
use jiff::Timestamp;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::RecoveryError;
use crate::manifest::{Kept, Part};
use crate::parts::{self, Joiner};
use crate::place::{Backups, Base, OpenedKeys, Stock, base_folder, covered_path, segment_path, segments_between};

/// Stands in a data directory as long as its restoration is not finished.
pub const UNFINISHED: &str = "restore.unfinished";

/// What is restored, and into what.
#[derive(Debug)]
pub struct Restoring<'a> {
    pub from: &'a Backups,
    /// Everything that was committed at this instant or before it; none: the last one that is covered.
    pub at: Option<Timestamp>,
    /// New, or empty but for `keys/master`.
    pub data_dir: &'a Path,
    pub master: &'a MasterKey,
    /// The file that the master was read from, when it is not in the data directory yet.
    pub master_file: Option<&'a Path>,
    /// Where the lake lies according to the configuration; none: in the data directory.
    pub lake_url: Option<&'a str>,
    pub progress: &'a SharedProgress,
}

/// A data directory that any command opens.
#[derive(Debug, Serialize)]
pub struct Restored {
    pub base: String,
    pub at: Timestamp,
    pub postgres: u32,
    pub schema_version: i32,
    /// What was fetched from the store.
    pub size_bytes: u64,
    pub wal_segments: usize,
    pub seconds: f64,
    /// Where the files of the lake are expected.
    pub lake_url: String,
    /// Whether the lake was found there; nobody looks at what lies elsewhere than on this machine.
    pub is_lake_there: Option<bool>,
    pub not_covered: Vec<String>,
    #[serde(skip)]
    pub kept: Kept,
    #[serde(skip)]
    pub cluster: Recovered,
}

/// What a restoration needs from the store.
struct Needed<'a> {
    base: &'a Base,
    at: Timestamp,
    /// The log, in order; none when the base brings it.
    segments: Option<Vec<String>>,
}

/// Restores a house. Killed anywhere, the same call begins anew.
///
/// # Errors
/// When no backup covers the instant, something of it is missing or was changed (which is named), or Postgres does not come up.
pub fn restore<'a>(restoring: &'a Restoring<'a>) -> Boxed<'a, Result<Restored, RecoveryError>> {
    Box::pin(async move {
        let begun = Instant::now();
        let stock = restoring.from.stock().await?;
        let needed = choose(restoring.from, &stock, restoring.at)?;
        let kept = needed.base.open(restoring.master).await?;
        check(&stock, &needed)?;
        let _possession = prepare(restoring.data_dir)?;
        let (restoration, size_bytes) = restoring.unpack(&needed).await?;
        // Postgres reads it before it knows the names of time zones.
        let until = needed.segments.is_some().then(|| needed.at.to_string().replace('Z', "+00"));
        let origin = Origin { superuser: kept.superuser.clone(), database: kept.database.clone(), is_embedded: kept.is_embedded };
        restoring.progress.begin("recovering", 0);
        let cluster = restoration.recover(until.as_deref(), &origin).await?;
        restoring.progress.end();
        let (lake_url, is_lake_there) = restoring.lay_out(&kept)?;
        let manifest = &needed.base.manifest;
        Ok(Restored {
            base: manifest.base.clone(),
            at: needed.at,
            postgres: manifest.postgres,
            schema_version: manifest.schema_version,
            size_bytes,
            wal_segments: needed.segments.as_ref().map_or(0, Vec::len),
            seconds: (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
            lake_url,
            is_lake_there,
            not_covered: manifest.not_covered.clone(),
            kept,
            cluster,
        })
    })
}

/// Finds the newest base from which an instant can be reached, and the log that leads there.
fn choose<'a>(from: &Backups, stock: &'a Stock, at: Option<Timestamp>) -> Result<Needed<'a>, RecoveryError> {
    // Postgres knows microseconds.
    let at = at.and_then(|at| Timestamp::from_microsecond(at.as_microsecond()).ok());
    let latest = stock.bases.iter().map(|base| base.until_at).max();
    let none = || match stock.damaged.first() {
        Some((path, _)) => RecoveryError::damaged(path, "is no manifest, or was cut off"),
        None => RecoveryError::NoBackup(from.url().to_owned()),
    };
    let at = match (at, latest) {
        (_, None) => return Err(none()),
        (Some(at), Some(_)) => at,
        (None, Some(latest)) => latest,
    };
    let Some(base) = stock.bases.iter().rfind(|base| base.covers(at)) else {
        if !stock.damaged.is_empty() {
            return Err(none());
        }
        let spans = stock.bases.iter().map(|base| format!("{} to {}", base.manifest.from_at, base.until_at));
        return Err(RecoveryError::NotCovered { at, covered: spans.collect::<Vec<_>>().join(", ") });
    };
    let segments = match &base.manifest.first_segment {
        None => None,
        Some(first) => {
            let (covered_at, last) = base.covered.range(at..).next().ok_or_else(none)?;
            let series = &base.manifest.series;
            let named = segments_between(first, last, base.manifest.segment_bytes);
            Some(
                named
                    .filter(|found| !found.is_empty())
                    .ok_or_else(|| RecoveryError::damaged(&covered_path(series, *covered_at, last), "names no segment of this log"))?,
            )
        }
    };
    Ok(Needed { base, at, segments })
}

/// Everything must be there, in its size, before anything is fetched.
fn check(stock: &Stock, needed: &Needed<'_>) -> Result<(), RecoveryError> {
    let manifest = &needed.base.manifest;
    let folder = base_folder(&manifest.series, &manifest.base);
    for part in &manifest.parts {
        let path = format!("{folder}/{}", part.name);
        match stock.objects.get(&path) {
            None => return Err(RecoveryError::damaged(&path, "is missing")),
            Some(found) if found.size_bytes != part.size_bytes => return Err(RecoveryError::damaged(&path, "has another size")),
            Some(_) => {}
        }
    }
    let paths = needed.segments.iter().flatten().map(|segment| segment_path(&manifest.series, segment));
    match paths.into_iter().find(|path| !stock.objects.contains_key(path)) {
        Some(path) => Err(RecoveryError::damaged(&path, "is missing")),
        None => Ok(()),
    }
}

/// Takes possession of a data directory, as long as the file is held: a new one, or one in which an earlier call was killed.
fn prepare(data_dir: &Path) -> Result<fs::File, RecoveryError> {
    fs::create_dir_all(data_dir).map_err(RecoveryError::file("make", data_dir))?;
    let mark = data_dir.join(UNFINISHED);
    let names = |folder: &Path| -> Result<Vec<PathBuf>, RecoveryError> {
        let entries = fs::read_dir(folder).map_err(RecoveryError::file("read", folder))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    };
    let (keys, master) = (data_dir.join("keys"), data_dir.join("keys/master"));
    if mark.exists() {
        let possession = possess(&mark)?;
        for path in names(data_dir)?.into_iter().filter(|path| *path != mark && *path != keys) {
            // A cluster that still runs there is ended, and removed, by the one who knows how.
            if path != data_dir.join("postgres") {
                remove(&path)?;
            }
        }
        return Ok(possession);
    }
    let is_new = names(data_dir)?.iter().all(|path| *path == keys) && (!keys.exists() || names(&keys)?.iter().all(|path| *path == master));
    if !is_new {
        return Err(RecoveryError::NotEmpty(data_dir.to_owned()));
    }
    possess(&mark)
}

/// One restoration at a time; the lock ends with its process.
fn possess(mark: &Path) -> Result<fs::File, RecoveryError> {
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(mark).map_err(RecoveryError::file("open", mark))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(RecoveryError::Restoring(mark.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(RecoveryError::file("lock", mark)(error)),
    }
}

fn remove(path: &Path) -> Result<(), RecoveryError> {
    let is_folder = fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    let removed = if is_folder { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(RecoveryError::file("remove", path))
}

impl Restoring<'_> {
    /// Fetches base and log. No server is started before everything has been compared with its digest and opened.
    async fn unpack(&self, needed: &Needed<'_>) -> Result<(Restoration, u64), RecoveryError> {
        let manifest = &needed.base.manifest;
        let restoration = Restoration::begin(self.data_dir, manifest.postgres)?;
        let folder = base_folder(&manifest.series, &manifest.base);
        let mut keys = OpenedKeys::new(self.master);
        let mut size_bytes = 0;
        self.progress.begin("fetching the base", manifest.parts.len() as u64);
        let joiner = Joiner::begin(restoration.unpack()?).map_err(|error| RecoveryError::Packing(error.to_string()))?;
        for part in &manifest.parts {
            let path = format!("{folder}/{}", part.name);
            joiner.push(self.piece(&path, part, &mut keys).await?).await;
            size_bytes += part.size_bytes;
            self.progress.advance(1);
        }
        joiner.finish().await?.finish()?;
        self.progress.end();
        let segments = needed.segments.as_deref().unwrap_or_default();
        if let Some(covered) = needed.base.covered.range(needed.at..).next() {
            let path = covered_path(&manifest.series, *covered.0, covered.1);
            self.from.open_object(&path, &self.from.get(&path).await?, &mut keys).await?;
        }
        self.progress.begin("fetching the log", segments.len() as u64);
        for segment in segments {
            let path = segment_path(&manifest.series, segment);
            let content = self.from.get(&path).await?;
            let packed = self.from.open_object(&path, &content, &mut keys).await?;
            let bytes = usize::try_from(manifest.segment_bytes).unwrap_or_default();
            restoration.put_segment(segment, &parts::decompress(&packed, bytes)?)?;
            size_bytes += content.len() as u64;
            self.progress.advance(1);
        }
        self.progress.end();
        Ok((restoration, size_bytes))
    }

    async fn piece(&self, path: &str, part: &Part, keys: &mut OpenedKeys<'_>) -> Result<Vec<u8>, RecoveryError> {
        let content = self.from.get(path).await?;
        if hex::encode(Sha256::digest(&content)) != part.sha256 {
            return Err(RecoveryError::damaged(path, "is not what was stored: it has another digest"));
        }
        self.from.open_object(path, &content, keys).await
    }

    /// Puts beside the cluster what else a data directory has, and finishes.
    fn lay_out(&self, kept: &Kept) -> Result<(String, Option<bool>), RecoveryError> {
        let keys = self.data_dir.join("keys");
        fs::create_dir_all(&keys).map_err(RecoveryError::file("make", &keys))?;
        if let Some(from) = self.master_file {
            let to = keys.join("master");
            let text = fs::read(from).map_err(RecoveryError::file("read", from))?;
            let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&to);
            file.and_then(|mut file| std::io::Write::write_all(&mut file, &text).and_then(|()| file.sync_all()))
                .map_err(RecoveryError::file("write", &to))?;
        }
        if let Some(demo) = &kept.demo {
            let path = self.data_dir.join("demo.json");
            fs::write(&path, demo).map_err(RecoveryError::file("write", path))?;
        }
        let lake = match self.lake_url {
            Some(url) => (url.to_owned(), url.strip_prefix("file://").map(|path| Path::new(path).is_dir())),
            None => self.link_lake(&kept.lake_url)?,
        };
        let mark = self.data_dir.join(UNFINISHED);
        fs::remove_file(&mark).map_err(RecoveryError::file("remove", mark))?;
        Ok(lake)
    }

    /// A lake that lay in the data directory stays there, and the new one leads to it.
    fn link_lake(&self, url: &str) -> Result<(String, Option<bool>), RecoveryError> {
        let Some(path) = url.strip_prefix("file://").map(Path::new) else { return Ok((url.to_owned(), None)) };
        let link = self.data_dir.join("lake");
        if !path.is_dir() || path.starts_with(self.data_dir) {
            return Ok((url.to_owned(), Some(false)));
        }
        symlink(path, &link).map_err(RecoveryError::file("link the lake to", link))?;
        Ok((url.to_owned(), Some(true)))
    }
}
