//! Answers on their way out: encoded as they come, whatever their length, while whoever asked is there.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv::WriterBuilder as CsvWriterBuilder;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::ipc::writer::StreamWriter;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::{Compression, ZstdLevel};
use datafusion::parquet::errors::ParquetError;
use datafusion::parquet::file::properties::WriterProperties;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt, TryStreamExt};
use granary_foundation::Boxed;
use granary_types::MspId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::session::to_json;
use crate::{Budget, Question, Session, Warehouse, WarehouseError};

/// Chunks that wait for whoever reads them.
const QUEUE: usize = 2;
/// Who takes nothing for so long is gone.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(5);
/// How much longer than its time a query may take to notice that it is over.
const GRACE: Duration = Duration::from_secs(5);
/// The stack of a thread of queries: plans are walked from top to bottom.
const STACK: usize = 16 << 20;
/// Rows of one group of a Parquet answer, which is held until it is full.
const GROUP_ROWS: usize = 65_536;

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerFormat {
    /// One array of objects; decimals, days and instants as text.
    Json,
    /// With a line of names; RFC 4180.
    Csv,
    /// Arrow's streaming format for exchange between processes.
    ArrowStream,
    /// Parquet with zstd.
    Parquet,
}

impl AnswerFormat {
    /// Every format.
    pub const ALL: [Self; 4] = [Self::Json, Self::Csv, Self::ArrowStream, Self::Parquet];

    /// Returns the registered media type.
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv",
            Self::ArrowStream => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// An answer's bytes; dropped, the query ends.
pub type AnswerStream = BoxStream<'static, Result<Bytes, WarehouseError>>;

/// Who may ask at the same time: a few of each MSP, so that none keeps the others waiting. Who only asks what there is has places
/// apart, so that a tool shows its list of tables while long questions are answered.
#[derive(Debug, Default)]
pub(crate) struct Admission(Mutex<HashMap<(MspId, bool), Arc<Semaphore>>>);

impl Admission {
    async fn wait(&self, msp: MspId, reads_rows: bool, at_once: usize) -> Result<OwnedSemaphorePermit, WarehouseError> {
        let places = {
            let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry((msp, reads_rows)).or_insert_with(|| Arc::new(Semaphore::new(at_once))))
        };
        match tokio::time::timeout(TURN, places.acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => Err(WarehouseError::Busy(at_once)),
        }
    }
}

/// Threads of their own for long queries, so that the API answers meanwhile; they start with the first one.
#[derive(Debug, Default)]
pub(crate) struct QueryThreads(std::sync::OnceLock<Option<tokio::runtime::Runtime>>);

impl QueryThreads {
    fn handle(&self, threads: usize) -> tokio::runtime::Handle {
        let start = || {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            let runtime = runtime.worker_threads(threads.max(1)).thread_name("query").thread_stack_size(STACK).enable_all().build();
            runtime.inspect_err(|error| tracing::error!(%error, "queries have no threads of their own")).ok()
        };
        self.0.get_or_init(start).as_ref().map_or_else(tokio::runtime::Handle::current, |runtime| runtime.handle().clone())
    }
}

impl Drop for QueryThreads {
    /// The last handle may go within an asynchronous task, where waiting is not allowed.
    fn drop(&mut self) {
        if let Some(Some(runtime)) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Warehouse {
    /// Answers a query within a session as a stream; an error before the first rows is returned, one after them ends the stream. The
    /// query goes on no longer than somebody takes the answer.
    ///
    /// # Errors
    /// When the statement is not a query or names what this session does not see, a budget is exceeded, or too many questions of the
    /// MSP are being answered.
    pub fn answer<'a>(
        &'a self,
        msp: MspId,
        session: &'a Session,
        sql: &'a str,
        format: AnswerFormat,
    ) -> Boxed<'a, Result<AnswerStream, WarehouseError>> {
        Box::pin(async move {
            let question = session.question(sql).await?;
            self.begin(msp, session, question, move |schema| Encoder::new(format, schema)).await
        })
    }

