//! Operators on a leash: each asks before every batch whether its query still runs, and gives way to others now and then.

use std::any::Any;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{RecordBatchStream, SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{OrderingRequirements, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{InvariantLevel, ReplaceChildrenOptions};
use datafusion::physical_plan::metrics::MetricsSet;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, InputDistributionRequirements, PlanProperties};
use futures::Stream;

use crate::leash::{End, Leash};
use crate::pairs::lead_condition;

/// Puts every operator of a plan on a leash.
pub(crate) fn lead(plan: Arc<dyn ExecutionPlan>, leash: &Arc<Leash>) -> Result<Arc<dyn ExecutionPlan>> {
    let wrap = |inner: Arc<dyn ExecutionPlan>| Ok(Transformed::yes(Led::wrap(lead_condition(inner, leash)?, leash)));
    plan.transform_up(wrap).map(|led| led.data)
}

/// One operator on a leash; to whoever looks at the plan it is the operator itself.
#[derive(Debug)]
struct Led {
    inner: Arc<dyn ExecutionPlan>,
    leash: Arc<Leash>,
}

impl Led {
    fn wrap(inner: Arc<dyn ExecutionPlan>, leash: &Arc<Leash>) -> Arc<dyn ExecutionPlan> {
        Arc::new(Self { inner, leash: Arc::clone(leash) })
    }
}

impl DisplayAs for Led {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_as(format, f)
    }
}

impl ExecutionPlan for Led {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn downcast_delegate(&self) -> Option<&dyn ExecutionPlan> {
        Some(self.inner.as_ref())
    }

    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.inner.properties()
    }

    fn check_invariants(&self, check: InvariantLevel) -> Result<()> {
        self.inner.check_invariants(check)
    }

    fn dynamic_expressions_produced(&self) -> Vec<Arc<dyn PhysicalExpr>> {
        self.inner.dynamic_expressions_produced()
    }

    fn input_distribution_requirements(&self) -> InputDistributionRequirements {
        self.inner.input_distribution_requirements()
    }

    fn required_input_ordering(&self) -> Vec<Option<OrderingRequirements>> {
        self.inner.required_input_ordering()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        self.inner.maintains_input_order()
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        self.inner.children()
    }

    fn apply_expressions(&self, f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>) -> Result<TreeNodeRecursion> {
        self.inner.apply_expressions(f)
    }

    fn replace_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
        options: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::wrap(Arc::clone(&self.inner).replace_children(children, options)?, &self.leash))
    }

    fn with_new_children(self: Arc<Self>, children: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(datafusion::physical_plan::execution_plan::ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Self::wrap(Arc::clone(&self.inner).reset_state()?, &self.leash))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        self.leash.check()?;
        let inner = self.inner.execute(partition, context)?;
        Ok(Box::pin(LedStream { inner, leash: Arc::clone(&self.leash) }))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        self.inner.metrics()
    }

    fn fetch(&self) -> Option<usize> {
        self.inner.fetch()
    }

    fn with_new_state(&self, state: Arc<dyn Any + Send + Sync>) -> Option<Arc<dyn ExecutionPlan>> {
        self.inner.with_new_state(state).map(|inner| Self::wrap(inner, &self.leash))
    }
}

/// The rows of one operator.
struct LedStream {
    inner: SendableRecordBatchStream,
    leash: Arc<Leash>,
}

impl Stream for LedStream {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Err(error) = self.leash.check() {
            return Poll::Ready(Some(Err(error)));
        }
        let turn = ready!(tokio::task::coop::poll_proceed(cx));
        let leash = Arc::clone(&self.leash);
        let polled = leash.work(|| self.inner.as_mut().poll_next(cx));
        if polled.is_ready() {
            turn.made_progress();
        }
        polled
    }
}

impl RecordBatchStream for LedStream {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

/// An answer as its reader takes it: the clock goes while the reader waits, and whoever drops it ends the query.
pub(crate) struct Answer {
    pub(crate) inner: SendableRecordBatchStream,
    pub(crate) leash: Arc<Leash>,
}

impl Stream for Answer {
    type Item = Result<RecordBatch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.leash.start_clock();
        let polled = ready!(self.inner.as_mut().poll_next(cx));
        self.leash.stop_clock();
        // What an operator makes of the end of its input is not why the query ended.
        match self.leash.ended() {
            Some(end) if polled.as_ref().is_none_or(Result::is_err) => Poll::Ready(Some(Err(end.into()))),
            _ => Poll::Ready(polled),
        }
    }
}

impl RecordBatchStream for Answer {
    fn schema(&self) -> SchemaRef {
        self.inner.schema()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.leash.end(End::Gone);
    }
}
