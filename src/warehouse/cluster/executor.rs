//! The other end: a process of this house that runs fragments of other processes' queries.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use datafusion_distributed::{DistributedExt, Worker, WorkerQueryContext, WorkerSessionBuilder};
use futures::Stream;
use futures::future::BoxFuture;
use granary_foundation::config::ExecutorsConfig;
use http::{Request, Response};
use tonic::Status;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Server;
use tower::Service;

use super::channel::Channels;
use super::fragment::Fence;
use super::house::{House, LakeHouse};
use super::ticket::{BUILD, HEADER, Ticket, header};
use crate::{Warehouse, WarehouseError, functions, guard};

pub use super::wire::Wire as Accepted;

/// The largest message: a fragment that names some hundred thousand files.
const MESSAGE_BYTES: usize = 64 << 20;
/// The most that the headers of a request may take.
const HEADER_BYTES: u32 = 1 << 20;
/// How often a silent coordinator is asked whether it is there.
const PULSE: Duration = Duration::from_secs(10);

impl Warehouse {
    /// Runs fragments of queries for other processes of this house until `end`; whoever brings no ticket of the house gets nothing.
    ///
    /// # Errors
    /// When the configuration of executors cannot be used, or the server fails.
    pub async fn execute_for_others<I>(
        &self,
        config: &ExecutorsConfig,
        connections: I,
        end: impl Future<Output = ()> + Send,
    ) -> Result<(), WarehouseError>
    where
        I: Stream<Item = std::io::Result<Accepted>> + Send,
    {
        let executor = Executor::new(Arc::new(LakeHouse::new(self.lake.clone())), config)?;
        serve(executor.service(Arc::clone(&self.runtime)), connections, end).await
    }
}

/// Serves a gate until the end.
pub(super) async fn serve<S, I>(gate: S, connections: I, end: impl Future<Output = ()> + Send) -> Result<(), WarehouseError>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + NamedService + Clone + Send + Sync + 'static,
    S::Future: Send + 'static,
    I: Stream<Item = std::io::Result<Accepted>> + Send,
{
    Server::builder()
        .http2_max_header_list_size(HEADER_BYTES)
        .http2_adaptive_window(Some(true))
        .http2_keepalive_interval(Some(PULSE))
        .add_service(gate)
        .serve_with_incoming_shutdown(connections, end)
        .await
        .map_err(|error| WarehouseError::Executors(error.to_string()))
}

/// What an executor runs fragments with. Cheap to clone.
#[derive(Clone)]
pub(super) struct Executor {
    house: Arc<dyn House>,
    channels: Channels,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Executor(…)")
    }
}

impl Executor {
    pub(super) fn new(house: Arc<dyn House>, config: &ExecutorsConfig) -> Result<Self, WarehouseError> {
        // Whom it may call says each ticket.
        let config = ExecutorsConfig { urls: Vec::new(), ..config.clone() };
        Ok(Self { house, channels: Channels::new(&config, Some(Arc::from([])))? })
    }

    /// Returns the service behind its gate.
    pub(super) fn service(
        &self,
        runtime: Arc<RuntimeEnv>,
    ) -> Gate<
        impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send> + NamedService + Clone + Send + Sync + 'static,
    > {
        let worker = Worker::from_session_builder(self.clone()).with_runtime_env(runtime).with_version(BUILD);
        let inner = worker.into_worker_server().max_decoding_message_size(MESSAGE_BYTES);
        Gate { inner, house: Arc::clone(&self.house) }
    }
}

#[async_trait]
impl WorkerSessionBuilder for Executor {
    async fn build_session_state(&self, context: WorkerQueryContext) -> Result<SessionState> {
        let refused = |error| DataFusionError::External(Box::new(error));
        let ticket = Ticket::open(&*self.house, &context.headers).await.map_err(refused)?;
        // The house is asked each time: a version, or a customer, may be gone.
        let opened = self.house.open(&ticket.grant(), ticket.version).await.map_err(|error| DataFusionError::External(Box::new(error)))?;
        tracing::debug!(msp.id = %ticket.grant().msp, lake.version = ticket.version, files = opened.footers.len(), "a fragment runs");
        let text = context.headers.get(HEADER).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let state = context
            .builder
            .with_distributed_passthrough_headers(header(text)?)?
            .with_distributed_channel_resolver(self.channels.among(&ticket.executors))
            .with_distributed_worker_plan_rewrite_handler(Fence(opened))
            .build();
        let session = SessionContext::new_with_state(state);
        for function in functions::all() {
            session.register_udf(function);
        }
        guard::bound(&session)?;
        Ok(session.state())
    }
}

/// Lets through whoever brings a ticket of this house.
#[derive(Clone)]
pub(super) struct Gate<S> {
    inner: S,
    house: Arc<dyn House>,
}

impl<S: NamedService> NamedService for Gate<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<Request<Body>> for Gate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready is taken; its clone need not be.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let house = Arc::clone(&self.house);
        Box::pin(async move {
            match Ticket::open(&*house, request.headers()).await {
                Ok(_) => inner.call(request).await,
                Err(refused) => {
                    tracing::warn!(reason = %refused, "a request to the executor is refused");
                    Ok(Status::unauthenticated(refused.to_string()).into_http())
                }
            }
        })
    }
}
