//! How the files of a scan are dealt to executors: whole, since an encrypted file that is split is opened again for every piece.

use std::sync::Arc;

use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfig};
use datafusion::datasource::source::DataSourceExec;
use datafusion::error::Result;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use datafusion_distributed::{DistributedLeafExec, ScaleUpLeafNodeEvent, ScaleUpLeafNodeEventResponse, ScaleUpLeafNodeHandler};

/// How much of a scan is worth another executor.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) bytes_per_thread: usize,
}

impl Share {
    /// Returns how many executors the largest scan of a plan is worth.
    pub(super) fn most_tasks(self, plan: &Arc<dyn ExecutionPlan>, threads: usize) -> usize {
        let own = scan(plan).map_or(0, |scan| {
            let files = scan.file_groups.iter().flat_map(FileGroup::iter);
            let bytes: u64 = files.map(PartitionedFile::effective_size).sum();
            usize::try_from(bytes).unwrap_or(usize::MAX).div_ceil(self.bytes_per_thread).div_ceil(threads.max(1))
        });
        plan.children().into_iter().map(|child| self.most_tasks(child, threads)).fold(own, usize::max)
    }
}

impl ScaleUpLeafNodeHandler for Share {
    fn handle(&self, event: ScaleUpLeafNodeEvent<'_>) -> Option<Result<ScaleUpLeafNodeEventResponse>> {
        // Files that say which values they hold are the engine's own to deal.
        let scan = scan(event.plan).filter(|scan| scan.output_partitioning.is_none())?;
        let partitions = event.plan.output_partitioning().partition_count();
        let dealt = DistributedLeafExec::try_new(Arc::clone(event.plan), hands(scan, event.task_count, partitions));
        Some(dealt.map(|leaf| ScaleUpLeafNodeEventResponse::new(Arc::new(leaf))))
    }
}

fn scan(plan: &Arc<dyn ExecutionPlan>) -> Option<&FileScanConfig> {
    plan.downcast_ref::<DataSourceExec>()?.data_source().downcast_ref::<FileScanConfig>()
}

/// Deals the files, largest first, so that every executor reads about as many bytes; groups that promise an order stay as they are.
fn hands(scan: &FileScanConfig, executors: usize, partitions: usize) -> Vec<Arc<dyn ExecutionPlan>> {
    let is_ordered = scan.preserve_order || !scan.output_ordering.is_empty();
    let mut bundles: Vec<Vec<PartitionedFile>> = if is_ordered {
        scan.file_groups.iter().map(|group| group.iter().cloned().collect()).collect()
    } else {
        scan.file_groups.iter().flat_map(FileGroup::iter).map(|file| vec![file.clone()]).collect()
    };
    bundles.sort_by_key(|files| std::cmp::Reverse(files.iter().map(PartitionedFile::effective_size).sum::<u64>()));
    // A bundle more than places would have to share one, and lose its order.
    let places = if is_ordered { bundles.len().div_ceil(executors) } else { partitions }.max(1);
    let mut hands = vec![vec![Vec::new(); places]; executors];
    for (index, files) in bundles.into_iter().enumerate() {
        hands[index % executors][(index / executors) % places].extend(files);
    }
    let one = |groups: Vec<Vec<PartitionedFile>>| {
        let mut scan = scan.clone();
        scan.file_groups = groups.into_iter().map(FileGroup::new).collect();
        DataSourceExec::from_data_source(scan) as Arc<dyn ExecutionPlan>
    };
    hands.into_iter().map(one).collect()
}
