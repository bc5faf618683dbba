//! The lake as the house holds it.

use std::fmt;
use std::sync::Arc;

use granary_tenants::{Actor, Msp, MspScope, MspTx, Tenants};
use granary_types::Dataset;
use granary_vault::{Keys, Objects};

use crate::LakeError;
use crate::snapshot::SnapshotCache;

/// What the lake is called in audit logs.
pub(crate) const ACTOR: Actor = Actor::System("lake");

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
}

impl fmt::Debug for Lake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lake").field("objects", &self.inner.objects).finish_non_exhaustive()
    }
}

impl Lake {
    /// Returns the lake of an installation; `datasets` are those of all rooms.
    pub fn new(tenants: Tenants, keys: Keys, objects: Objects, datasets: Vec<Dataset>) -> Self {
        Self { inner: Arc::new(Inner { tenants, keys, objects, datasets, snapshots: SnapshotCache::default() }) }
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

    pub(crate) fn snapshots(&self) -> &SnapshotCache {
        &self.inner.snapshots
    }

    pub(crate) async fn begin(&self, msp: &Msp) -> Result<MspTx, LakeError> {
        Ok(self.inner.tenants.begin_msp(&MspScope::for_job(msp.clone(), ACTOR)).await?)
    }
}
