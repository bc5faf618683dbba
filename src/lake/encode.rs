//! The encoding thread: bytes from Postgres in, sealed files out, one per month.

use std::collections::{HashMap, HashSet};

use arrow::array::RecordBatch;
use bytes::Bytes;
use granary_types::Dataset;
use granary_vault::Objects;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::LakeError;
use crate::copy::CopyDecoder;
use crate::file::{SealedFile, SealedWriter};
use crate::manifest::FileOwner;
use crate::month::Part;
use crate::schema::arrow_schema;

/// A file that is ready to be stored.
pub(crate) struct Encoded {
    pub(crate) part: Part,
    pub(crate) file: SealedFile,
}

/// Encodes one dataset of one owner.
pub(crate) struct Encoder {
    decoder: CopyDecoder,
    files: Files,
}

struct Files {
    dataset: Dataset,
    owner: FileOwner,
    /// What the names of the owner's files begin with.
    root: String,
    objects: Objects,
    runtime: Handle,
    /// The hashes of what the lake holds; an equal file is not written again.
    current: HashMap<Part, Vec<u8>>,
    out: mpsc::Sender<Encoded>,
    open: Option<(Part, SealedWriter)>,
    seen: HashSet<Part>,
}

impl Encoder {
    pub(crate) fn new(
        dataset: Dataset,
        (owner, root): (FileOwner, String),
        objects: Objects,
        current: HashMap<Part, Vec<u8>>,
        out: mpsc::Sender<Encoded>,
    ) -> Result<Self, LakeError> {
        let files = Files { dataset, owner, root, objects, runtime: Handle::current(), current, out, open: None, seen: HashSet::new() };
        Ok(Self { decoder: CopyDecoder::new(dataset)?, files })
    }

    /// Encodes until the stream ends; returns the parts that have rows.
    pub(crate) fn run(mut self, mut chunks: mpsc::Receiver<Bytes>) -> Result<HashSet<Part>, LakeError> {
        let mut sink = |part, batch: RecordBatch| self.files.write(part, &batch);
        while let Some(chunk) = chunks.blocking_recv() {
            self.decoder.push(&chunk, &mut sink)?;
        }
        self.decoder.finish(&mut sink)?;
        self.files.close()?;
        Ok(self.files.seen)
    }
}

impl Files {
    fn write(&mut self, part: Part, batch: &RecordBatch) -> Result<(), LakeError> {
        if self.open.as_ref().is_none_or(|(open, _)| *open != part) {
            self.close()?;
            if !self.seen.insert(part) {
                return Err(LakeError::Format { dataset: self.dataset.name, reason: "its months are not in order" });
            }
            let path = self.owner.new_path(&self.root, self.dataset.name, part);
            let writer = SealedWriter::create(path, arrow_schema(&self.dataset), self.objects.clone(), self.runtime.clone())?;
            self.open = Some((part, writer));
        }
        self.open.as_mut().map_or(Ok(()), |(_, writer)| writer.write(batch))
    }

    fn close(&mut self) -> Result<(), LakeError> {
        let Some((part, writer)) = self.open.take() else { return Ok(()) };
        let file = writer.finish()?;
        if self.current.get(&part).is_some_and(|hash| *hash == file.source_hash) {
            return self.runtime.block_on(file.discard());
        }
        self.out.blocking_send(Encoded { part, file }).map_err(|_| LakeError::WorkerEnded)
    }
}
