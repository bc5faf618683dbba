//! The keys of one session: the second fence around a tenant.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::EncryptionFactoryOptions;
use datafusion::common::{exec_err, not_impl_err};
use datafusion::error::Result;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::parquet::encryption::decrypt::FileDecryptionProperties;
use datafusion::parquet::encryption::encrypt::FileEncryptionProperties;
use object_store::path::Path;

/// Opens the files of one snapshot: one key per file, bound to the file's path.
///
/// A file outside the grant has no key here, and a file under another file's name does not open with its own.
#[derive(Default)]
pub(crate) struct SessionKeys(HashMap<String, Arc<FileDecryptionProperties>>);

impl SessionKeys {
    /// Takes what opens each file, by path.
    pub(crate) fn new(files: HashMap<String, Arc<FileDecryptionProperties>>) -> Self {
        Self(files)
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({} files)", self.0.len())
    }
}

#[async_trait]
impl EncryptionFactory for SessionKeys {
    async fn get_file_encryption_properties(
        &self,
        _: &EncryptionFactoryOptions,
        _: &SchemaRef,
        _: &Path,
    ) -> Result<Option<Arc<FileEncryptionProperties>>> {
        not_impl_err!("the warehouse does not write files")
    }

    async fn get_file_decryption_properties(
        &self,
        _: &EncryptionFactoryOptions,
        path: &Path,
    ) -> Result<Option<Arc<FileDecryptionProperties>>> {
        match self.0.get(path.as_ref()) {
            Some(opened) => Ok(Some(Arc::clone(opened))),
            None => exec_err!("this session holds no key for {path}"),
        }
    }
}
