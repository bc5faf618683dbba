//! The object store: a local folder or an S3 bucket, behind one interface.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use granary_foundation::Boxed;
use granary_foundation::config::{LakeConfig, S3Config};
use jiff::Timestamp;
use object_store::aws::AmazonS3Builder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{BackoffConfig, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, RetryConfig};

use crate::VaultError;
use crate::regions::{self, Regions};

/// Files that are flushed to the disk at the same time; one journal commit then serves many.
const PARALLEL_FLUSHES: usize = 16;

/// A store that does not answer is told of within seconds.
const RETRIES: RetryConfig = RetryConfig {
    backoff: BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 },
    max_retries: 5,
    retry_timeout: Duration::from_secs(30),
};

/// Where files lie, under names that are relative to the store's URL. Names begin with [`Objects::root_of`] a region, so that what
/// belongs to it lies in its own store if it has one.
#[derive(Clone)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    url: Arc<str>,
    /// The folders, of stores that are one, by the first part of their objects' names.
    folders: Arc<BTreeMap<String, PathBuf>>,
    /// The regions that have a store of their own.
    regions: Arc<BTreeSet<String>>,
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Objects({})", self.url)
    }
}

impl Objects {
    /// Opens `file:///path` (the folder is made) or `s3://bucket/prefix`; the environment is not read.
    ///
    /// # Errors
    /// When the URL is neither, or the folder cannot be made.
    pub fn open(url: &str, s3: &S3Config) -> Result<Self, VaultError> {
        let (store, folder) = open(url, s3)?;
        let folders = folder.map(|folder| (regions::HOME.to_owned(), folder)).into_iter().collect();
        Ok(Self { store, url: url.into(), folders: Arc::new(folders), regions: Arc::default() })
    }

    /// As [`Self::open`], with the stores of the regions that have one.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_regions(url: &str, config: &LakeConfig) -> Result<Self, VaultError> {
        let home = Self::open(url, &config.s3)?;
        if config.regions.is_empty() {
            return Ok(home);
        }
        let (mut stores, mut folders) = (BTreeMap::new(), (*home.folders).clone());
        for (name, region) in &config.regions {
            let (store, folder) = open(&region.url, &region.s3(&config.s3))?;
            let root = regions::root_of(name);
            folders.extend(folder.map(|folder| (root.clone(), folder)));
            stores.insert(root, store);
        }
        let store = Arc::new(Regions::new(home.store, stores));
        Ok(Self { store, url: home.url, folders: Arc::new(folders), regions: Arc::new(config.regions.keys().cloned().collect()) })
    }

    /// Returns what the names of a region's objects begin with.
    pub fn root_of(&self, region: &str) -> String {
        if self.regions.contains(region) { regions::root_of(region) } else { regions::HOME.to_owned() }
    }

    /// Lists what the names of objects begin with, wherever they lie.
    pub fn roots(&self) -> impl Iterator<Item = String> {
        std::iter::once(regions::HOME.to_owned()).chain(self.regions.iter().map(|region| regions::root_of(region)))
    }

    /// Returns the store itself, for readers that fetch ranges on their own.
    pub fn store(&self) -> Arc<dyn ObjectStore> {
        Arc::clone(&self.store)
    }

    /// Creates an object.
    ///
    /// # Errors
    /// When there is one of that name, or the store fails.
    pub fn put_new<'a>(&'a self, path: &'a str, content: Bytes) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            self.store.put_opts(&Path::from(path), content.into(), PutOptions::from(PutMode::Create)).await?;
            Ok(())
        })
    }

    /// Begins an object that is too large for one piece; it appears when the upload is completed.
    ///
    /// # Errors
    /// When the store fails.
    pub fn put_in_parts<'a>(&'a self, path: &'a str) -> Boxed<'a, Result<Box<dyn MultipartUpload>, VaultError>> {
        Box::pin(async move { Ok(self.store.put_multipart(&Path::from(path)).await?) })
    }

    /// Returns a whole object.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub fn get<'a>(&'a self, path: &'a str) -> Boxed<'a, Result<Bytes, VaultError>> {
        Box::pin(async move { Ok(self.store.get(&Path::from(path)).await?.bytes().await?) })
    }

    /// Returns a part of an object.
    ///
    /// # Errors
    /// When there is none, it is shorter, or the store fails.
    pub fn get_range<'a>(&'a self, path: &'a str, range: Range<u64>) -> Boxed<'a, Result<Bytes, VaultError>> {
        Box::pin(async move { Ok(self.store.get_range(&Path::from(path), range).await?) })
    }

    /// Deletes an object; one that is not there is as good as deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub fn delete<'a>(&'a self, path: &'a str) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            match self.store.delete(&Path::from(path)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Lists every object under a folder.
    ///
    /// # Errors
    /// When the store fails.
    pub fn list<'a>(&'a self, prefix: &'a str) -> Boxed<'a, Result<Vec<ObjectMeta>, VaultError>> {
        Box::pin(async move { Ok(self.store.list(Some(&Path::from(prefix))).try_collect().await?) })
    }

    /// Deletes what a process left in a folder that was killed while it stored an object: files that [`Self::list`] does not show, last
    /// written before an instant. Returns how many, and their bytes. A bucket's own rules end uploads that nobody completes.
    ///
    /// # Errors
    /// When a folder cannot be read, or a file not deleted.
    pub fn delete_unfinished<'a>(&'a self, before: Timestamp) -> Boxed<'a, Result<(u64, u64), VaultError>> {
        Box::pin(async move {
            let folders: Vec<PathBuf> = self.folders.iter().map(|(root, folder)| folder.join(root)).collect();
            let deleting = tokio::task::spawn_blocking(move || {
                folders.iter().try_fold((0, 0), |(files, bytes), folder| {
                    let went = delete_staged(folder, before)?;
                    Ok::<_, std::io::Error>((files + went.0, bytes + went.1))
                })
            });
            deleting.await.map_err(std::io::Error::other).and_then(|outcome| outcome).map_err(of_folder)
        })
    }

    /// Makes objects survive a power cut: flushes local files to the disk; what S3 has acknowledged is safe already.
    ///
    /// # Errors
    /// When a file cannot be flushed.
    pub fn flush<'a>(&'a self, paths: &'a [String]) -> Boxed<'a, Result<(), VaultError>> {
        Box::pin(async move {
            let root = |path: &str| self.roots().find(|root| path.split('/').next() == Some(root)).unwrap_or(regions::HOME.to_owned());
            let folder = |path: &String| self.folders.get(&root(path));
            let files: Vec<PathBuf> = paths.iter().filter_map(|path| Some(folder(path)?.join(path))).collect();
            let flushes = futures::stream::iter(files).map(|file| async move {
                let flushed = tokio::task::spawn_blocking(move || std::fs::File::open(file)?.sync_all()).await;
                flushed.map_err(std::io::Error::other).and_then(|outcome| outcome)
            });
            let outcome: Result<(), std::io::Error> = flushes.buffer_unordered(PARALLEL_FLUSHES).try_collect().await;
            outcome.map_err(of_folder)
        })
    }
}

