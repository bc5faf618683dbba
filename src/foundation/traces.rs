//! Traces: how long requests, jobs and queries take and which caused which, told to a collector in the protocol of
//! OpenTelemetry (OTLP over HTTP, as JSON). Off unless an address is configured.
//!
//! Only spans of [`TARGET`] are told. They name routes, kinds of jobs and versions; never an address as it was asked for, a
//! statement or a value, because a collector is another house.

use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};
use serde::Deserialize;
use tokio::runtime::Handle;
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// What marks a span that is told: `tracing::info_span!(target: TARGET, …)`.
pub const TARGET: &str = "trace::granary";
/// How long the collector may take for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a program that ends waits until its last spans are told.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

static PROVIDER: OnceLock<SdkTracerProvider> = OnceLock::new();

/// `[traces]`: where spans go.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TracesConfig {
    /// Where a collector takes spans: `http://127.0.0.1:4318/v1/traces`. Default none: no spans are made. Overridden by
    /// `GRANARY_TRACES_URL`; headers that the collector asks for stand in `OTEL_EXPORTER_OTLP_HEADERS`.
    pub url: Option<String>,
    /// How many of the traces that begin here are told, between 0 and 1; one that began elsewhere is told when its caller
    /// tells it. Default 1.
    pub share: f64,
}

impl Default for TracesConfig {
    fn default() -> Self {
        Self { url: None, share: 1.0 }
    }
}

impl TracesConfig {
    /// Takes the address from the environment; tells whether address and share are usable.
    pub(crate) fn read(&mut self, environment: impl Fn(&str) -> Option<String>) -> bool {
        if let Some(url) = environment("GRANARY_TRACES_URL") {
            self.url = Some(url);
        }
        let is_web = |url: &String| (url.starts_with("http://") || url.starts_with("https://")) && reqwest::Url::parse(url).is_ok();
        self.url.as_ref().is_none_or(is_web) && (0.0..=1.0).contains(&self.share)
    }
}

/// Makes the layer that tells spans; none when nobody listens, or outside the runtime that would talk to the collector.
pub(crate) fn layer<S>(config: &TracesConfig) -> Option<impl Layer<S> + use<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let (url, runtime) = (config.url.as_ref()?, Handle::try_current().ok()?);
    // There is no log yet in which to say why not.
    let provider = provider(url, config.share, runtime).ok()?;
    let provider = PROVIDER.get_or_init(|| provider);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("granary")).with_location(false).with_threads(false);
    Some(layer.with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET)))
}

fn provider(url: &str, share: f64, runtime: Handle) -> Result<SdkTracerProvider, Box<dyn std::error::Error>> {
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(reqwest::redirect::Policy::none()).build()?;
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector { runtime, client })
        .with_protocol(Protocol::HttpJson)
        .with_endpoint(url)
        .with_timeout(PATIENCE)
        .build()?;
    let resource = Resource::builder()
        .with_service_name("granary")
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .build();
    let sampler = Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(share)));
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_sampler(sampler).with_resource(resource).build())
}

/// Lets a span go on with the trace of whoever asked, by the `traceparent` header of W3C Trace Context.
pub fn go_on(span: &Span, traceparent: Option<&str>) {
    let (Some(_), Some(traceparent)) = (PROVIDER.get(), traceparent) else { return };
    let context = TraceContextPropagator::new().extract(&Header(traceparent));
    if context.span().span_context().is_valid() {
        // Without the layer there is nothing to go on with.
        let _ = span.set_parent(context);
    }
}

/// Tells what was not told yet. To be called while the runtime still works, but not on it.
pub fn end() {
    if let Some(provider) = PROVIDER.get()
        && let Err(error) = provider.shutdown_with_timeout(LAST_PATIENCE)
    {
        tracing::warn!(%error, "the last spans were not told");
    }
}

/// Sends spans over the runtime of the program: they are collected on a thread that has none.
#[derive(Debug)]
struct Collector {
    runtime: Handle,
    client: reqwest::Client,
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
        let sending = self.runtime.spawn(async move {
            let response = client.execute(request).await?;
            Ok::<_, reqwest::Error>((response.status(), response.bytes().await?))
        });
        let (status, body) = sending.await??;
        Ok(Response::builder().status(status).body(body)?)
    }
}

struct Header<'a>(&'a str);

impl Extractor for Header<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}
