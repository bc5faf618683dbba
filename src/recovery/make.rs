//! Making a backup.

use std::time::{Duration, Instant};

use granary_db::embedded::Spool;
use granary_db::{BaseBackup, Included, OwnerConnection};
use granary_foundation::config::S3Config;
use granary_foundation::{Boxed, Secret, SharedProgress};
use granary_vault::{BackupKey, MasterKey};
use jiff::Timestamp;
use serde::Serialize;

use crate::manifest::{Kept, Outline};
use crate::place::{Backups, base_folder, new_name};
use crate::prune::{Keep, Pruned, prune};
use crate::ship::{Purpose, Shipped, Shipping, ship};
use crate::store::ServerFacts;
use crate::{RecoveryError, golden, parts, store};

/// How long another backup is waited for that is about to end.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a backup is made of, and where it goes.
#[derive(Debug)]
pub struct Making<'a> {
    /// How the owner connects.
    pub url: &'a Secret,
    /// Where our own server lays its log; none of a server that is somebody else's.
    pub spool: Option<&'a Spool>,
    pub to: &'a Backups,
    pub s3: &'a S3Config,
    pub master: &'a MasterKey,
    pub lake_url: String,
    /// The description of a demo.
    pub demo: Option<String>,
    /// Clusters of silos, which are not in it.
    pub not_covered: Vec<String>,
    /// For how many days backups are kept; older ones go when this one is complete.
    pub keep_days: u32,
    pub progress: &'a SharedProgress,
}

/// A backup that is complete.
#[derive(Debug, Clone, Serialize)]
pub struct Made {
    pub base: String,
    pub postgres: u32,
    pub schema_version: i32,
    /// Every instant from here …
    pub from_at: Timestamp,
    /// … up to here can be restored.
    pub until_at: Timestamp,
    /// Before compression.
    pub bytes: u64,
    pub size_bytes: u64,
    pub wal_segments: usize,
    pub wal_size_bytes: u64,
    pub seconds: f64,
    /// Whether there are sums that a restored house is compared with.
    pub has_golden_sums: bool,
    pub not_covered: Vec<String>,
    pub pruned: Pruned,
}

