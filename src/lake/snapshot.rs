//! What a grant may read at one version: the files, and their opened keys.

use granary_foundation::Boxed;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use granary_tenants::{Granted, MspTx, ReadGrant};
use granary_types::{CustomerCode, CustomerId, MspId};
use granary_vault::{Owner, VaultError, Wrapped};

use crate::lake::Lake;
use crate::manifest::LakeFile;
use crate::store::FileRow;
use crate::{LakeError, file, store};

/// Snapshots that are kept, one a grant: its newest is asked for again and again, and a large one holds thousands of files.
const KEPT: usize = 64;

/// The files of one version that one grant may read. Keys of other customers are not in it.
#[derive(Debug)]
pub struct Snapshot {
    pub msp: MspId,
    pub version: i64,
    /// In the order of dataset, month, part and customer code.
    pub files: Vec<LakeFile>,
}

impl Snapshot {
    /// Returns the files of one dataset.
    pub fn files_of(&self, dataset: &str) -> &[LakeFile] {
        let start = self.files.partition_point(|file| file.dataset.as_str() < dataset);
        let end = self.files.partition_point(|file| file.dataset.as_str() <= dataset);
        &self.files[start..end]
    }
}

/// The last snapshots, by grant and version.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCache(Mutex<VecDeque<(ReadGrant, Arc<Snapshot>)>>);

impl SnapshotCache {
    fn get(&self, grant: &ReadGrant, version: i64) -> Option<Arc<Snapshot>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, snapshot)| of == grant && snapshot.version == version).map(|(_, snapshot)| Arc::clone(snapshot))
    }

    /// Forgets every snapshot: files that they name were deleted.
    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn put(&self, grant: &ReadGrant, snapshot: &Arc<Snapshot>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, _)| of != grant);
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        kept.push_back((grant.clone(), Arc::clone(snapshot)));
    }
}

/// Whose files are asked for, within a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesOf<'a> {
    Everybody,
    /// Those that hold rows of several customers, and what was computed.
    Msp,
    /// Those of customers, of one dataset: there may be very many.
    Customers {
        dataset: &'a str,
    },
}

impl Lake {
    /// Returns the current version of an MSP's lake; zero before the first export.
    ///
    /// # Errors
    /// When the database fails.
    pub fn version<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<i64, LakeError>> {
        Box::pin(async move {
            let tx = self.begin(&self.tenants().get_msp(msp).await?).await?;
            let version = store::find_head(&tx, msp).await?;
            tx.commit().await?;
            Ok(version)
        })
    }

    /// Returns what a grant may read, at a version or at the current one.
    ///
    /// # Errors
    /// When there is no such version, or a key does not open.
    pub fn snapshot<'a>(&'a self, grant: &'a ReadGrant, version: Option<i64>) -> Boxed<'a, Result<Arc<Snapshot>, LakeError>> {
        Box::pin(async move {
            let (tx, version) = self.begin_at(grant.msp, version).await?;
            if let Some(kept) = self.snapshots().get(grant, version) {
                tx.commit().await?;
                return Ok(kept);
            }
            let files = self.open_granted(tx, grant, version, FilesOf::Everybody).await?;
            let snapshot = Arc::new(Snapshot { msp: grant.msp, version, files });
            self.snapshots().put(grant, &snapshot);
            Ok(snapshot)
        })
    }

    /// Returns some of what a grant may read at a version, in the order of a snapshot.
    ///
    /// # Errors
    /// As [`Lake::snapshot`].
    pub fn files_at<'a>(&'a self, grant: &'a ReadGrant, version: i64, of: FilesOf<'a>) -> Boxed<'a, Result<Vec<LakeFile>, LakeError>> {
        Box::pin(async move {
            let (tx, version) = self.begin_at(grant.msp, Some(version)).await?;
            self.open_granted(tx, grant, version, of).await
        })
    }

    /// Begins to read a version that is there, or the current one.
    async fn begin_at(&self, msp: MspId, version: Option<i64>) -> Result<(MspTx, i64), LakeError> {
        let tx = self.begin(&self.tenants().get_msp(msp).await?).await?;
        let head = store::find_head(&tx, msp).await?;
        let version = version.unwrap_or(head);
        if !(0..=head).contains(&version) {
            return Err(LakeError::NoVersion { msp, version });
        }
        if version < head && !store::versions::is_kept(&tx, msp, version).await? {
            return Err(LakeError::VersionGone(version));
        }
        Ok((tx, version))
    }

    /// Reads all rows of a file.
    ///
    /// # Errors
    /// When the object is missing, was tampered with, or was put under another name.
    pub fn read<'a>(&'a self, lake_file: &'a LakeFile) -> Boxed<'a, Result<Vec<RecordBatch>, LakeError>> {
        Box::pin(async move {
            let content = self.objects().get(&lake_file.path).await?;
            let lake_file = lake_file.clone();
            let reading = tokio::task::spawn_blocking(move || {
                let reader = file::open(content, &lake_file.path, &lake_file.key)?;
                Ok(reader.collect::<Result<Vec<_>, _>>()?)
            });
            reading.await.map_err(|_| LakeError::WorkerEnded)?
        })
    }

    async fn open_granted(&self, tx: MspTx, grant: &ReadGrant, version: i64, of: FilesOf<'_>) -> Result<Vec<LakeFile>, LakeError> {
        let customers: Option<Vec<CustomerId>> = match &grant.customers {
            Granted::All => None,
            Granted::Only(customers) => Some(customers.iter().copied().collect()),
        };
        let rows = store::list_files_at(&tx, grant.msp, version, customers.as_deref(), of).await?;
        tx.commit().await?;
        let mut files = Vec::with_capacity(rows.len());
        for row in rows {
            files.extend(self.open_row(grant.msp, row).await?);
        }
        Ok(files)
    }

    /// Opens a file's key; none when its owner's keys were destroyed, for then nobody will ever read it again.
    pub(crate) async fn open_row(&self, msp: MspId, row: FileRow) -> Result<Option<LakeFile>, LakeError> {
        let owner = row.customer.map_or(Owner::Msp(msp), Owner::Customer);
        let wrapped = Wrapped { bytes: row.wrapped_key, key_version: row.key_version };
        let key = match self.keys().unwrap(owner, &wrapped, row.path.as_bytes()).await {
            Ok(key) => key,
            Err(VaultError::KeyDestroyed(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let customer = match (row.customer, row.code) {
            (Some(id), Some(code)) => {
                let code: CustomerCode = code.parse().map_err(|_| LakeError::Manifest(format!("'{code}' is not a customer code")))?;
                Some((id, code))
            }
            _ => None,
        };
        Ok(Some(LakeFile {
            id: row.id,
            customer,
            dataset: row.dataset,
            month: row.month,
            part: row.part,
            path: row.path,
            size_bytes: row.size_bytes.cast_unsigned(),
            footer_bytes: row.footer_bytes.cast_unsigned(),
            row_count: row.row_count.cast_unsigned(),
            statistics: Arc::new(row.statistics),
            sorted_by: row.sorted_by,
            source_hash: row.source_hash,
            key,
        }))
    }
}
