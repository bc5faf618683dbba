//! The lake as the house holds it.

use std::fmt;
use std::sync::Arc;

use granary_tenants::{Actor, Msp, MspScope, MspTx, Tenants};
use granary_types::Dataset;
use granary_vault::{Keys, Objects};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::LakeError;
use crate::snapshot::SnapshotCache;
use crate::step::AtStep;

/// What the lake is called in audit logs.
pub(crate) const ACTOR: Actor = Actor::System("lake");

/// A month whose one file is larger goes out by the day while it still changes.
const DAILY_ABOVE_BYTES: u64 = 64 << 20;
/// What is smaller on Postgres' disk is sorted here, what is larger by Postgres.
const SORTED_HERE_BYTES: u64 = 96 << 20;
/// What the rows of one reading may take in memory at most; then Postgres has to sort them after all.
const SORTING_MOST_BYTES: u64 = 256 << 20;
/// Silos that are read at the same time.
const READERS: usize = 2;
/// Rows that are sorted in memory, of all silos together, as tables on the disk.
const SORTED_AT_ONCE_MIB: usize = 160;

/// What may be set otherwise, for tests and measurements; nothing of it comes from the configuration.
#[derive(Clone)]
pub struct Tuning {
    /// A month whose one file is larger goes out by the day while it still changes.
    pub daily_above_bytes: u64,
    /// Silos that are read at the same time; while one is read, another one's rows may still be encoded.
    pub readers: usize,
    /// What is smaller on Postgres' disk is sorted here, what is larger by Postgres.
    pub sorted_here_bytes: u64,
    /// What the rows of one reading may take in memory at most; then Postgres has to sort them after all.
    pub sorting_most_bytes: u64,
    pub at_step: Option<AtStep>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            daily_above_bytes: DAILY_ABOVE_BYTES,
            readers: READERS,
            sorted_here_bytes: SORTED_HERE_BYTES,
            sorting_most_bytes: SORTING_MOST_BYTES,
            at_step: None,
        }
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuning").field("daily_above_bytes", &self.daily_above_bytes).field("readers", &self.readers).finish_non_exhaustive()
    }
}

/// The lake; clones share everything.
#[derive(Clone)]
pub struct Lake {
    inner: Arc<Inner>,
}

struct Inner {
    tenants: Tenants,
    keys: Keys,
    objects: Objects,
    datasets: Vec<Dataset>,
    snapshots: SnapshotCache,
    tuning: Tuning,
    /// One permit a silo that is read.
    readers: Arc<Semaphore>,
    /// One permit a MiB that is sorted.
    sorting: Arc<Semaphore>,
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("objects", &self.inner.objects).finish_non_exhaustive()
    }
}

impl Lake {
    /// Returns the lake of an installation; `datasets` are those of all rooms.
    pub fn new(tenants: Tenants, keys: Keys, objects: Objects, datasets: Vec<Dataset>) -> Self {
        Self::made(tenants, keys, objects, datasets, Tuning::default())
    }

    fn made(tenants: Tenants, keys: Keys, objects: Objects, datasets: Vec<Dataset>, tuning: Tuning) -> Self {
        let (readers, sorting) = (Arc::new(Semaphore::new(tuning.readers.max(1))), Arc::new(Semaphore::new(SORTED_AT_ONCE_MIB)));
        Self { inner: Arc::new(Inner { tenants, keys, objects, datasets, snapshots: SnapshotCache::default(), tuning, readers, sorting }) }
    }

    /// Returns the same lake with other measures.
    #[must_use]
    pub fn tuned(&self, tuning: Tuning) -> Self {
        let Inner { tenants, keys, objects, datasets, .. } = &*self.inner;
        Self::made(tenants.clone(), keys.clone(), objects.clone(), datasets.clone(), tuning)
    }

    /// Returns every dataset that the lake knows.
    pub fn datasets(&self) -> &[Dataset] {
        &self.inner.datasets
    }

    /// Returns the object store, for readers that fetch ranges on their own.
    pub fn objects(&self) -> &Objects {
        &self.inner.objects
    }

    /// Returns the catalog of MSPs and customers.
    pub fn tenants(&self) -> &Tenants {
        &self.inner.tenants
    }

    /// Returns the keys that seal its files.
    pub fn keys(&self) -> &Keys {
        &self.inner.keys
    }

    pub(crate) fn tuning(&self) -> &Tuning {
        &self.inner.tuning
    }

    /// Waits until one more silo may be read.
    pub(crate) async fn reader(&self) -> Result<OwnedSemaphorePermit, LakeError> {
        Arc::clone(&self.inner.readers).acquire_owned().await.map_err(|_| LakeError::WorkerEnded)
    }

    /// Waits until so much may be sorted in memory.
    pub(crate) async fn room_to_sort(&self, size_bytes: u64) -> Result<OwnedSemaphorePermit, LakeError> {
        let mib = usize::try_from(size_bytes >> 20).unwrap_or(usize::MAX).saturating_add(1).min(SORTED_AT_ONCE_MIB);
        let permits = u32::try_from(mib).unwrap_or(u32::MAX);
        Arc::clone(&self.inner.sorting).acquire_many_owned(permits).await.map_err(|_| LakeError::WorkerEnded)
    }

    pub(crate) fn snapshots(&self) -> &SnapshotCache {
        &self.inner.snapshots
    }

    pub(crate) async fn begin(&self, msp: &Msp) -> Result<MspTx, LakeError> {
        Ok(self.inner.tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?)
    }
}
