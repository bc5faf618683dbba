//! What the manifest says: the files of the lake, before and after they are committed.

use std::sync::Arc;

use granary_tenants::MspTx;
use granary_types::{CustomerCode, CustomerId, FileId, MspId};
use granary_vault::{FileKey, Keys, Objects, Owner, Wrapped};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::file::SealedFile;
use crate::month::Part;
use crate::statistics::FileStatistics;
use crate::{LakeError, store};

/// What the names of an MSP's own files begin with, and those of customers whose region has no store.
pub(crate) const HOME_ROOT: &str = "lake";

/// Whose files: an MSP's, or those of one of its customers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FileOwner {
    pub(crate) msp: MspId,
    pub(crate) customer: Option<CustomerId>,
}

impl FileOwner {
    pub(crate) fn key_owner(self) -> Owner {
        self.customer.map_or(Owner::Msp(self.msp), Owner::Customer)
    }

    pub(crate) fn id(self) -> Uuid {
        self.key_owner().id()
    }

    /// Returns the folder of everything that the owner has under a root, which is its region's or the home's. The two digits in front
    /// spread owners over an object store's partitions.
    pub(crate) fn folder(self, root: &str) -> String {
        let spread = hex::encode(&Sha256::digest(self.id().as_bytes())[..1]);
        format!("{root}/{spread}/{}", self.id())
    }

    /// Names a new object.
    pub(crate) fn new_path(self, root: &str, dataset: &str, part: Part) -> String {
        format!("{}/{dataset}/{part}/{}.parquet", self.folder(root), Uuid::now_v7())
    }
}

/// A file of the current version, as an export compares it.
#[derive(Debug, Clone)]
pub(crate) struct CurrentFile {
    pub(crate) dataset: String,
    pub(crate) part: Part,
    pub(crate) source_hash: Vec<u8>,
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
}

/// A file that exists and is not yet in the manifest.
#[derive(Debug)]
pub(crate) struct NewFile {
    pub(crate) id: FileId,
    pub(crate) dataset: String,
    pub(crate) part: Part,
    pub(crate) path: String,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) row_count: u64,
    pub(crate) statistics: FileStatistics,
    pub(crate) sorted_by: Vec<&'static str>,
    pub(crate) source_hash: [u8; 32],
    pub(crate) wrapped: Wrapped,
}

impl NewFile {
    /// Stores a sealed file and wraps its key for its owner and its name.
    pub(crate) async fn store(
        mut file: SealedFile,
        owner: FileOwner,
        dataset: &str,
        part: Part,
        sorted_by: Vec<&'static str>,
        keys: &Keys,
        objects: &Objects,
    ) -> Result<Self, LakeError> {
        let wrapped = keys.wrap(owner.key_owner(), &file.key, file.path.as_bytes()).await?;
        file.store(objects).await?;
        Ok(Self {
            id: FileId::new(),
            dataset: dataset.to_owned(),
            part,
            path: file.path,
            size_bytes: file.size_bytes,
            footer_bytes: file.footer_bytes,
            row_count: file.row_count,
            statistics: file.statistics,
            sorted_by,
            source_hash: file.source_hash,
            wrapped,
        })
    }
}

/// What one commit adds and removes.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    pub(crate) added: Vec<NewFile>,
    /// Parts whose rows are gone.
    pub(crate) emptied: Vec<(String, Part)>,
}

impl Changes {
    pub(crate) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.emptied.is_empty()
    }

    pub(crate) fn paths(&self) -> Vec<String> {
        self.added.iter().map(|file| file.path.clone()).collect()
    }

    pub(crate) fn rows_added(&self) -> u64 {
        self.added.iter().map(|file| file.row_count).sum()
    }

    /// Makes the changes the MSP's next version, under its head row; the caller commits.
    pub(crate) async fn apply(&self, tx: &MspTx, owner: FileOwner, reason: &str) -> Result<i64, LakeError> {
        let head = store::lock_head(tx, owner.msp).await?;
        if self.is_empty() {
            return Ok(head);
        }
        let version = head + 1;
        let mut replaced: Vec<(String, Part)> = self.added.iter().map(|file| (file.dataset.clone(), file.part)).collect();
        replaced.extend(self.emptied.iter().cloned());
        store::remove_files(tx, owner.msp, version, owner.customer, &replaced).await?;
        store::insert_files(tx, owner.msp, version, owner.customer, &self.added).await?;
        store::insert_version(tx, owner.msp, version, owner.customer, reason).await?;
        Ok(version)
    }
}

/// A file that a grant may read, with its opened key.
#[derive(Debug, Clone)]
pub struct LakeFile {
    pub id: FileId,
    /// Whose rows it holds; none for control data and published rows, which carry `customer_id` themselves.
    pub customer: Option<(CustomerId, CustomerCode)>,
    pub dataset: String,
    /// UTC month, or `all`.
    pub month: String,
    /// The UTC day whose rows it holds, when a large month that still changes lies in one file a day; else empty.
    pub part: String,
    pub path: String,
    pub size_bytes: u64,
    /// How many bytes at the end a reader needs before it can read any row.
    pub footer_bytes: u64,
    pub row_count: u64,
    pub statistics: Arc<FileStatistics>,
    /// The columns by which its rows are in ascending order, nulls last, texts by their bytes; empty when nobody can say.
    pub sorted_by: Vec<String>,
    /// SHA-256 over the schema and the order-independent checksum of the rows.
    pub source_hash: Vec<u8>,
    pub key: FileKey,
}
