//! The footers of one session's files, opened once: what a key opened is kept beside the keys, and goes with them.
//!
//! The engine's own cache passes sealed files by, and rightly so: it knows nothing of grants.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::{DefaultParquetFileReaderFactory, ParquetFileReaderFactory};
use datafusion::error::Result;
use datafusion::parquet::arrow::arrow_reader::ArrowReaderOptions;
use datafusion::parquet::arrow::async_reader::AsyncFileReader;
use datafusion::parquet::errors::Result as ParquetResult;
use datafusion::parquet::file::metadata::ParquetMetaData;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use futures::future::{BoxFuture, FutureExt};
use object_store::ObjectStore;

/// The memory that the footers of all sessions share.
#[derive(Debug)]
pub(crate) struct FooterMemory {
    limit: usize,
    used: AtomicUsize,
}

impl FooterMemory {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0) })
    }

    fn take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// The footers that one session has opened with its keys.
pub(crate) struct Footers {
    memory: Arc<FooterMemory>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    by_path: HashMap<String, (Arc<ParquetMetaData>, usize)>,
    /// In the order in which they came.
    paths: VecDeque<String>,
}

impl fmt::Debug for Footers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Footers({})", self.kept().by_path.len())
    }
}

impl Footers {
    pub(crate) fn new(memory: &Arc<FooterMemory>) -> Arc<Self> {
        Arc::new(Self { memory: Arc::clone(memory), kept: Mutex::default() })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, path: &str) -> Option<Arc<ParquetMetaData>> {
        self.kept().by_path.get(path).map(|(footer, _)| Arc::clone(footer))
    }

    /// Keeps a footer, in the place of this session's oldest ones when there is no room.
    fn keep(&self, path: &str, footer: &Arc<ParquetMetaData>) {
        let bytes = footer.memory_size() + path.len() * 2;
        let mut kept = self.kept();
        if kept.by_path.contains_key(path) {
            return;
        }
        while !self.memory.take(bytes) {
            let Some(oldest) = kept.paths.pop_front() else { return };
            if let Some((_, freed)) = kept.by_path.remove(&oldest) {
                self.memory.give_back(freed);
            }
        }
        kept.paths.push_back(path.to_owned());
        kept.by_path.insert(path.to_owned(), (Arc::clone(footer), bytes));
    }
}

impl Drop for Footers {
    fn drop(&mut self) {
        let freed = self.kept().by_path.values().map(|(_, bytes)| bytes).sum();
        self.memory.give_back(freed);
    }
}

/// Makes readers that ask the session's footers first.
#[derive(Debug)]
pub(crate) struct Readers {
    footers: Arc<Footers>,
    files: DefaultParquetFileReaderFactory,
}

impl Readers {
    pub(crate) fn new(footers: Arc<Footers>, store: Arc<dyn ObjectStore>) -> Self {
        Self { footers, files: DefaultParquetFileReaderFactory::new(store) }
    }
}

impl ParquetFileReaderFactory for Readers {
    fn create_reader(
        &self,
        partition: usize,
        file: PartitionedFile,
        metadata_size_hint: Option<usize>,
        metrics: &ExecutionPlanMetricsSet,
    ) -> Result<Box<dyn AsyncFileReader + Send>> {
        let path = file.object_meta.location.to_string();
        let inner = self.files.create_reader(partition, file, metadata_size_hint, metrics)?;
        Ok(Box::new(Reader { path, footers: Arc::clone(&self.footers), inner }))
    }
}

/// Reads one file, whose footer may be known.
struct Reader {
    path: String,
    footers: Arc<Footers>,
    inner: Box<dyn AsyncFileReader + Send>,
}

impl AsyncFileReader for Reader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.inner.get_bytes(range)
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        self.inner.get_byte_ranges(ranges)
    }

    fn get_metadata<'a>(&'a mut self, options: Option<&'a ArrowReaderOptions>) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            if let Some(footer) = self.footers.find(&self.path) {
                return Ok(footer);
            }
            let footer = self.inner.get_metadata(options).await?;
            self.footers.keep(&self.path, &footer);
            Ok(footer)
        }
        .boxed()
    }
}
