//! One sealed file: zstd Parquet, encrypted with AES-256-GCM under a random key of its own.
//!
//! The object's path is the associated data of every module and is not stored: a file that is moved or exchanged does not
//! open, not even with its key. There are no bloom filters, because Parquet would write them in the clear.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Date32Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use granary_vault::{FileKey, Objects, VaultError};
use object_store::MultipartUpload;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;
use tokio::runtime::Handle;

use crate::LakeError;
use crate::checksum::Checksum;
use crate::schema::signature;
use crate::statistics::{FileStatistics, Gatherer};

/// A row group ends after this many rows …
const GROUP_ROWS: usize = 1 << 20;
/// … or this many encoded bytes, which bounds the memory of a writer.
const GROUP_BYTES: usize = 32 << 20;
/// What is encoded is uploaded in parts of at least this size; smaller files go in one piece.
const PART_BYTES: usize = 8 << 20;
/// How many rows tell whether a column's values are distinct …
const SAMPLED_ROWS: usize = 4_096;
/// … which they are when so many of them are: a dictionary would only be built to be given up.
const DISTINCT_ROWS: usize = 3_072;
/// Level 3 takes half as long again for files that are a few percent smaller.
const ZSTD_LEVEL: i32 = 1;
/// The end of a sealed Parquet file: the footer's length, then `PARE`.
const TRAILER_BYTES: usize = 8;

/// Writes one file. It blocks (on encoding, and on uploads of large files) and therefore lives on a blocking thread.
pub(crate) struct SealedWriter {
    path: String,
    key: FileKey,
    schema: SchemaRef,
    writer: ArrowWriter<Vec<u8>>,
    objects: Objects,
    runtime: Handle,
    upload: Option<Box<dyn MultipartUpload>>,
    uploaded_bytes: u64,
    statistics: Gatherer,
}

/// A file that is encoded: its content, or the upload that holds it, and what the manifest says about it.
pub(crate) struct SealedFile {
    pub(crate) path: String,
    pub(crate) key: FileKey,
    pub(crate) size_bytes: u64,
    pub(crate) footer_bytes: u64,
    pub(crate) row_count: u64,
    pub(crate) statistics: FileStatistics,
    pub(crate) source_hash: [u8; 32],
    content: Content,
}

enum Content {
    Buffered(Bytes),
    /// All but the completion has been uploaded.
    Uploaded(Box<dyn MultipartUpload>),
}

