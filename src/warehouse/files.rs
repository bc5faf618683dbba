//! The files of a session, dataset by dataset. Those of customers are many, a file a customer, dataset and month: they are listed, and
//! their keys opened, when a dataset is read for the first time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use datafusion::error::{DataFusionError, Result};
use granary_lake::{FilesOf, Lake, LakeError};
use granary_tenants::ReadGrant;
use granary_types::Source;
use tokio::sync::OnceCell;

use crate::keys::SessionKeys;
use crate::table::TableFile;

/// The files of customers of one version, as one grant may read them.
pub(crate) struct CustomerFiles {
    lake: Lake,
    grant: ReadGrant,
    version: i64,
    keys: Arc<SessionKeys>,
    by_dataset: HashMap<&'static str, OnceCell<Arc<[TableFile]>>>,
}

impl fmt::Debug for CustomerFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerFiles(version {})", self.version)
    }
}

impl CustomerFiles {
    /// Prepares; the keys of what is listed are added to `keys`.
    pub(crate) fn new(lake: &Lake, grant: &ReadGrant, version: i64, keys: &Arc<SessionKeys>) -> Arc<Self> {
        let datasets = lake.datasets().iter().filter(|dataset| dataset.source == Source::Tenant);
        let by_dataset = datasets.map(|dataset| (dataset.name, OnceCell::new())).collect();
        Arc::new(Self { lake: lake.clone(), grant: grant.clone(), version, keys: Arc::clone(keys), by_dataset })
    }

    /// Lists the files of a dataset, once.
    async fn list(&self, dataset: &str) -> Result<Arc<[TableFile]>> {
        let Some(cell) = self.by_dataset.get(dataset) else { return Ok(Arc::default()) };
        let list = || async {
            let files = self.lake.files_at(&self.grant, self.version, FilesOf::Customers { dataset }).await?;
            self.keys.add(&files)?;
            Ok(files.iter().map(TableFile::of).collect())
        };
        let listed: Result<&Arc<[TableFile]>, LakeError> = cell.get_or_try_init(list).await;
        listed.map(Arc::clone).map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

/// The files of one dataset.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    Known(Arc<[TableFile]>),
    /// Listed when they are read.
    Listed(Arc<CustomerFiles>, &'static str),
}

impl Files {
    /// Returns them.
    pub(crate) async fn get(&self) -> Result<Arc<[TableFile]>> {
        match self {
            Self::Known(files) => Ok(Arc::clone(files)),
            Self::Listed(files, dataset) => files.list(dataset).await,
        }
    }
}
