//! What an executor runs: operators that only compute, over files of the ticket's snapshot, which it opens with that grant's keys.

use std::sync::Arc;

use datafusion::common::plan_err;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::datasource::physical_plan::parquet::source::ParquetSource;
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion_distributed::{DistributedCodec, WorkerPlanRewriteEvent, WorkerPlanRewriteEventResponse, WorkerPlanRewriteHandler};
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;

use super::house::Opened;
use crate::runtime::store_url;

/// Operators that read nothing by themselves, and write nothing.
const COMPUTING: [&str; 29] = [
    "AggregateExec",
    "BoundedWindowAggExec",
    "BroadcastExec",
    "ChildrenIsolatorUnionExec",
    "CoalesceBatchesExec",
    "CoalescePartitionsExec",
    "CooperativeExec",
    "CrossJoinExec",
    "EmptyExec",
    "FilterExec",
    "GlobalLimitExec",
    "HashJoinExec",
    "InterleaveExec",
    "LocalLimitExec",
    "NestedLoopJoinExec",
    "NetworkBroadcastExec",
    "NetworkCoalesceExec",
    "NetworkShuffleExec",
    "PartialSortExec",
    "PlaceholderRowExec",
    "ProjectionExec",
    "RepartitionExec",
    "SortExec",
    "SortMergeJoinExec",
    "SortPreservingMergeExec",
    "SymmetricHashJoinExec",
    "UnionExec",
    "UnnestExec",
    "WindowAggExec",
];

/// Tells whether executors could run a plan: they know its operators, and it can be written down.
pub(super) fn travels(plan: &Arc<dyn ExecutionPlan>) -> bool {
    let has_stranger = plan.exists(|node| Ok(!is_known(node))).unwrap_or(true);
    if has_stranger {
        return false;
    }
    match physical_plan_to_bytes_with_extension_codec(Arc::clone(plan), &DistributedCodec) {
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "a plan is not spread");
            false
        }
    }
}

fn is_known(node: &Arc<dyn ExecutionPlan>) -> bool {
    match node.downcast_ref::<DataSourceExec>() {
        Some(source) => source.data_source().is::<MemorySourceConfig>() || parquet(source).is_some(),
        // A sort that keeps a few rows says so in its name: SortExec(TopK).
        None => node.name().split('(').next().is_some_and(|name| COMPUTING.contains(&name)),
    }
}

fn parquet(source: &DataSourceExec) -> Option<(&FileScanConfig, &ParquetSource)> {
    let scan = source.data_source().downcast_ref::<FileScanConfig>()?;
    Some((scan, scan.file_source().downcast_ref::<ParquetSource>()?))
}

/// Looks through every fragment before it runs, and puts the keys of the ticket's grant into it.
#[derive(Debug)]
pub(super) struct Fence(pub(super) Arc<Opened>);

impl Fence {
    fn with_keys(&self, node: Arc<dyn ExecutionPlan>) -> Result<Transformed<Arc<dyn ExecutionPlan>>> {
        if !is_known(&node) {
            return plan_err!("an executor does not run {}", node.name());
        }
        let Some((scan, source)) = node.downcast_ref::<DataSourceExec>().and_then(parquet) else { return Ok(Transformed::no(node)) };
        if scan.object_store_url != store_url()? {
            return plan_err!("an executor does not read {}", scan.object_store_url.as_str());
        }
        let groups = scan.file_groups.iter().map(|group| group.iter().map(|file| self.known(file)).collect()).collect::<Result<_>>()?;
        let source = source.clone().with_encryption_factory(Arc::clone(&self.0.keys));
        let scan = FileScanConfigBuilder::from(scan.clone()).with_source(Arc::new(source)).with_file_groups(groups).build();
        Ok(Transformed::yes(DataSourceExec::from_data_source(scan)))
    }

    /// A file of the snapshot, with what the plan could not carry.
    fn known(&self, file: &PartitionedFile) -> Result<PartitionedFile> {
        match self.0.footers.get(file.path().as_ref()) {
            Some(footer) => Ok(file.clone().with_metadata_size_hint(*footer)),
            None => plan_err!("the ticket's grant has no file {}", file.path()),
        }
    }
}

impl WorkerPlanRewriteHandler for Fence {
    fn rewrite_worker_plan(&self, event: WorkerPlanRewriteEvent<'_>) -> Result<WorkerPlanRewriteEventResponse> {
        Ok(WorkerPlanRewriteEventResponse::new(event.plan.transform_up(|node| self.with_keys(node))?.data))
    }
}