impl SealedWriter {
    /// Begins a file; `first` are its first rows, which are not written yet: how columns are encoded follows from them.
    pub(crate) fn create(path: String, first: &RecordBatch, objects: Objects, runtime: Handle) -> Result<Self, LakeError> {
        let key = FileKey::random()?;
        let encryption = FileEncryptionProperties::builder(key.reveal().to_vec())
            .with_aad_prefix(path.clone().into_bytes())
            .with_aad_prefix_storage(false)
            .build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
            .set_max_row_group_row_count(Some(GROUP_ROWS))
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_bloom_filter_enabled(false)
            .set_created_by(concat!("granary ", env!("CARGO_PKG_VERSION")).to_owned())
            .with_file_encryption_properties(encryption);
        let properties = with_encodings(properties, first).build();
        let schema = first.schema();
        let writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), Some(properties))?;
        Ok(Self { path, key, schema, writer, objects, runtime, upload: None, uploaded_bytes: 0, statistics: Gatherer::default() })
    }

    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        self.statistics.add(batch);
        self.writer.write(batch)?;
        if self.writer.in_progress_size() >= GROUP_BYTES {
            self.writer.flush()?;
        }
        if self.writer.inner().len() >= PART_BYTES {
            let part = std::mem::take(self.writer.inner_mut());
            self.upload_part(part)?;
        }
        Ok(())
    }

    /// Ends the file; `checksum` is that of all its rows.
    pub(crate) fn finish(mut self, checksum: &Checksum) -> Result<SealedFile, LakeError> {
        let metadata = self.writer.finish()?;
        let tail = std::mem::take(self.writer.inner_mut());
        let size_bytes = self.uploaded_bytes + tail.len() as u64;
        let footer_bytes = footer_bytes(&tail, size_bytes, &metadata)?;
        let content = if self.upload.is_some() {
            self.upload_part(tail)?;
            self.upload.take().map_or(Content::Buffered(Bytes::new()), Content::Uploaded)
        } else {
            Content::Buffered(tail.into())
        };
        Ok(SealedFile {
            path: self.path,
            key: self.key,
            size_bytes,
            footer_bytes,
            row_count: checksum.rows,
            statistics: self.statistics.finish(self.schema.fields().iter().map(|field| field.name())),
            source_hash: checksum.digest(&signature(&self.schema)),
            content,
        })
    }

    /// Gives the file up, because the lake holds the same rows already.
    pub(crate) fn abandon(self) -> Result<(), LakeError> {
        if let Some(mut upload) = self.upload {
            self.runtime.block_on(upload.abort()).map_err(VaultError::from)?;
        }
        Ok(())
    }

    fn upload_part(&mut self, part: Vec<u8>) -> Result<(), LakeError> {
        self.uploaded_bytes += part.len() as u64;
        let mut upload = match self.upload.take() {
            Some(upload) => upload,
            None => self.runtime.block_on(self.objects.put_in_parts(&self.path))?,
        };
        self.runtime.block_on(upload.put_part(part.into())).map_err(VaultError::from)?;
        self.upload = Some(upload);
        Ok(())
    }
}

impl SealedFile {
    /// Makes the object exist.
    pub(crate) async fn store(&mut self, objects: &Objects) -> Result<(), LakeError> {
        match std::mem::replace(&mut self.content, Content::Buffered(Bytes::new())) {
            Content::Buffered(bytes) => match objects.put_new(&self.path, bytes.clone()).await {
                // Nobody else uses the name: the answer to an attempt before this one was lost on its way.
                Err(VaultError::ObjectExists(_)) if objects.get(&self.path).await? == bytes => {}
                outcome => outcome?,
            },
            Content::Uploaded(mut upload) => {
                upload.complete().await.map_err(VaultError::from)?;
            }
        }
        Ok(())
    }

    /// Forgets the file, because the lake holds the same rows already.
    pub(crate) async fn discard(self) -> Result<(), LakeError> {
        if let Content::Uploaded(mut upload) = self.content {
            upload.abort().await.map_err(VaultError::from)?;
        }
        Ok(())
    }
}

/// Chooses encodings by the first rows: values that are all distinct have no dictionary, and integers among them are written as
/// differences.
fn with_encodings(mut properties: WriterPropertiesBuilder, first: &RecordBatch) -> WriterPropertiesBuilder {
    if first.num_rows() < SAMPLED_ROWS {
        return properties;
    }
    for (field, column) in first.schema().fields().iter().zip(first.columns()) {
        let sample = column.slice(0, SAMPLED_ROWS);
        let (distinct, is_integer) = match field.data_type() {
            DataType::Utf8 => (distinct(sample.as_string::<i32>().iter()), false),
            DataType::Int32 => (distinct_integers::<Int32Type>(&sample), true),
            DataType::Int64 => (distinct_integers::<Int64Type>(&sample), true),
            DataType::Date32 => (distinct_integers::<Date32Type>(&sample), true),
            DataType::Timestamp(..) => (distinct_integers::<TimestampMicrosecondType>(&sample), true),
            _ => (0, false),
        };
        if distinct < DISTINCT_ROWS {
            continue;
        }
        let path = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_dictionary_enabled(path.clone(), false);
        if is_integer {
            properties = properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED);
        }
    }
    properties
}

fn distinct_integers<T: ArrowPrimitiveType<Native: Hash + Eq>>(sample: &dyn Array) -> usize {
    distinct(sample.as_primitive::<T>().iter())
}

