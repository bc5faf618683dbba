//! Queries over several machines: this one plans and collects, executors of the same house read and compute.
//!
//! The engine is `datafusion-distributed`. A plan travels with paths and no keys; with it goes a ticket, which says for whom and for
//! which version of the lake it runs. An executor is a process of this house: it knows from the ticket's digest that the house made
//! it, opens the snapshot of that grant itself, and puts that grant's keys, and no others, into the fragment, after it has seen
//! that the fragment reads nothing but files of that snapshot. Whoever has no ticket gets nothing.
//!
//! Invariants: no key is in a plan, a setting or a header; an executor that ends ends the queries it works for, with its name,
//! and takes no part in the next one. What reads little is answered here.

mod channel;
mod deal;
mod executor;
mod fragment;
mod house;
#[cfg(test)]
mod tests;
mod ticket;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use datafusion::catalog::Session as EngineSession;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::context::QueryPlanner;
use datafusion::execution::{SessionState, SessionStateBuilder, TaskContext};
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionContext;
use datafusion_distributed::{DistributedExt, SessionStateBuilderExt, WorkerResolver};
use granary_foundation::config::ExecutorsConfig;
use granary_tenants::ReadGrant;
use url::Url;

use crate::session::{polite, within_files};
use crate::{Budget, WarehouseError};

use channel::Channels;
use deal::Share;
use ticket::{Bearer, Ticket};

pub(crate) use channel::Lost;
pub use executor::Accepted;
pub(crate) use house::{House, LakeHouse};

/// How much longer than its query a ticket is taken.
const GRACE: Duration = Duration::from_secs(300);

/// The executors of this house, as whoever asks sees them.
pub(crate) struct Cluster {
    house: Arc<dyn House>,
    urls: Vec<Url>,
    channels: Channels,
    share: Share,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({} executors)", self.urls.len())
    }
}

impl Cluster {
    /// Takes the executors that are configured; none when none are.
    pub(crate) fn of(config: &ExecutorsConfig, house: Arc<dyn House>) -> Result<Option<Arc<Self>>, WarehouseError> {
        if config.urls.is_empty() {
            return Ok(None);
        }
        let parse =
            |text: &String| Url::parse(text).map_err(|error| WarehouseError::Executors(format!("'{text}' is not an address: {error}")));
        let urls = config.urls.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let channels = Channels::new(config, None)?;
        let share = Share { bytes_per_thread: config.bytes_per_thread.max(1) };
        Ok(Some(Arc::new(Self { house, urls, channels, share })))
    }

    /// Returns those executors that answer, are of this version, and take the ticket.
    async fn present(&self, ticket: &str) -> Vec<Url> {
        let asked = self.urls.iter().map(|url| async move {
            match self.channels.greet(url, ticket).await {
                Ok(()) => Some(url.clone()),
                Err(error) => {
                    tracing::warn!(executor = %url, %error, "an executor takes no part");
                    None
                }
            }
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }
}

/// How one session's plans are spread.
#[derive(Debug, Clone)]
pub(crate) struct Spread {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) grant: ReadGrant,
    pub(crate) version: i64,
}

impl Spread {
    /// Plans a query for the executors; what reads little or what nobody is there for is planned for this machine.
    pub(crate) async fn plan(
        &self,
        context: &SessionContext,
        question: &LogicalPlan,
        budget: &Budget,
    ) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>), WarehouseError> {
        let engine = |error| WarehouseError::of_engine(error, budget);
        let mut state = context.state();
        let options = state.config_mut().options_mut();
        // A subquery that the engine answers beside the plan would be answered on every machine, or on none.
        options.optimizer.enable_physical_uncorrelated_scalar_subquery = false;
        // Where one thread would do everything there is nothing to take apart.
        options.execution.target_partitions = budget.threads.max(2);
        let plan = state.create_physical_plan(question).await.map_err(engine)?;
        within_files(&plan, budget)?;
        let plan = polite(plan).map_err(engine)?;
        if self.cluster.share.most_tasks(&plan, budget.threads) < 2 || !fragment::travels(&plan) {
            return Ok((plan, state.task_ctx()));
        }
        let ticket = Ticket::new(&self.grant, self.version, &self.cluster.urls, budget.time + GRACE);
        let Some(bearer) = Bearer::seal(&*self.cluster.house, &ticket).await? else { return Ok((plan, state.task_ctx())) };
        let present = self.cluster.present(bearer.text()).await;
        if present.is_empty() {
            return Ok((plan, state.task_ctx()));
        }
        self.spread(state, plan, &bearer, present).await.map_err(engine)
    }

    async fn spread(
        &self,
        state: SessionState,
        plan: Arc<dyn ExecutionPlan>,
        bearer: &Bearer,
        present: Vec<Url>,
    ) -> Result<(Arc<dyn ExecutionPlan>, Arc<TaskContext>)> {
        let Cluster { channels, share, .. } = &*self.cluster;
        let state = SessionStateBuilder::new_from_existing(state)
            .with_query_planner(Arc::new(Planned(plan)))
            .with_distributed_planner()
            .with_distributed_worker_resolver(Present(present))
            .with_distributed_channel_resolver(channels.clone())
            .with_distributed_passthrough_headers(bearer.headers()?)?
            .with_distributed_file_scan_config_bytes_per_partition(share.bytes_per_thread)?
            .with_distributed_metrics_collection(false)?
            .with_distributed_scale_up_leaf_node_handler(*share)
            .build();
        let plan = state.query_planner().create_physical_plan(&LogicalPlan::default(), &state).await?;
        Ok((plan, state.task_ctx()))
    }
}

/// A plan that is there already: the engine's planner for several machines takes what another planner made.
#[derive(Debug)]
struct Planned(Arc<dyn ExecutionPlan>);

#[async_trait::async_trait]
impl QueryPlanner for Planned {
    async fn create_physical_plan(&self, _: &LogicalPlan, _: &dyn EngineSession) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::clone(&self.0))
    }
}

/// Who takes part in one query.
struct Present(Vec<Url>);

impl WorkerResolver for Present {
    fn get_urls(&self) -> Result<Vec<Url>, DataFusionError> {
        Ok(self.0.clone())
    }
}
