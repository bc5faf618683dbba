//! The encoding thread: bytes from Postgres in, sealed files out, one per part.

use std::collections::{BTreeSet, HashMap, HashSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use bytes::Bytes;
use granary_types::{Dataset, Period};
use granary_vault::Objects;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::LakeError;
use crate::checksum::Checksum;
use crate::copy::{Arrival, CopyDecoder};
use crate::file::{SealedFile, SealedWriter};
use crate::manifest::FileOwner;
use crate::month::Part;
use crate::schema::{arrow_schema, signature};
use crate::sort::Sorter;

/// Rows wait in memory up to this size before they are encoded: a part that turns out to be what the lake holds costs no more than
/// its checksum.
const WAITING_BYTES: usize = 16 << 20;

/// A file that is ready to be stored.
pub(crate) struct Encoded {
    pub(crate) part: Part,
    pub(crate) file: SealedFile,
}

/// Where and for whom files are written.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) owner: FileOwner,
    /// What the names of the owner's files begin with.
    pub(crate) root: String,
    pub(crate) objects: Objects,
}

/// How rows are put into the order of their files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sorting {
    /// Postgres sends them in order.
    ByPostgres,
    /// They are collected here, as long as they take no more than this.
    Here { most_bytes: usize },
}

/// What became of a reading.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All rows were taken; these parts have some.
    Whole(HashSet<Part>),
    /// They take more memory than was given, and nothing was written.
    TooLarge,
}

/// Encodes one dataset of one owner.
pub(crate) struct Encoder {
    dataset: Dataset,
    by_day: BTreeSet<Period>,
    sorting: Sorting,
    files: Files,
}

impl Encoder {
    /// Prepares; `current` has the hashes of what the lake holds, because an equal file is not written again.
    pub(crate) fn new(
        dataset: Dataset,
        by_day: BTreeSet<Period>,
        sorting: Sorting,
        place: Place,
        current: HashMap<Part, Vec<u8>>,
        out: mpsc::Sender<Encoded>,
    ) -> Self {
        let files = Files { dataset, place, runtime: Handle::current(), current, out, open: None, seen: HashSet::new() };
        Self { dataset, by_day, sorting, files }
    }

    /// Encodes until the stream ends; `read` learns, before anything of what was collected is encoded, whether all rows were taken.
    pub(crate) fn run(mut self, mut chunks: mpsc::Receiver<Bytes>, read: oneshot::Sender<bool>) -> Result<Outcome, LakeError> {
        match self.sorting {
            Sorting::ByPostgres => {
                let mut decoder = CopyDecoder::new(self.dataset, Arrival::ByPart(self.by_day))?;
                let mut sink = |part, batch: RecordBatch| self.files.write(part, batch);
                while let Some(chunk) = chunks.blocking_recv() {
                    decoder.push(&chunk, &mut sink)?;
                }
                decoder.finish(&mut sink)?;
                // Whoever does not listen any more will hear of it in another way.
                let _ = read.send(true);
            }
            Sorting::Here { most_bytes } => {
                let sorter = collect(self.dataset, self.by_day, most_bytes, &mut chunks)?;
                let _ = read.send(sorter.is_some());
                let Some(sorter) = sorter else { return Ok(Outcome::TooLarge) };
                sorter.finish(|part, batch| self.files.write(part, batch))?;
            }
        }
        self.files.close()?;
        Ok(Outcome::Whole(self.files.seen))
    }
}

/// Collects all rows; none when they take too much memory, and what is still to come is not waited for.
fn collect(
    dataset: Dataset,
    by_day: BTreeSet<Period>,
    most_bytes: usize,
    chunks: &mut mpsc::Receiver<Bytes>,
) -> Result<Option<Sorter>, LakeError> {
    let mut decoder = CopyDecoder::new(dataset, Arrival::InAnyOrder)?;
    let (mut sorter, mut size_bytes) = (Sorter::new(dataset, by_day), 0);
    let mut sink = |_, batch| {
        size_bytes = sorter.add(batch);
        if size_bytes > most_bytes { Err(LakeError::Crowded) } else { Ok(()) }
    };
    let mut taken = Ok(());
    while let Some(chunk) = chunks.blocking_recv() {
        taken = decoder.push(&chunk, &mut sink);
        if taken.is_err() {
            chunks.close();
            break;
        }
    }
    match taken.and_then(|()| decoder.finish(&mut sink)) {
        Ok(()) => Ok(Some(sorter)),
        Err(LakeError::Crowded) => Ok(None),
        Err(error) => Err(error),
    }
}

/// What the rows of a batch take, which may be a part of a larger one.
fn rows_bytes(batch: &RecordBatch) -> usize {
    let bytes = |column: &ArrayRef| column.to_data().get_slice_memory_size().unwrap_or_else(|_| column.get_array_memory_size());
    batch.columns().iter().map(bytes).sum()
}

struct Files {
    dataset: Dataset,
    place: Place,
    runtime: Handle,
    current: HashMap<Part, Vec<u8>>,
    out: mpsc::Sender<Encoded>,
    open: Option<OpenPart>,
    seen: HashSet<Part>,
}

/// A part whose rows are still coming.
struct OpenPart {
    part: Part,
    checksum: Checksum,
    waiting: Vec<RecordBatch>,
    waiting_bytes: usize,
    /// None as long as all its rows wait.
    writer: Option<SealedWriter>,
}

impl Files {
    fn write(&mut self, part: Part, batch: RecordBatch) -> Result<(), LakeError> {
        if self.open.as_ref().is_none_or(|open| open.part != part) {
            self.close()?;
            if !self.seen.insert(part) {
                return Err(LakeError::Format { dataset: self.dataset.name, reason: "its parts are not in order" });
            }
            let checksum = Checksum::default();
            self.open = Some(OpenPart { part, checksum, waiting: Vec::new(), waiting_bytes: 0, writer: None });
        }
        let Some(mut open) = self.open.take() else { return Ok(()) };
        open.checksum.add(&batch)?;
        match &mut open.writer {
            Some(writer) => writer.write(&batch)?,
            None => {
                open.waiting_bytes += rows_bytes(&batch);
                open.waiting.push(batch);
                if open.waiting_bytes > WAITING_BYTES {
                    self.begin(&mut open)?;
                }
            }
        }
        self.open = Some(open);
        Ok(())
    }

    /// Encodes what has waited.
    fn begin(&self, open: &mut OpenPart) -> Result<(), LakeError> {
        let Some(first) = open.waiting.first() else { return Ok(()) };
        let Place { owner, root, objects } = &self.place;
        let path = owner.new_path(root, self.dataset.name, open.part);
        let mut writer = SealedWriter::create(path, first, objects.clone(), self.runtime.clone())?;
        for batch in std::mem::take(&mut open.waiting) {
            writer.write(&batch)?;
        }
        open.writer = Some(writer);
        Ok(())
    }

    fn close(&mut self) -> Result<(), LakeError> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        let digest = open.checksum.digest(&signature(&arrow_schema(&self.dataset)));
        if self.current.get(&open.part).is_some_and(|hash| *hash == digest) {
            return open.writer.map_or(Ok(()), SealedWriter::abandon);
        }
        if open.writer.is_none() {
            self.begin(&mut open)?;
        }
        let Some(writer) = open.writer else { return Ok(()) };
        let file = writer.finish(&open.checksum)?;
        self.out.blocking_send(Encoded { part: open.part, file }).map_err(|_| LakeError::WorkerEnded)
    }
}
