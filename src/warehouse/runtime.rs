//! One engine for all sessions: one memory pool, one spill directory, one object store.

use std::num::NonZeroUsize;
use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::{FairSpillPool, TrackConsumersPool};
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::prelude::{SessionConfig, SessionContext};
use object_store::ObjectStore;

use crate::{Budget, functions};

/// The name under which the engine knows the lake's store.
const STORE: &str = "granary://lake";
/// The catalog of every session.
pub(crate) const CATALOG: &str = "granary";

/// Returns the URL of the lake's store inside the engine.
pub(crate) fn store_url() -> Result<ObjectStoreUrl> {
    ObjectStoreUrl::parse(STORE)
}

/// Makes the engine that all sessions share.
pub(crate) fn shared(budget: &Budget, store: Arc<dyn ObjectStore>) -> Result<Arc<RuntimeEnv>> {
    let memory = usize::try_from(budget.memory_bytes).unwrap_or(usize::MAX);
    let pool = TrackConsumersPool::new(FairSpillPool::new(memory), NonZeroUsize::MIN);
    let runtime = RuntimeEnvBuilder::new().with_memory_pool(Arc::new(pool)).with_max_temp_directory_size(budget.spill_bytes).build_arc()?;
    runtime.register_object_store(store_url()?.as_ref(), store);
    Ok(runtime)
}

/// Makes an empty session on the shared engine.
pub(crate) fn context(runtime: &Arc<RuntimeEnv>, budget: &Budget) -> SessionContext {
    let mut config = SessionConfig::new()
        .with_target_partitions(budget.threads.max(1))
        .with_default_catalog_and_schema(CATALOG, crate::catalog::MODEL_SCHEMA)
        .with_information_schema(true)
        .with_collect_statistics(false);
    // Files are dealt to the threads by the provider, and an encrypted file that is split reads its footer again and again.
    config.options_mut().optimizer.repartition_file_scans = false;
    let context = SessionContext::new_with_config_rt(config, Arc::clone(runtime));
    for function in functions::all() {
        context.register_udf(function);
    }
    context
}
