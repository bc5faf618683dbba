//! One store over several: what belongs to a region lies in the region's own store.
//!
//! The first part of a name decides: `lake-eu/…` is in the store of `eu` when there is one, everything else at home.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};

/// What the names of a region's objects begin with.
pub(crate) fn root_of(region: &str) -> String {
    format!("{HOME}-{region}")
}

/// What the names of all other objects begin with.
pub(crate) const HOME: &str = "lake";

/// The home store, and those of regions by the first part of their objects' names.
#[derive(Debug, Clone)]
pub(crate) struct Regions {
    home: Arc<dyn ObjectStore>,
    others: Arc<BTreeMap<String, Arc<dyn ObjectStore>>>,
}

impl Regions {
    pub(crate) fn new(home: Arc<dyn ObjectStore>, others: BTreeMap<String, Arc<dyn ObjectStore>>) -> Self {
        Self { home, others: Arc::new(others) }
    }

    fn of(&self, location: &Path) -> &Arc<dyn ObjectStore> {
        location.parts().next().and_then(|root| self.others.get(root.as_ref())).unwrap_or(&self.home)
    }

    fn one_of(&self, from: &Path, to: &Path) -> Result<&Arc<dyn ObjectStore>> {
        if Arc::ptr_eq(self.of(from), self.of(to)) {
            return Ok(self.of(from));
        }
        Err(Error::NotSupported { source: format!("{from} and {to} lie in the stores of two regions").into() })
    }
}

impl fmt::Display for Regions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} and the stores of {} regions", self.home, self.others.len())
    }
}

#[async_trait]
impl ObjectStore for Regions {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.of(location).put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(&self, location: &Path, options: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.of(location).put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.of(location).get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.of(location).get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let stores = self.clone();
        locations
            .and_then(move |location| {
                let store = Arc::clone(stores.of(&location));
                async move {
                    store.delete(&location).await?;
                    Ok(location)
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match prefix {
            Some(prefix) => self.of(prefix).list(Some(prefix)),
            None => {
                let everywhere = std::iter::once(&self.home).chain(self.others.values()).map(|store| store.list(None));
                futures::stream::iter(everywhere.collect::<Vec<_>>()).flatten().boxed()
            }
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        match prefix {
            Some(prefix) => self.of(prefix).list_with_delimiter(Some(prefix)).await,
            None => Err(Error::NotSupported { source: "several stores have no common folder".into() }),
        }
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.one_of(from, to)?.copy_opts(from, to, options).await
    }
}
