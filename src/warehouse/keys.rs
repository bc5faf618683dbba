//! The keys of one session: the second fence around a tenant.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::EncryptionFactoryOptions;
use datafusion::common::{exec_err, not_impl_err};
use datafusion::error::Result;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::parquet::encryption::decrypt::FileDecryptionProperties;
use datafusion::parquet::encryption::encrypt::FileEncryptionProperties;
use granary_lake::{LakeError, LakeFile};
use object_store::path::Path;

/// Opens the files of one snapshot: one key per file, bound to the file's path.
///
/// A file outside the grant has no key here, and a file under another file's name does not open with its own.
#[derive(Default)]
pub(crate) struct SessionKeys(RwLock<Opened>);

type Opened = HashMap<String, Arc<FileDecryptionProperties>>;

impl SessionKeys {
    /// Takes what opens each file, by path.
    #[cfg(test)]
    pub(crate) fn new(files: Opened) -> Self {
        Self(RwLock::new(files))
    }

    /// Adds what opens files of the grant.
    pub(crate) fn add(&self, files: &[LakeFile]) -> Result<(), LakeError> {
        let opened = files.iter().map(|file| Ok((file.path.clone(), granary_lake::decryption(&file.path, &file.key)?)));
        let opened: Vec<_> = opened.collect::<Result<_, LakeError>>()?;
        self.0.write().unwrap_or_else(PoisonError::into_inner).extend(opened);
        Ok(())
    }

    fn opened(&self) -> std::sync::RwLockReadGuard<'_, Opened> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SessionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKeys({} files)", self.opened().len())
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
        match self.opened().get(path.as_ref()).map(Arc::clone) {
            Some(opened) => Ok(Some(opened)),
            None => exec_err!("this session holds no key for {path}"),
        }
    }
}
