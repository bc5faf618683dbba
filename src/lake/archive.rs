//! What a customer takes along: an archive of everything that is its own, which opens without this program.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use arrow::array::RecordBatch;
use bytes::Bytes;
use granary_foundation::{Boxed, SharedProgress};
use granary_tenants::TenantScope;
use granary_types::{Dataset, Source};
use jiff::Timestamp;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::LakeError;
use crate::copy::{Arrival, CopyDecoder};
use crate::export::{Exported, OwnerTx};
use crate::lake::Lake;
use crate::month::Part;
use crate::plan::Wanted;
use crate::read::feed;
use crate::schema::arrow_schema;
use crate::store::copying::{self, Order};
use crate::tar::TarWriter;

/// Chunks that wait for the thread that writes.
const QUEUE: usize = 4;
/// What the manifest says that the archive is.
const KIND: &str = "granary customer archive 1";

/// A tar archive with a manifest and checksums.
#[derive(Debug)]
pub struct Archive {
    tar: TarWriter,
    files: Vec<ArchivedFile>,
}

/// A file of an archive.
#[derive(Debug, Clone, Serialize)]
pub struct ArchivedFile {
    pub path: String,
    pub bytes: u64,
    /// In hexadecimal digits.
    pub sha256: String,
    /// None where a file does not consist of rows.
    pub rows: Option<u64>,
    pub holds: String,
}

impl Archive {
    /// Creates the file, for its owner's eyes only; what was there is overwritten.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn create(path: &Path, made_at: Timestamp) -> Result<Self, LakeError> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        let modified_at = u64::try_from(made_at.as_second()).unwrap_or(0);
        Ok(Self { tar: TarWriter::new(file, modified_at), files: Vec::new() })
    }

    /// Adds a file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn add(&mut self, path: &str, holds: &str, content: &[u8]) -> Result<(), LakeError> {
        let mut member = self.tar.begin(path)?;
        member.write_all(content)?;
        let (bytes, digest) = member.finish()?;
        self.note(path, holds, None, bytes, digest);
        Ok(())
    }

    /// Adds the manifest, with what is said `about` the archive, and the checksums; returns the size of the whole.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(mut self, about: &Value) -> Result<u64, LakeError> {
        let manifest = json!({"kind": KIND, "about": about, "files": self.files});
        let manifest = serde_json::to_vec_pretty(&manifest).map_err(|error| LakeError::Manifest(error.to_string()))?;
        self.add("manifest.json", "this list", &manifest)?;
        let sums: String = self.files.iter().map(|file| format!("{}  {}\n", file.sha256, file.path)).collect();
        self.add("SHA256SUMS", "what sha256sum --check reads", sums.as_bytes())?;
        Ok(self.tar.finish()?)
    }

    /// Returns the files so far.
    pub fn files(&self) -> &[ArchivedFile] {
        &self.files
    }

    fn note(&mut self, path: &str, holds: &str, rows: Option<u64>, bytes: u64, digest: [u8; 32]) {
        self.files.push(ArchivedFile { path: path.to_owned(), bytes, sha256: hex::encode(digest), rows, holds: holds.to_owned() });
    }

    /// Writes lines as Postgres sends them, the first of them names.
    fn write_csv(mut self, path: &str, holds: &str, mut chunks: mpsc::Receiver<Bytes>) -> Result<Self, LakeError> {
        let mut member = self.tar.begin(path)?;
        let (mut lines, mut is_quoted) = (0_u64, false);
        while let Some(chunk) = chunks.blocking_recv() {
            for byte in &chunk {
                // A quote within quotes is written twice.
                is_quoted ^= *byte == b'"';
                lines += u64::from(*byte == b'\n' && !is_quoted);
            }
            member.write_all(&chunk)?;
        }
        let (bytes, digest) = member.finish()?;
        self.note(path, holds, Some(lines.saturating_sub(1)), bytes, digest);
        Ok(self)
    }

    /// Writes rows in Postgres' binary format as Parquet.
    fn write_parquet(mut self, dataset: Dataset, mut chunks: mpsc::Receiver<Bytes>) -> Result<Self, LakeError> {
        let path = format!("parquet/{}.parquet", dataset.name);
        let properties = WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
        let mut member = self.tar.begin(&path)?;
        let mut rows = 0;
        let mut writer = ArrowWriter::try_new(&mut member, arrow_schema(&dataset), Some(properties))?;
        let mut decoder = CopyDecoder::new(dataset, Arrival::InAnyOrder)?;
        let mut sink = |_: Part, batch: RecordBatch| {
            rows += batch.num_rows() as u64;
            Ok(writer.write(&batch)?)
        };
        while let Some(chunk) = chunks.blocking_recv() {
            decoder.push(&chunk, &mut sink)?;
        }
        decoder.finish(&mut sink)?;
        writer.close()?;
        let (bytes, digest) = member.finish()?;
        self.note(&path, "rows with their types, as the warehouse reads them", Some(rows), bytes, digest);
        Ok(self)
    }
}