fn distinct<T: Hash + Eq>(values: impl Iterator<Item = Option<T>>) -> usize {
    values.flatten().collect::<HashSet<_>>().len()
}

/// The bytes at the end of a file that a reader needs before it can read any row.
fn footer_bytes(tail: &[u8], size_bytes: u64, metadata: &ParquetMetaData) -> Result<u64, LakeError> {
    let trailer = tail.last_chunk::<TRAILER_BYTES>();
    let Some([a, b, c, d, b'P', b'A', b'R', b'E']) = trailer else {
        return Err(LakeError::Manifest("a file was written without its seal".to_owned()));
    };
    let footer = u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + TRAILER_BYTES as u64;
    let columns = metadata.row_groups().iter().flat_map(|group| group.columns());
    let index = columns.filter_map(|column| column.column_index_offset().or(column.offset_index_offset())).min();
    let from_index = index.and_then(|offset| u64::try_from(offset).ok()).map_or(0, |offset| size_bytes.saturating_sub(offset));
    Ok(footer.max(from_index))
}

/// Returns what a Parquet reader needs to open a file.
///
/// # Errors
/// Never for a key of 32 bytes.
pub fn decryption(path: &str, key: &FileKey) -> Result<Arc<FileDecryptionProperties>, LakeError> {
    Ok(FileDecryptionProperties::builder(key.reveal().to_vec()).with_aad_prefix(path.as_bytes().to_vec()).build()?)
}

