//! The way to an executor: connections that are kept, and errors that name whom they came from.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use datafusion::arrow::array::RecordBatch;
use datafusion::common::exec_err;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion_distributed::grpc::{BoxCloneSyncChannel, create_worker_client};
use datafusion_distributed::{
    ChannelResolver, CoordinatorToWorkerMsg, ExecuteTaskRequest, GetWorkerInfoRequest, GetWorkerInfoResponse, SetPlanRequest,
    WorkerChannel, WorkerToCoordinatorMsg,
};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use granary_foundation::config::ExecutorsConfig;
use http::HeaderMap;
use tonic::transport::{Channel, Endpoint};
use tower::ServiceExt;
use url::Url;

use super::ticket::{BUILD, header};
use super::wire::Dialer;
use crate::WarehouseError;

/// How long an executor may take to accept a connection or a greeting.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often a silent executor is asked whether it is there, while a query waits for it.
const PULSE: Duration = Duration::from_secs(5);
/// What is said of one that is gone,
const LOST: &str = "is lost: ";
/// and of one that takes no ticket.
const REFUSES: &str = "refuses: ";
/// How long one that did not answer is left alone.
const REST: Duration = Duration::from_secs(5);

/// An executor ended, cannot be reached or refused while a query needed it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("executor {executor} {problem}")]
pub(crate) struct Lost {
    executor: String,
    problem: String,
}

impl Lost {
    /// Finds out whether an error says so, here or on an executor that told of it in words.
    pub(crate) fn of(error: &DataFusionError) -> Option<String> {
        let DataFusionError::External(cause) = error.find_root() else { return None };
        let said = cause.to_string();
        (cause.is::<Self>() || (said.starts_with("executor ") && (said.contains(LOST) || said.contains(REFUSES)))).then_some(said)
    }
}

/// Connections to executors; clones share them.
#[derive(Clone)]
pub(super) struct Channels {
    dialer: Dialer,
    /// None: whoever is asked for. An executor calls only those whom the ticket names.
    only: Option<Arc<[Url]>>,
    open: Arc<Mutex<HashMap<Url, Channel>>>,
    silent: Arc<Mutex<HashMap<Url, Instant>>>,
}

impl fmt::Debug for Channels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channels(…)")
    }
}

impl Channels {
    pub(super) fn new(config: &ExecutorsConfig, only: Option<Arc<[Url]>>) -> Result<Self, WarehouseError> {
        Ok(Self { dialer: Dialer::new(config)?, only, open: Arc::default(), silent: Arc::default() })
    }

    /// The same connections, for those only whom a ticket names.
    pub(super) fn among(&self, executors: &[Url]) -> Self {
        Self { only: Some(executors.into()), ..self.clone() }
    }

    /// Asks an executor whether it is there and takes this ticket.
    pub(super) async fn greet(&self, url: &Url, ticket: &str) -> Result<()> {
        let is_resting = |since: &Instant| since.elapsed() < REST;
        if self.silent.lock().unwrap_or_else(PoisonError::into_inner).get(url).is_some_and(is_resting) {
            return exec_err!("it did not answer a moment ago");
        }
        let greeted = match tokio::time::timeout(PATIENCE, self.ask(url, ticket)).await {
            Ok(greeted) => greeted,
            Err(_) => exec_err!("it does not answer within {} s", PATIENCE.as_secs()),
        };
        let mut silent = self.silent.lock().unwrap_or_else(PoisonError::into_inner);
        match &greeted {
            Ok(()) => silent.remove(url),
            Err(_) => silent.insert(url.clone(), Instant::now()),
        };
        greeted
    }

    async fn ask(&self, url: &Url, ticket: &str) -> Result<()> {
        let headers = header(ticket)?;
        let with_ticket = move |mut request: http::Request<tonic::body::Body>| {
            request.headers_mut().extend(headers.clone());
            request
        };
        let channel = BoxCloneSyncChannel::new(self.channel(url).await?.map_request(with_ticket));
        let info = create_worker_client(channel).get_worker_info(GetWorkerInfoRequest {}).await.map_err(|error| named(url, error))?;
        match info.version {
            version if version == BUILD => Ok(()),
            other => exec_err!("it is of build {other}, and this is {BUILD}"),
        }
    }