/// Makes a backup. Killed anywhere, what it left is none, and goes when the next one is made.
///
/// # Errors
/// When the server refuses or does not answer, or the store does not take it.
pub fn make<'a>(making: &'a Making<'a>) -> Boxed<'a, Result<Made, RecoveryError>> {
    Box::pin(async move {
        let begun = Instant::now();
        let owner = OwnerConnection::connect(making.url).await?;
        let (user, may_replicate) = store::may_replicate(&owner).await?;
        if !may_replicate {
            return Err(RecoveryError::NotAllowed { user, why: String::new() });
        }
        let facts = store::find_server(&owner).await?.ok_or(RecoveryError::NoHouse)?;
        if making.spool.is_some() && !facts.is_archiving {
            return Err(RecoveryError::NotArchiving);
        }
        lock(&owner).await?;
        making.to.claim(facts.installation).await?;
        let series = making.series(facts.now)?;
        remove_leftovers(making.to, &series).await?;
        store::forget_old_rows(&owner).await?;
        let key = making.master.new_backup_key(store::find_master(&owner).await?).await?;
        let made = making.base(&owner, &facts, series, &key).await.map_err(|error| making.explained(error, &user))?;
        // A day earlier than promised, because the next look may be a night away.
        let keep = Keep::Days(making.keep_days.saturating_sub(1));
        let pruned = prune(making.to, keep, store::now(&owner).await?).await?;
        Ok(Made { seconds: (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0, pruned, ..made })
    })
}

impl Making<'_> {
    /// Goes on with the series of this server's log, or begins one.
    fn series(&self, now: Timestamp) -> Result<String, RecoveryError> {
        let Some(spool) = self.spool else { return Ok(new_name(now)) };
        if let Some(purpose) = Purpose::of(spool)?
            && purpose.url == self.to.url()
        {
            return Ok(purpose.series);
        }
        let purpose = Purpose { url: self.to.url().to_owned(), series: new_name(now) };
        purpose.begin(spool)?;
        Ok(purpose.series)
    }

    async fn base(&self, owner: &OwnerConnection, facts: &ServerFacts, series: String, key: &BackupKey) -> Result<Made, RecoveryError> {
        let base = new_name(facts.now);
        let folder = base_folder(&series, &base);
        self.progress.begin("copying the database, MiB", 0);
        let included = if self.spool.is_some() { Included::Nothing } else { Included::Log };
        let backup = BaseBackup::begin(self.url, included)?;
        let stored = parts::store(backup, self.to, &folder, key, self.progress.as_ref()).await?;
        self.progress.end();
        let from_at = store::now(owner).await?;
        let kept = self.kept(facts).await?;
        let shipped = self.ship().await?;
        let first_segment = match (&shipped, stored.first_segment) {
            (Some(_), None) => return Err(RecoveryError::Packing("the base does not say where it begins".to_owned())),
            (Some(_), first) => first,
            (None, _) => None,
        };
        let path = format!("{folder}/manifest");
        let outline = Outline {
            installation: facts.installation,
            series,
            base,
            schema_version: facts.schema_version,
            postgres: u32::try_from(facts.major).unwrap_or_default(),
            started_at: facts.now,
            from_at,
            first_segment,
            segment_bytes: u64::try_from(facts.segment_bytes).unwrap_or_default(),
            parts: stored.parts,
            not_covered: self.not_covered.clone(),
        };
        let manifest = outline.seal(&path, &kept, key)?;
        self.to.put_plain(&path, manifest.encode(key)?).await?;
        Ok(Made {
            size_bytes: manifest.size_bytes(),
            base: manifest.base,
            postgres: manifest.postgres,
            schema_version: manifest.schema_version,
            from_at,
            until_at: shipped.as_ref().and_then(|shipped| shipped.until_at).unwrap_or(from_at),
            bytes: stored.bytes,
            wal_segments: shipped.as_ref().map_or(0, |shipped| shipped.segments),
            wal_size_bytes: shipped.as_ref().map_or(0, |shipped| shipped.size_bytes),
            seconds: 0.0,
            has_golden_sums: kept.golden_at.is_some(),
            not_covered: manifest.not_covered,
            pruned: Pruned::default(),
        })
    }

    async fn ship(&self) -> Result<Option<Shipped>, RecoveryError> {
        let Some(spool) = self.spool else { return Ok(None) };
        self.progress.begin("shipping the log", 0);
        let shipped = ship(&Shipping { url: self.url, spool, s3: self.s3, master: self.master, since: None }).await?;
        self.progress.end();
        Ok(shipped)
    }

    async fn kept(&self, facts: &ServerFacts) -> Result<Kept, RecoveryError> {
        // The log of another server ends with the base: no instant behind it can be restored, and none before it is still.
        let golden = if self.spool.is_some() { golden::take(self.url).await? } else { None };
        let (golden_at, golden) = golden.map_or((None, Vec::new()), |(at, lines)| (Some(at), lines));
        Ok(Kept {
            superuser: facts.superuser.clone(),
            database: facts.database.clone(),
            is_embedded: self.spool.is_some(),
            lake_url: self.lake_url.clone(),
            demo: self.demo.clone(),
            golden_at,
            golden,
        })
    }

    /// A server that is somebody else's may have its own mind about who copies it.
    fn explained(&self, error: RecoveryError, user: &str) -> RecoveryError {
        match error {
            RecoveryError::Database(error) if self.spool.is_none() => {
                RecoveryError::NotAllowed { user: user.to_owned(), why: format!(" ({error})") }
            }
            error => error,
        }
    }
}

async fn lock(owner: &OwnerConnection) -> Result<(), RecoveryError> {
    let deadline = Instant::now() + PATIENCE;
    while !store::try_lock(owner).await? {
        if Instant::now() > deadline {
            return Err(RecoveryError::Busy);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Removes the pieces of bases that were never completed; nobody else works on this series.
async fn remove_leftovers(to: &Backups, series: &str) -> Result<(), RecoveryError> {
    let stock = to.stock().await?;
    let prefix = format!("{series}/base/");
    for path in stock.objects.keys().filter(|path| path.starts_with(&prefix)) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !stock.objects.contains_key(&format!("{folder}/manifest")) {
            to.delete(path).await?;
        }
    }
    Ok(())
}
