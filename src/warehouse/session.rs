//! A session: read-only queries within a grant, on one version of the lake.

use granary_foundation::{Boxed, traces};
use std::collections::HashMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::json::writer::{JsonArray, WriterBuilder};
use datafusion::common::runtime::SpawnedTask;
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use futures::{FutureExt, TryStreamExt};
use serde::de::DeserializeOwned;
use tracing::Instrument;

use crate::runtime::Engine;
use crate::{Budget, Question, WarehouseError};

/// A read-only view of the lake at one version, for one grant. Cheap to clone.
#[derive(Clone)]
pub struct Session(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) context: SessionContext,
    pub(crate) engine: Arc<Engine>,
    version: i64,
    pub(crate) budget: Budget,
    answers: Mutex<Answers>,
}

/// Answers already given: a session never sees another version, so that they stay right while it lives.
#[derive(Default)]
struct Answers {
    by_sql: HashMap<String, (SchemaRef, Vec<RecordBatch>)>,
    bytes: usize,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session(version {})", self.0.version)
    }
}

impl Session {
    pub(crate) fn new(context: SessionContext, version: i64, engine: &Arc<Engine>, budget: Budget) -> Self {
        Self(Arc::new(Inner { context, engine: Arc::clone(engine), version, budget, answers: Mutex::default() }))
    }

    /// Returns the version of the lake that this session reads.
    pub fn version(&self) -> i64 {
        self.0.version
    }

    pub(crate) fn context(&self) -> &SessionContext {
        &self.0.context
    }

    /// Answers a query; nothing but a query is accepted.
    ///
    /// # Errors
    /// When the statement is not a query or names what this session does not see, and when a budget is exceeded.
    pub fn query<'a>(&'a self, sql: &'a str) -> Boxed<'a, Result<Vec<RecordBatch>, WarehouseError>> {
        Box::pin(async move { self.query_with_schema(sql).await.map(|(_, batches)| batches) })
    }

    /// Answers a query, with the columns also when no row comes back.
    ///
    /// # Errors
    /// As [`Session::query`].
    pub fn query_with_schema<'a>(&'a self, sql: &'a str) -> Boxed<'a, Result<(SchemaRef, Vec<RecordBatch>), WarehouseError>> {
        Box::pin(async move {
            if let Some(answer) = self.answers().by_sql.get(sql) {
                return Ok(answer.clone());
            }
            let time = self.0.budget.time;
            let timed_out = |_| WarehouseError::Budget { budget: "time", limit: format!("{} s", time.as_secs_f32()) };
            let span = tracing::info_span!(target: traces::TARGET, "query", lake.version = self.0.version);
            let panicked = |_| Err(WarehouseError::panicked());
            let running = AssertUnwindSafe(self.run(sql).instrument(span)).catch_unwind().map(|ran| ran.unwrap_or_else(panicked));
            let answer = tokio::time::timeout(time, running).await.map_err(timed_out)??;
            self.remember(sql, &answer);
            Ok(answer)
        })
    }

    /// Answers a query as typed rows, by column name: days and instants as text in ISO 8601, decimals as text, so that
    /// no float touches an amount.
    ///
    /// # Errors
    /// As [`Session::query`], and when a row does not fit the type.
    pub async fn rows<T: DeserializeOwned>(&self, sql: &str) -> Result<Vec<T>, WarehouseError> {
        let batches = self.query(sql).await?;
        let json = to_json(&batches).map_err(|error| WarehouseError::Engine(error.into()))?;
        if json.is_empty() { Ok(Vec::new()) } else { Ok(serde_json::from_slice(&json)?) }
    }

    /// Asks at once, beside whatever else is asked, on a task that ends with the future.
    pub fn begin_rows<T: DeserializeOwned + Send + 'static>(&self, sql: String) -> Boxed<'static, Result<Vec<T>, WarehouseError>> {
        let session = self.clone();
        let task = SpawnedTask::spawn(async move { session.rows(&sql).await }.in_current_span());
        Box::pin(async move { task.join().await.map_err(|error| WarehouseError::Engine(DataFusionError::ExecutionJoin(Box::new(error))))? })
    }

    async fn run(&self, sql: &str) -> Result<(SchemaRef, Vec<RecordBatch>), WarehouseError> {
        let (plan, task) = self.plan(self.question(sql).await?).await?;
        run_plan(&self.0.engine, plan, task, &self.0.budget).await
    }