/// Opens a file's content; its rows come batch by batch.
pub(crate) fn open(content: Bytes, path: &str, key: &FileKey) -> Result<ParquetRecordBatchReader, LakeError> {
    let options = ArrowReaderOptions::new().with_file_decryption_properties(decryption(path, key)?);
    Ok(ParquetRecordBatchReaderBuilder::try_new_with_options(content, options)?.with_batch_size(65_536).build()?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use granary_foundation::config::S3Config;

    use super::*;

    fn batch(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|row| format!("machine-{row}"))));
        RecordBatch::try_from_iter([("number", numbers), ("text", texts)]).unwrap()
    }

    fn checksum(batches: &[RecordBatch]) -> Checksum {
        let mut checksum = Checksum::default();
        for batch in batches {
            checksum.add(batch).unwrap();
        }
        checksum
    }

    async fn write(objects: &Objects, path: &str, rows: i64) -> SealedFile {
        let (objects_of_writer, path, runtime) = (objects.clone(), path.to_owned(), Handle::current());
        let writing = tokio::task::spawn_blocking(move || {
            let batch = batch(rows);
            let mut writer = SealedWriter::create(path, &batch, objects_of_writer, runtime).unwrap();
            writer.write(&batch).unwrap();
            writer.finish(&checksum(&[batch])).unwrap()
        });
        let mut file = writing.await.unwrap();
        file.store(objects).await.unwrap();
        file
    }

    fn store() -> (tempfile::TempDir, Objects) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::open(&format!("file://{}", folder.path().display()), &S3Config::default()).unwrap();
        (folder, objects)
    }

    #[tokio::test]
    async fn a_file_opens_with_its_key_under_its_name_and_in_no_other_way() {
        let (_folder, objects) = store();
        let (first, second) = (write(&objects, "lake/a/first", 100).await, write(&objects, "lake/b/second", 100).await);
        let content = objects.get("lake/a/first").await.unwrap();
        let rows: Vec<_> = open(content.clone(), "lake/a/first", &first.key).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows, [batch(100)]);
        assert!(open(content.clone(), "lake/a/first", &second.key).is_err(), "another key");
        assert!(open(content.clone(), "lake/b/second", &first.key).is_err(), "another name");
        assert!(ParquetRecordBatchReaderBuilder::try_new(content.clone()).is_err(), "no key");
        assert!(!content.windows(9).any(|window| window == b"machine-1"), "values in the clear");
        assert!(!content.windows(6).any(|window| window == b"number"), "names in the clear");
        assert!(!content.windows(6).any(|window| window == b"lake/a"), "the name is stored");
    }

    #[tokio::test]
    async fn a_changed_byte_never_changes_a_row() {
        let (_folder, objects) = store();
        let file = write(&objects, "lake/a", 50).await;
        let content = objects.get("lake/a").await.unwrap().to_vec();
        let mut refusals = 0;
        for at in 0..content.len() {
            let mut changed = content.clone();
            changed[at] ^= 1;
            let rows = open(changed.into(), "lake/a", &file.key).and_then(|reader| Ok(reader.collect::<Result<Vec<_>, _>>()?));
            refusals += usize::from(rows.is_err());
            assert!(rows.is_err() || rows.is_ok_and(|rows| rows == [batch(50)]), "byte {at}");
        }
        // The rest are the magic bytes in front, and lengths that the footer repeats.
        assert!(refusals > content.len() - 40, "{refusals} of {}", content.len());
    }

    #[tokio::test]
    async fn the_footer_hint_covers_all_that_a_reader_needs_first() {
        let (_folder, objects) = store();
        let file = write(&objects, "lake/a", 100_000).await;
        let content = objects.get("lake/a").await.unwrap();
        assert_eq!(content.len() as u64, file.size_bytes);
        let footer = content.slice(usize::try_from(file.size_bytes - file.footer_bytes).unwrap()..);
        let metadata = parquet::file::metadata::ParquetMetaDataReader::new()
            .with_decryption_properties(Some(decryption("lake/a", &file.key).unwrap()))
            .parse_and_finish(&footer)
            .unwrap();
        assert_eq!(metadata.file_metadata().num_rows(), 100_000);
        assert!(metadata.row_groups().iter().flat_map(|group| group.columns()).all(|column| column.bloom_filter_offset().is_none()));
    }

    #[tokio::test]
    async fn a_file_whose_first_attempt_was_answered_to_nobody_is_stored_and_another_ones_is_not_taken_for_it() {
        let (_folder, objects) = store();
        let mut file = write(&objects, "lake/a", 10).await;
        let content = objects.get("lake/a").await.unwrap();
        file.content = Content::Buffered(content);
        file.store(&objects).await.unwrap();
        file.content = Content::Buffered(Bytes::from_static(b"another"));
        assert!(matches!(file.store(&objects).await, Err(LakeError::Vault(VaultError::ObjectExists(_)))));
    }

    #[tokio::test]
    async fn a_large_file_goes_up_in_parts_and_comes_back_whole() {
        let (_folder, objects) = store();
        let (objects_of_writer, runtime) = (objects.clone(), Handle::current());
        let writing = tokio::task::spawn_blocking(move || {
            let random = |round: u64| {
                use rand::{Rng, SeedableRng};
                let mut random = rand::rngs::StdRng::seed_from_u64(round);
                let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values((0..1 << 20).map(|_| random.random::<i64>())));
                RecordBatch::try_from_iter([("number", numbers)]).unwrap()
            };
            let mut writer = SealedWriter::create("lake/large".to_owned(), &random(0), objects_of_writer, runtime).unwrap();
            let batches: Vec<_> = (0..4).map(random).collect();
            for batch in &batches {
                writer.write(batch).unwrap();
            }
            assert!(writer.upload.is_some());
            writer.finish(&checksum(&batches)).unwrap()
        });
        let mut file = writing.await.unwrap();
        assert!(objects.get("lake/large").await.is_err(), "it appears when it is whole");
        file.store(&objects).await.unwrap();
        let content = objects.get("lake/large").await.unwrap();
        assert_eq!(content.len() as u64, file.size_bytes);
        let mut checksum = Checksum::default();
        for batch in open(content, "lake/large", &file.key).unwrap() {
            checksum.add(&batch.unwrap()).unwrap();
        }
        assert_eq!(checksum.rows, 4 << 20);
    }
}