    /// Returns the connection to an executor; one that broke is made again by itself.
    async fn channel(&self, url: &Url) -> Result<Channel> {
        if self.only.as_ref().is_some_and(|only| !only.contains(url)) {
            return exec_err!("{url} is no executor of this query");
        }
        let kept = self.open.lock().unwrap_or_else(PoisonError::into_inner).get(url).cloned();
        if let Some(channel) = kept {
            return Ok(channel);
        }
        let lost = |error: tonic::transport::Error| self::lost(url, &chain(&error));
        let endpoint = Endpoint::from_shared(url.to_string())
            .map_err(lost)?
            .connect_timeout(PATIENCE)
            .tcp_nodelay(true)
            .http2_adaptive_window(true)
            .http2_keep_alive_interval(PULSE)
            .keep_alive_timeout(PULSE);
        let channel = endpoint.connect_with_connector(self.dialer.clone()).await.map_err(lost)?;
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(url.clone(), channel.clone());
        Ok(channel)
    }
}

#[async_trait]
impl ChannelResolver for Channels {
    async fn get_worker_client_for_url(&self, url: &Url) -> Result<Box<dyn WorkerChannel>> {
        let client = create_worker_client(BoxCloneSyncChannel::new(self.channel(url).await?));
        Ok(Box::new(Named { client, url: url.clone() }))
    }
}

/// Says in every error of a connection whose it is.
struct Named {
    client: Box<dyn WorkerChannel>,
    url: Url,
}

#[async_trait]
impl WorkerChannel for Named {
    async fn coordinator_channel(
        &mut self,
        headers: HeaderMap,
        request: SetPlanRequest,
        messages: BoxStream<'static, CoordinatorToWorkerMsg>,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<BoxStream<'static, Result<WorkerToCoordinatorMsg>>> {
        let answer = self.client.coordinator_channel(headers, request, messages, metrics, task).await;
        let url = self.url.clone();
        Ok(answer.map_err(|error| named(&self.url, error))?.map_err(move |error| named(&url, error)).boxed())
    }

    async fn execute_task(
        &mut self,
        headers: HeaderMap,
        request: ExecuteTaskRequest,
        metrics: ExecutionPlanMetricsSet,
        task: &Arc<TaskContext>,
    ) -> Result<Vec<BoxStream<'static, Result<RecordBatch>>>> {
        let streams = self.client.execute_task(headers, request, metrics, task).await.map_err(|error| named(&self.url, error))?;
        let name = |stream: BoxStream<'static, Result<RecordBatch>>| {
            let url = self.url.clone();
            stream.map_err(move |error| named(&url, error)).boxed()
        };
        Ok(streams.into_iter().map(name).collect())
    }

    async fn get_worker_info(&mut self, request: GetWorkerInfoRequest) -> Result<GetWorkerInfoResponse> {
        self.client.get_worker_info(request).await.map_err(|error| named(&self.url, error))
    }
}

/// An error of the engine comes as it is; one of the connection becomes the executor's.
fn named(url: &Url, error: DataFusionError) -> DataFusionError {
    match error {
        DataFusionError::External(cause) => match cause.downcast::<tonic::Status>() {
            Ok(status) if status.code() == tonic::Code::Unauthenticated => problem(url, format!("{REFUSES}{}", status.message())),
            Ok(status) => lost(url, &chain(&*status)),
            Err(cause) => DataFusionError::External(cause),
        },
        error => error,
    }
}

fn lost(url: &Url, cause: &str) -> DataFusionError {
    problem(url, format!("{LOST}{cause}"))
}

fn problem(url: &Url, problem: String) -> DataFusionError {
    DataFusionError::External(Box::new(Lost { executor: url.to_string(), problem }))
}

/// Writes an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said = format!("{said}: {error}");
        cause = error.source();
    }
    said
}