    /// Answers a question on the threads of queries; what `make` returns writes its rows.
    pub(crate) async fn begin<W: Writer>(
        &self,
        msp: MspId,
        session: &Session,
        question: Question,
        make: impl FnOnce(&SchemaRef) -> Result<W, WarehouseError> + Send + 'static,
    ) -> Result<BoxStream<'static, Result<W::Piece, WarehouseError>>, WarehouseError> {
        let permit = self.admission.wait(msp, question.reads_rows(), self.budget.at_once).await?;
        let (sender, mut pieces) = mpsc::channel(QUEUE);
        let (session, budget) = (session.clone(), self.budget.clone());
        let is_cut = Arc::new(AtomicBool::new(false));
        let cutting = Arc::clone(&is_cut);
        let task = self.threads.handle(self.budget.threads).spawn(async move {
            let _permit = permit;
            // A panic of the engine must not pass for the end of an answer.
            let driving = AssertUnwindSafe(drive(&session, question, make, &budget, &sender)).catch_unwind();
            // Whoever left gives up his place at once, whether or not there was a row to tell him.
            let driven = tokio::select! {
                driven = driving => driven,
                () = sender.closed() => return,
            };
            let panicked = |_| Err(WarehouseError::panicked());
            let is_told = match driven.unwrap_or_else(panicked) {
                Ok(is_told) => is_told,
                Err(error) => sender.send_timeout(Err(error), PATIENCE).await.is_ok(),
            };
            // Whoever comes back for the rest must not take what there is for all.
            cutting.store(!is_told, Ordering::Release);
        });
        // What is wrong with a question is known with its first rows. This clock also goes when the threads of queries are all busy.
        let patience = self.budget.time + GRACE;
        let Ok(first) = tokio::time::timeout(patience, pieces.recv()).await else {
            task.abort();
            return Err(WarehouseError::Budget { budget: "time", limit: format!("{} s", self.budget.time.as_secs_f32()) });
        };
        let first = first.transpose()?;
        let rest = futures::stream::unfold((pieces, is_cut), |(mut pieces, is_cut)| async move {
            let piece = match pieces.recv().await {
                Some(piece) => piece,
                None if is_cut.swap(false, Ordering::AcqRel) => Err(WarehouseError::Abandoned),
                None => return None,
            };
            Some((piece, (pieces, is_cut)))
        });
        Ok(futures::stream::iter(first.map(Ok)).chain(rest).boxed())
    }
}

/// What makes an answer of rows, piece by piece.
pub(crate) trait Writer: Send {
    type Piece: Send + 'static;

    /// Returns what a batch adds, if it adds anything.
    fn write(&mut self, batch: RecordBatch) -> Result<Option<Self::Piece>, WarehouseError>;

    /// Returns what comes at the end.
    fn finish(&mut self) -> Result<Option<Self::Piece>, WarehouseError>;
}

/// Runs a query and hands on what is made of its rows; the time that the reader takes is his own. Tells whether he took all of it.
async fn drive<W: Writer>(
    session: &Session,
    question: Question,
    make: impl FnOnce(&SchemaRef) -> Result<W, WarehouseError>,
    budget: &Budget,
    sender: &mpsc::Sender<Result<W::Piece, WarehouseError>>,
) -> Result<bool, WarehouseError> {
    let begun = Instant::now();
    let mut spent = Duration::ZERO;
    let time = budget.time;
    let over = || WarehouseError::Budget { budget: "time", limit: format!("{} s", time.as_secs_f32()) };
    let (schema, mut rows): (SchemaRef, SendableRecordBatchStream) =
        tokio::time::timeout(time, session.stream(question)).await.map_err(|_| over())??;
    let mut writer = make(&schema)?;
    spent += begun.elapsed();
    let mut count = 0;
    loop {
        let asked = Instant::now();
        let left = time.checked_sub(spent).ok_or_else(over)?;
        let batch = tokio::time::timeout(left, rows.try_next()).await.map_err(|_| over())?;
        let batch = batch.map_err(|error| WarehouseError::of_engine(error, budget))?;
        spent += asked.elapsed();
        let is_last = batch.is_none();
        let piece = match batch {
            Some(batch) => {
                count += batch.num_rows();
                if count > budget.streamed_rows {
                    return Err(WarehouseError::Budget { budget: "rows", limit: budget.streamed_rows.to_string() });
                }
                writer.write(batch)?
            }
            None => writer.finish()?,
        };
        if let Some(piece) = piece
            && sender.send_timeout(Ok(piece), PATIENCE).await.is_err()
        {
            return Ok(false);
        }
        if is_last {
            return Ok(true);
        }
    }
}