impl Lake {
    /// Adds to an archive all that the customer's silo holds, in one snapshot, every table as CSV and every dataset as
    /// Parquet; and of the control datasets that are named, the customer's rows as CSV.
    ///
    /// # Errors
    /// When Postgres refuses, or the archive cannot be written.
    pub fn archive<'a>(
        &'a self,
        scope: &'a TenantScope,
        control: &'a [&'a str],
        mut archive: Archive,
        progress: &'a SharedProgress,
    ) -> Boxed<'a, Result<Archive, LakeError>> {
        Box::pin(async move {
            let exported = Exported::Customer(Box::new(scope.clone()));
            let snapshot = exported.begin_snapshot(self.tenants()).await?;
            let tables = copying::list_tables(&snapshot).await?;
            let datasets: Vec<Dataset> = self.datasets().iter().filter(|dataset| dataset.source == Source::Tenant).copied().collect();
            progress.begin("archive", (tables.len() + datasets.len() + control.len()) as u64);
            for table in tables {
                let path = format!("tables/{}.csv", table.name);
                archive = csv(&snapshot, archive, path, "a table of the silo, whole", &copying::copy_table(&table)).await?;
                progress.advance(1);
            }
            for dataset in datasets {
                let rows = snapshot.copy_out(&copying::copy_statement(&dataset, &Wanted::All, &Order::Sorted(BTreeSet::new()))).await?;
                let (chunks, chunks_in) = mpsc::channel(QUEUE);
                let writing = tokio::task::spawn_blocking(move || archive.write_parquet(dataset, chunks_in));
                let (fed, written) = futures::join!(feed(rows, chunks), writing);
                // When writing fails, the feeder only learns that nobody listens.
                archive = written.map_err(|_| LakeError::WorkerEnded)??;
                fed?;
                progress.advance(1);
            }
            snapshot.commit().await?;
            let tx = OwnerTx::Msp(Box::new(exported.begin_control(self.tenants()).await?));
            for dataset in self.datasets().iter().filter(|dataset| control.contains(&dataset.name)) {
                let (path, copy) = (format!("control/{}.csv", dataset.name), copying::copy_rows_of(dataset, scope.customer.id));
                archive = csv(&tx, archive, path, "what the platform knows of the customer", &copy).await?;
                progress.advance(1);
            }
            tx.commit().await?;
            progress.end();
            Ok(archive)
        })
    }
}

async fn csv(tx: &OwnerTx, archive: Archive, path: String, holds: &'static str, copy: &str) -> Result<Archive, LakeError> {
    let rows = tx.copy_out(copy).await?;
    let (chunks, chunks_in) = mpsc::channel(QUEUE);
    let writing = tokio::task::spawn_blocking(move || archive.write_csv(&path, holds, chunks_in));
    let (fed, written) = futures::join!(feed(rows, chunks), writing);
    let archive = written.map_err(|_| LakeError::WorkerEnded)??;
    fed?;
    Ok(archive)
}
