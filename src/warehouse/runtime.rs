//! One engine for all sessions: one memory pool, one spill directory, one object store.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;

use crate::led::{Answer, lead};
use crate::pool::QueryPool;
use crate::watchdog::Queries;
use crate::{Budget, functions};

/// The name under which the engine knows the lake's store.
const STORE: &str = "granary://lake";
/// The catalog of every session.
pub(crate) const CATALOG: &str = "granary";

/// Returns the URL of the lake's store inside the engine.
pub(crate) fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(STORE)
}

/// The engine that all sessions share.
#[derive(Debug)]
pub(crate) struct Engine {
    runtime: Arc<RuntimeEnv>,
    queries: Queries,
}

impl Engine {
    /// Begins to execute a plan within the budgets of time and memory. The answer comes from the task that asks for it; dropped, it
    /// ends whatever works for it.
    pub(crate) fn start(&self, plan: Arc<dyn ExecutionPlan>, task: TaskContext, budget: &Budget) -> Result<SendableRecordBatchStream> {
        let leash = self.queries.begin(budget.time);
        let limit = usize::try_from(budget.bytes_of_one()).unwrap_or(usize::MAX);
        let pool = QueryPool::new(limit, Arc::clone(&self.runtime.memory_pool), Arc::clone(&leash));
        let runtime = RuntimeEnv { memory_pool: Arc::new(pool), ..(*self.runtime).clone() };
        let inner = execute_stream(lead(plan, &leash)?, Arc::new(task.with_runtime(Arc::new(runtime))))?;
        Ok(Box::pin(Answer { inner, leash }))
    }

    /// Counts the queries of which anything is left.
    #[cfg(test)]
    pub(crate) fn running(&self) -> usize {
        self.queries.count()
    }
}

/// Makes the engine that all sessions share.
pub(crate) fn shared(budget: &Budget, store: Arc<dyn ObjectStore>) -> Result<Arc<Engine>> {
    let memory = usize::try_from(budget.memory_bytes).unwrap_or(usize::MAX);
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_max_temp_directory_size(budget.spill_bytes).build_arc()?;
    runtime.register_object_store(store_url()?.as_ref(), store);
    Ok(Arc::new(Engine { runtime, queries: Queries::new(budget.process_bytes) }))
}

/// Makes an empty session on the shared engine.
pub(crate) fn context(engine: &Engine, budget: &Budget) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(budget.threads.max(1))
        .with_default_catalog_and_schema(CATALOG, crate::catalog::MODEL_SCHEMA)
        .with_information_schema(true)
        .with_batch_size(budget.tuning.batch_rows)
        .with_collect_statistics(false);
    // Files are dealt to the threads by the provider, and an encrypted file that is split reads its footer again and again.
    config.options_mut().optimizer.repartition_file_scans = false;
    config.options_mut().execution.parquet.pushdown_filters = budget.tuning.filters_first;
    config.options_mut().execution.parquet.reorder_filters = budget.tuning.filters_first;
    let context = SessionContext::new_with_config_rt(config, Arc::clone(&engine.runtime));
    for function in functions::all() {
        context.register_udf(function);
    }
    context
}