/// Writes batch after batch.
enum Encoder {
    Json { is_begun: bool },
    Csv { schema: SchemaRef, is_begun: bool },
    ArrowStream(StreamWriter<Vec<u8>>),
    Parquet(Option<ArrowWriter<Vec<u8>>>),
}

impl Encoder {
    fn new(format: AnswerFormat, schema: &SchemaRef) -> Result<Self, WarehouseError> {
        Ok(match format {
            AnswerFormat::Json => Self::Json { is_begun: false },
            AnswerFormat::Csv => Self::Csv { schema: Arc::clone(schema), is_begun: false },
            AnswerFormat::ArrowStream => Self::ArrowStream(StreamWriter::try_new(Vec::new(), schema).map_err(encoding)?),
            AnswerFormat::Parquet => {
                let level = Compression::ZSTD(ZstdLevel::default());
                let properties = WriterProperties::builder().set_compression(level).set_max_row_group_row_count(Some(GROUP_ROWS)).build();
                Self::Parquet(Some(ArrowWriter::try_new(Vec::new(), Arc::clone(schema), Some(properties)).map_err(sealing)?))
            }
        })
    }

    fn encode(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, WarehouseError> {
        if batch.num_rows() == 0 {
            return Ok(Vec::new());
        }
        match self {
            Self::Json { is_begun } => {
                let mut array = to_json(std::slice::from_ref(batch)).map_err(encoding)?;
                // The array goes on with the next batch.
                array.pop();
                array[0] = if *is_begun { b',' } else { b'[' };
                *is_begun = true;
                Ok(array)
            }
            Self::Csv { is_begun, .. } => {
                let lines = csv(batch, !*is_begun)?;
                *is_begun = true;
                Ok(lines)
            }
            Self::ArrowStream(writer) => {
                writer.write(batch).map_err(encoding)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Parquet(writer) => match writer {
                Some(writer) => {
                    writer.write(batch).map_err(sealing)?;
                    Ok(std::mem::take(writer.inner_mut()))
                }
                None => Ok(Vec::new()),
            },
        }
    }

    fn end(&mut self) -> Result<Vec<u8>, WarehouseError> {
        match self {
            Self::Json { is_begun: true } => Ok(b"]".to_vec()),
            Self::Json { is_begun: false } => Ok(b"[]".to_vec()),
            Self::Csv { is_begun: true, .. } => Ok(Vec::new()),
            Self::Csv { schema, is_begun: false } => csv(&RecordBatch::new_empty(Arc::clone(schema)), true),
            Self::ArrowStream(writer) => {
                writer.finish().map_err(encoding)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Parquet(writer) => writer.take().map_or_else(|| Ok(Vec::new()), |writer| writer.into_inner().map_err(sealing)),
        }
    }
}

impl Writer for Encoder {
    type Piece = Bytes;

    fn write(&mut self, batch: RecordBatch) -> Result<Option<Bytes>, WarehouseError> {
        Ok(Some(self.encode(&batch)?.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }

    fn finish(&mut self) -> Result<Option<Bytes>, WarehouseError> {
        Ok(Some(self.end()?.into()).filter(|bytes: &Bytes| !bytes.is_empty()))
    }
}

fn csv(batch: &RecordBatch, has_names: bool) -> Result<Vec<u8>, WarehouseError> {
    let mut lines = Vec::new();
    CsvWriterBuilder::new().with_header(has_names).build(&mut lines).write(batch).map_err(encoding)?;
    Ok(lines)
}

/// A type that a format cannot hold is the question's fault: it can cast.
fn encoding(error: ArrowError) -> WarehouseError {
    match error {
        ArrowError::InvalidArgumentError(_) | ArrowError::NotYetImplemented(_) | ArrowError::JsonError(_) | ArrowError::CsvError(_) => {
            WarehouseError::Query(format!("the answer cannot be written so: {error}; cast the column to text"))
        }
        _ => WarehouseError::Engine(error.into()),
    }
}

fn sealing(error: ParquetError) -> WarehouseError {
    match error {
        ParquetError::NYI(_) | ParquetError::ArrowError(_) => {
            WarehouseError::Query(format!("the answer cannot be written so: {error}; cast the column to text"))
        }
        _ => WarehouseError::Engine(error.into()),
    }
}
