//! What the processes of one house have in common: its keys and its lake.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use granary_lake::{Lake, LakeError, Snapshot};
use granary_tenants::ReadGrant;

use crate::catalog::Contents;
use crate::warehouse::contents_of;

/// Snapshots whose keys stay opened.
const KEPT: usize = 16;

/// What a grant may read at one version: paths, and what opens them.
pub(crate) struct Opened {
    pub(super) keys: Arc<dyn EncryptionFactory>,
    /// The bytes at the end of each file that say what is in it.
    pub(super) footers: HashMap<String, usize>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({} files)", self.footers.len())
    }
}

impl From<Contents> for Opened {
    fn from(contents: Contents) -> Self {
        let files = contents.files.into_values().flatten();
        Self { keys: contents.keys, footers: files.map(|file| (file.path, file.footer_bytes)).collect() }
    }
}

/// The house, as coordinator and executor both know it.
#[async_trait]
pub(crate) trait House: Send + Sync {
    /// Returns a digest that only this house makes.
    async fn vouch(&self, message: &[u8]) -> Result<[u8; 32], LakeError>;

    /// Opens what a grant may read at one version.
    async fn open(&self, grant: &ReadGrant, version: i64) -> Result<Arc<Opened>, LakeError>;
}

/// The house of a lake.
pub(crate) struct LakeHouse {
    lake: Lake,
    kept: Mutex<Vec<(Arc<Snapshot>, Arc<Opened>)>>,
}

impl LakeHouse {
    pub(crate) fn new(lake: Lake) -> Self {
        Self { lake, kept: Mutex::default() }
    }
}

#[async_trait]
impl House for LakeHouse {
    async fn vouch(&self, message: &[u8]) -> Result<[u8; 32], LakeError> {
        self.lake.vouch(message).await
    }

    async fn open(&self, grant: &ReadGrant, version: i64) -> Result<Arc<Opened>, LakeError> {
        // The lake decides each time whether the version is there, and hands out the same snapshot while nothing was erased.
        let snapshot = self.lake.snapshot(grant, Some(version)).await?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, opened)) = kept.iter().find(|(of, _)| Arc::ptr_eq(of, &snapshot)) {
            return Ok(Arc::clone(opened));
        }
        let opened = Arc::new(Opened::from(contents_of(&snapshot)?));
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((snapshot, Arc::clone(&opened)));
        Ok(opened)
    }
}
