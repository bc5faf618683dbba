//! The reading of one dataset in a snapshot: Postgres → decoding, sorting and encoding on a thread of its own → object store.
//!
//! Postgres is let go of as soon as it has sent the rows; whoever reads next need not wait for the encoder.

use std::collections::HashSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use granary_db::CopyOutStream;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::LakeError;
use crate::encode::{Encoded, Encoder, Outcome, Place, Sorting};
use crate::export::{OwnerTx, Ticket};
use crate::lake::Lake;
use crate::manifest::{FileOwner, NewFile};
use crate::month::Part;
use crate::plan::{Reading, Wanted};
use crate::sort::sorted_by;
use crate::step::Step;
use crate::store::copying::{self, Order};

/// Rows travel to the encoding thread in chunks of this size.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the encoding thread, and files that wait to be stored.
const QUEUE: usize = 4;
/// Files that are stored at the same time.
const PARALLEL_STORES: usize = 8;
/// How many times as much rows take on Postgres' disk as in our files, about.
const EXPANSION: u64 = 10;

/// What rows may take in memory beyond twice their estimate before Postgres has to sort them after all.
const SLACK_BYTES: u64 = 16 << 20;

/// Where rows come from, and for whom.
pub(crate) struct Reader<'a> {
    pub(crate) lake: &'a Lake,
    pub(crate) owner: FileOwner,
    /// What the names of the owner's files begin with.
    pub(crate) root: String,
    pub(crate) snapshot: &'a OwnerTx,
    pub(crate) ticket: &'a Ticket,
}

/// A reading whose files are stored.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) reading: Reading,
    pub(crate) stored: Vec<NewFile>,
    /// The parts that have rows.
    pub(crate) seen: HashSet<Part>,
}

/// Reads one dataset; that it is written, or why it is not, is said by one of the tasks that are added to `writing`.
pub(crate) async fn read(
    reader: &Reader<'_>,
    reading: &Reading,
    writing: &mut JoinSet<Result<Option<Written>, LakeError>>,
) -> Result<(), LakeError> {
    let estimate = reader.estimate(reading).await?;
    let tuning = reader.lake.tuning();
    if estimate <= tuning.sorted_here_bytes {
        let room = reader.lake.room_to_sort(estimate).await?;
        let most_bytes = usize::try_from((2 * estimate + SLACK_BYTES).min(tuning.sorting_most_bytes)).unwrap_or(usize::MAX);
        if reader.read_as(reading, Sorting::Here { most_bytes }, Some(room), writing).await? {
            return Ok(());
        }
    }
    reader.read_as(reading, Sorting::ByPostgres, None, writing).await.map(drop)
}

impl Reader<'_> {
    /// Estimates what the rows take on Postgres' disk: no more than their table, nor much more than the files that held them last.
    async fn estimate(&self, reading: &Reading) -> Result<u64, LakeError> {
        let table = copying::table_bytes(self.snapshot, &reading.dataset).await?;
        let Wanted::Months(months) = &reading.wanted else { return Ok(table) };
        let files = || self.ticket.files_of(reading.dataset.name).filter(|file| reading.wanted.covers(file.part));
        let held: HashSet<_> = files().filter_map(|file| file.part.month()).collect();
        let is_known = months.iter().all(|month| held.contains(month));
        let last: u64 = files().map(|file| file.size_bytes).sum();
        Ok(if is_known { table.min(last.saturating_mul(EXPANSION)) } else { table })
    }

    /// Reads once; false when the rows have to be sorted by Postgres after all.
    async fn read_as(
        &self,
        reading: &Reading,
        sorting: Sorting,
        room: Option<OwnedSemaphorePermit>,
        writing: &mut JoinSet<Result<Option<Written>, LakeError>>,
    ) -> Result<bool, LakeError> {
        let Reading { dataset, wanted, by_day } = reading;
        let order = match sorting {
            Sorting::Here { .. } => Order::Any,
            Sorting::ByPostgres => Order::Sorted(by_day.clone()),
        };
        let rows = self.snapshot.copy_out(&copying::copy_statement(dataset, wanted, &order)).await?;
        let (chunks, chunks_in) = mpsc::channel(QUEUE);
        let (files, files_in) = mpsc::channel(QUEUE);
        let (read, is_read) = oneshot::channel();
        let place = Place { owner: self.owner, root: self.root.clone(), objects: self.lake.objects().clone() };
        let current = self.ticket.hashes(dataset.name, &self.root);
        let encoder = Encoder::new(*dataset, by_day.clone(), sorting, place, current, files);
        let (lake, owner, reading) = (self.lake.clone(), self.owner, reading.clone());
        writing.spawn(async move {
            let encoding = tokio::task::spawn_blocking(move || encoder.run(chunks_in, read));
            let stored = store_files(&lake, owner, &reading, files_in);
            let (stored, seen) = futures::join!(stored, encoding);
            drop(room);
            // When storing fails, the encoder only learns that nobody takes its files.
            let stored = stored?;
            match seen.map_err(|_| LakeError::WorkerEnded)?? {
                Outcome::Whole(seen) => Ok(Some(Written { reading, stored, seen })),
                Outcome::TooLarge => Ok(None),
            }
        });
        feed(rows, chunks).await?;
        // An encoder that failed says why when it is waited for.
        Ok(is_read.await.unwrap_or(true))
    }
}

async fn store_files(
    lake: &Lake,
    owner: FileOwner,
    reading: &Reading,
    mut files: mpsc::Receiver<Encoded>,
) -> Result<Vec<NewFile>, LakeError> {
    let dataset = &reading.dataset;
    futures::stream::poll_fn(move |context| files.poll_recv(context))
        .map(|Encoded { part, file }| async move {
            let stored = NewFile::store(file, owner, dataset.name, part, sorted_by(dataset), lake.keys(), lake.objects()).await?;
            lake.reach(Step::Stored, owner.customer).await;
            Ok(stored)
        })
        .buffer_unordered(PARALLEL_STORES)
        .try_collect()
        .await
}

/// Hands rows on in chunks; ends quietly when nobody takes them, because then the encoder has the reason.
pub(crate) async fn feed(rows: CopyOutStream, chunks: mpsc::Sender<Bytes>) -> Result<(), LakeError> {
    let mut rows = std::pin::pin!(rows);
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    while let Some(row) = rows.next().await {
        let row = row.map_err(granary_db::DbError::from)?;
        if chunk.len() + row.len() > CHUNK_BYTES && !chunk.is_empty() {
            let full = std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_BYTES));
            if chunks.send(full.into()).await.is_err() {
                return Ok(());
            }
        }
        chunk.extend_from_slice(&row);
    }
    // Whether anybody still listens no longer matters.
    let _ = chunks.send(chunk.into()).await;
    Ok(())
}