    /// Plans a query, and nothing but a query.
    ///
    /// # Errors
    /// When the statement is not a query or names what this session does not see.
    pub fn question<'a>(&'a self, sql: &'a str) -> Boxed<'a, Result<Question, WarehouseError>> {
        Box::pin(Question::new(&self.0.context, sql, &self.0.budget))
    }

    /// Settles how a question is answered, within the budget of files.
    async fn plan(&self, question: Question) -> Result<(Arc<dyn ExecutionPlan>, TaskContext), WarehouseError> {
        let Inner { context, budget, .. } = &*self.0;
        let engine = |error| WarehouseError::of_engine(error, budget);
        let frame = context.execute_logical_plan(question.plan).await.map_err(engine)?;
        let task = frame.task_ctx();
        let plan = frame.create_physical_plan().await.map_err(engine)?;
        within_files(&plan, budget)?;
        Ok((plan, task))
    }

    /// Begins to answer a question whose rows come as they are found.
    pub(crate) async fn stream(&self, question: Question) -> Result<(SchemaRef, SendableRecordBatchStream), WarehouseError> {
        let (plan, task) = self.plan(question).await?;
        let schema = plan.schema();
        let Inner { engine, budget, .. } = &*self.0;
        let rows = engine.start(plan, task, budget).map_err(|error| WarehouseError::of_engine(error, budget))?;
        Ok((schema, rows))
    }

    fn remember(&self, sql: &str, answer: &(SchemaRef, Vec<RecordBatch>)) {
        let bytes = sql.len() + answer.1.iter().map(RecordBatch::get_array_memory_size).sum::<usize>();
        let mut answers = self.answers();
        if bytes > self.0.budget.cache_bytes / 4 {
            return;
        }
        if answers.bytes + bytes > self.0.budget.cache_bytes {
            *answers = Answers::default();
        }
        answers.bytes += bytes;
        answers.by_sql.insert(sql.to_owned(), answer.clone());
    }

    fn answers(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.0.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs a plan within the budgets of files and rows.
pub(crate) async fn run_plan(
    runner: &Engine,
    plan: Arc<dyn ExecutionPlan>,
    task: TaskContext,
    budget: &Budget,
) -> Result<(SchemaRef, Vec<RecordBatch>), WarehouseError> {
    within_files(&plan, budget)?;
    let engine = |error: DataFusionError| WarehouseError::of_engine(error, budget);
    let schema = plan.schema();
    let mut stream = runner.start(plan, task, budget).map_err(engine)?;
    let (mut batches, mut rows) = (Vec::new(), 0);
    while let Some(batch) = stream.try_next().await.map_err(engine)? {
        rows += batch.num_rows();
        if rows > budget.rows {
            return Err(WarehouseError::Budget { budget: "rows", limit: budget.rows.to_string() });
        }
        if batch.num_rows() > 0 {
            batches.push(batch);
        }
    }
    Ok((schema, batches))
}

fn within_files(plan: &Arc<dyn ExecutionPlan>, budget: &Budget) -> Result<(), WarehouseError> {
    match count_files(plan) {
        files if files > budget.files => {
            Err(WarehouseError::Budget { budget: "files", limit: format!("{} (it would open {files})", budget.files) })
        }
        _ => Ok(()),
    }
}

fn count_files(plan: &Arc<dyn ExecutionPlan>) -> usize {
    let own = plan
        .downcast_ref::<DataSourceExec>()
        .and_then(|scan| scan.data_source().downcast_ref::<FileScanConfig>())
        .map_or(0, |config| config.file_groups.iter().map(|group| group.len()).sum());
    own + plan.children().into_iter().map(count_files).sum::<usize>()
}

/// Writes batches as one JSON array; decimals become text, since a JSON number would pass through a float.
pub(crate) fn to_json(batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    for batch in batches {
        writer.write(&decimals_as_text(batch)?)?;
    }
    writer.finish()?;
    Ok(writer.into_inner())
}

fn decimals_as_text(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let mut fields = Vec::with_capacity(batch.num_columns());
    let mut columns = Vec::with_capacity(batch.num_columns());
    for (field, column) in batch.schema().fields().iter().zip(batch.columns()) {
        if field.data_type().is_decimal() {
            fields.push(Field::new(field.name(), DataType::Utf8, true));
            columns.push(cast(column, &DataType::Utf8)?);
        } else {
            fields.push(field.as_ref().clone());
            columns.push(Arc::clone(column));
        }
    }
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}
