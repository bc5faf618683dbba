//! Sessions over files that no manifest names, for measuring the engine.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::config::EncryptionFactoryOptions;
use datafusion::common::not_impl_err;
use datafusion::error::Result;
use datafusion::execution::parquet_encryption::EncryptionFactory;
use datafusion::parquet::encryption::decrypt::FileDecryptionProperties;
use datafusion::parquet::encryption::encrypt::FileEncryptionProperties;
use granary_foundation::Boxed;
use granary_lake::LakeFile;
use granary_tenants::{Granted, ReadGrant};
use granary_types::{Dataset, MspId, Role};
use object_store::ObjectStore;
use object_store::path::Path;

use crate::catalog::{Blueprint, session_context};
use crate::footers::FooterMemory;
use crate::warehouse::contents_of_files;
use crate::{Budget, Models, Session, WarehouseError, runtime};

/// Whether files are sealed, as all of the lake are, or lie open beside them for comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    Sealed,
    Open,
}

impl Session {
    /// Opens a session that sees all rows of some files and no model.
    ///
    /// # Errors
    /// When the engine cannot start.
    pub fn over<'a>(
        store: Arc<dyn ObjectStore>,
        datasets: &'a [Dataset],
        files: &'a [LakeFile],
        seal: Seal,
        budget: Budget,
    ) -> Boxed<'a, std::result::Result<Self, WarehouseError>> {
        Box::pin(async move {
            let engine = runtime::shared(&budget, store).map_err(WarehouseError::Engine)?;
            let models = Models::from_files(std::iter::empty())?;
            let mut contents = contents_of_files(files, &FooterMemory::new(budget.footer_bytes))?;
            if seal == Seal::Open {
                contents.keys = Arc::new(NoKeys);
            }
            let grant = ReadGrant { msp: MspId::new(), customers: Granted::All, role: Role::MspAdmin, can_read_billing: false };
            let blueprint = Blueprint { engine: &engine, budget: &budget, datasets, models: &models, contents: &contents, only: None };
            let context = session_context(&blueprint, &HashMap::new(), &grant).await?;
            Ok(Self::new(context, 0, &engine, budget.clone()))
        })
    }
}

/// Opens files that are not sealed.
#[derive(Debug)]
struct NoKeys;

#[async_trait]
impl EncryptionFactory for NoKeys {
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
        _: &Path,
    ) -> Result<Option<Arc<FileDecryptionProperties>>> {
        Ok(None)
    }
}