fn of_folder(source: std::io::Error) -> VaultError {
    VaultError::Store(object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(source) })
}

/// Deletes the files under a folder that were to become objects: their names end in `#` and a number.
fn delete_staged(folder: &std::path::Path, before: Timestamp) -> std::io::Result<(u64, u64)> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((0, 0)),
        entries => entries?,
    };
    let (mut files, mut bytes) = (0, 0);
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let went = delete_staged(&entry.path(), before)?;
            (files, bytes) = (files + went.0, bytes + went.1);
            continue;
        }
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        let is_staged = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        // One that is gone meanwhile was finished.
        let Ok(metadata) = entry.metadata() else { continue };
        if is_staged && Timestamp::try_from(metadata.modified()?).is_ok_and(|modified| modified < before) {
            std::fs::remove_file(entry.path())?;
            (files, bytes) = (files + 1, bytes + metadata.len());
        }
    }
    Ok((files, bytes))
}

/// Opens one store; the folder, when it is one.
fn open(url: &str, s3: &S3Config) -> Result<(Arc<dyn ObjectStore>, Option<PathBuf>), VaultError> {
    let fail = |reason: String| VaultError::StoreUrl { url: url.to_owned(), reason };
    if let Some(path) = url.strip_prefix("file://") {
        if !path.starts_with('/') {
            return Err(fail("a file URL has an absolute path".to_owned()));
        }
        std::fs::create_dir_all(path).map_err(|error| fail(error.to_string()))?;
        let folder = PathBuf::from(path).canonicalize().map_err(|error| fail(error.to_string()))?;
        let store = LocalFileSystem::new_with_prefix(&folder).map_err(|error| fail(error.to_string()))?.with_automatic_cleanup(true);
        return Ok((Arc::new(store), Some(folder)));
    }
    let Some(place) = url.strip_prefix("s3://") else { return Err(fail("unknown scheme".to_owned())) };
    let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
    let region = s3.region.as_deref().unwrap_or("us-east-1");
    let mut builder = AmazonS3Builder::new().with_bucket_name(bucket).with_region(region).with_retry(RETRIES);
    if let Some(endpoint) = &s3.endpoint {
        builder = builder.with_endpoint(endpoint).with_allow_http(endpoint.starts_with("http://"));
    }
    match (&s3.access_key_id, &s3.secret_access_key) {
        (Some(id), Some(secret)) => builder = builder.with_access_key_id(id).with_secret_access_key(secret.reveal()),
        // The machine's own role.
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => return Err(VaultError::HalfCredentials),
    }
    let bucket = builder.build().map_err(|error| fail(error.to_string()))?;
    let prefix = Path::parse(prefix).map_err(|error| fail(error.to_string()))?;
    Ok((Arc::new(PrefixStore::new(bucket, prefix)), None))
}

