//! Files that no manifest names, sealed as those are that one does: for measuring and testing what reads them.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use granary_foundation::Boxed;
use granary_foundation::config::S3Config;
use granary_types::{CustomerCode, CustomerId, FileId};
use granary_vault::Objects;
use object_store::ObjectStore;
use tokio::runtime::Handle;

use crate::checksum::Checksum;
use crate::file::SealedWriter;
use crate::{LakeError, LakeFile};

/// A folder of such files.
#[derive(Debug)]
pub struct LooseFiles {
    objects: Objects,
}

impl LooseFiles {
    /// Opens a folder; it is made.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn open(folder: &Path) -> Result<Self, LakeError> {
        Ok(Self { objects: Objects::open(&format!("file://{}", folder.display()), &S3Config::default())? })
    }

    /// Returns the folder as the store that readers take.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        self.objects.store()
    }

    /// Seals the rows of one customer and month under a name.
    ///
    /// # Errors
    /// When a row does not have the schema, or the folder cannot be written.
    pub fn seal<'a>(
        &'a self,
        path: &'a str,
        dataset: &'a str,
        (customer, month): ((CustomerId, CustomerCode), &'a str),
        schema: SchemaRef,
        batches: Vec<RecordBatch>,
    ) -> Boxed<'a, Result<LakeFile, LakeError>> {
        Box::pin(async move {
            let (name, objects, runtime) = (path.to_owned(), self.objects.clone(), Handle::current());
            let encoding = tokio::task::spawn_blocking(move || {
                let empty = RecordBatch::new_empty(schema);
                let mut writer = SealedWriter::create(name, batches.first().unwrap_or(&empty), objects, runtime)?;
                let mut checksum = Checksum::default();
                for batch in &batches {
                    checksum.add(batch)?;
                    writer.write(batch)?;
                }
                writer.finish(&checksum)
            });
            let mut file = encoding.await.map_err(|_| LakeError::WorkerEnded)??;
            file.store(&self.objects).await?;
            Ok(LakeFile {
                id: FileId::new(),
                customer: Some(customer),
                dataset: dataset.to_owned(),
                month: month.to_owned(),
                part: String::new(),
                path: file.path,
                size_bytes: file.size_bytes,
                footer_bytes: file.footer_bytes,
                row_count: file.row_count,
                statistics: Arc::new(file.statistics),
                sorted_by: Vec::new(),
                source_hash: file.source_hash.to_vec(),
                key: file.key,
            })
        })
    }
}