#[cfg(test)]
mod tests {
    use granary_foundation::config::LakeRegionConfig;

    use super::*;

    fn local(folder: &std::path::Path) -> Objects {
        Objects::open(&format!("file://{}", folder.display()), &S3Config::default()).unwrap()
    }

    #[tokio::test]
    async fn an_object_is_created_once_and_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let objects = local(folder.path());
        objects.put_new("lake/a/b", Bytes::from_static(b"first")).await.unwrap();
        let error = objects.put_new("lake/a/b", Bytes::from_static(b"second")).await.unwrap_err();
        assert!(matches!(error, VaultError::ObjectExists(_)), "{error}");
        assert_eq!(objects.get("lake/a/b").await.unwrap(), "first");
        assert_eq!(objects.get_range("lake/a/b", 1..3).await.unwrap(), "ir");
        objects.flush(&["lake/a/b".to_owned()]).await.unwrap();
        assert_eq!(objects.list("lake").await.unwrap().len(), 1);
        objects.delete("lake/a/b").await.unwrap();
        objects.delete("lake/a/b").await.unwrap();
        assert!(matches!(objects.get("lake/a/b").await.unwrap_err(), VaultError::ObjectMissing(_)));
    }

    #[tokio::test]
    async fn what_was_never_finished_is_deleted_when_it_is_old_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let objects = local(folder.path());
        objects.put_new("lake/a/b", Bytes::from_static(b"whole")).await.unwrap();
        for name in ["b#1", "b#23", "b#", "b#x", "c"] {
            std::fs::write(folder.path().join("lake/a").join(name), "half").unwrap();
        }
        assert_eq!(objects.delete_unfinished(Timestamp::UNIX_EPOCH).await.unwrap(), (0, 0), "they may still become objects");
        assert_eq!(objects.delete_unfinished(Timestamp::MAX).await.unwrap(), (2, 8));
        assert_eq!(objects.get("lake/a/b").await.unwrap(), "whole");
        let mut left: Vec<_> = std::fs::read_dir(folder.path().join("lake/a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["b", "b#", "b#x", "c"]);
    }

    #[tokio::test]
    async fn what_belongs_to_a_region_lies_in_its_own_store() {
        let (home, eu) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let region = LakeRegionConfig { url: format!("file://{}", eu.path().display()), endpoint: None, region: None };
        let config = LakeConfig { regions: [("eu".to_owned(), region)].into(), ..LakeConfig::default() };
        let objects = Objects::open_regions(&format!("file://{}", home.path().display()), &config).unwrap();
        assert_eq!([objects.root_of("eu"), objects.root_of("mars")], ["lake-eu", "lake"]);
        assert_eq!(objects.roots().collect::<Vec<_>>(), ["lake", "lake-eu"]);
        for name in ["lake-eu/a", "lake/a", "lake-europe/a"] {
            objects.put_new(name, Bytes::from(name)).await.unwrap();
            assert_eq!(objects.get(name).await.unwrap(), name);
            assert_eq!(objects.list(name.split('/').next().unwrap()).await.unwrap().len(), 1);
        }
        objects.flush(&["lake-eu/a".to_owned(), "lake/a".to_owned()]).await.unwrap();
        assert!(eu.path().join("lake-eu/a").exists() && !home.path().join("lake-eu").exists());
        assert!(home.path().join("lake/a").exists() && home.path().join("lake-europe/a").exists());
        objects.delete("lake-eu/a").await.unwrap();
        objects.delete("lake-eu/a").await.unwrap();
        assert!(!eu.path().join("lake-eu/a").exists() && home.path().join("lake/a").exists());
    }

    #[test]
    fn what_is_not_a_store_is_refused_with_an_example() {
        for url in ["", "lake", "ftp://host", "file://relative"] {
            let error = Objects::open(url, &S3Config::default()).unwrap_err().to_string();
            assert!(error.contains("file:///path or s3://bucket/prefix"), "{error}");
        }
        assert!(Objects::open("s3://bucket/some/prefix", &S3Config::default()).is_ok());
        let half = S3Config { access_key_id: Some("id".to_owned()), ..S3Config::default() };
        assert!(matches!(Objects::open("s3://bucket", &half), Err(VaultError::HalfCredentials)));
    }
}
