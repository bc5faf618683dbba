//! Counts and times every answer, by the route of the table that gave it.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use granary_foundation::{metrics, traces};
use tracing::Instrument;

/// Times an answer. What no route matches is one kind; so is a method that nobody knows.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    };
    let span = tracing::info_span!(
        target: traces::TARGET,
        "request",
        otel.name = format!("{method} {route}"),
        otel.kind = "server",
        http.request.method = method,
        http.route = route,
        http.response.status_code = tracing::field::Empty,
        otel.status_code = tracing::field::Empty,
    );
    traces::go_on(&span, request.headers().get("traceparent").and_then(|value| value.to_str().ok()));
    let begun = Instant::now();
    let mut response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    metrics::request_answered(&route, method, response.status().as_u16(), begun.elapsed());
    // For whoever stands further out: which route gave the answer.
    if let Some(path) = matched {
        response.extensions_mut().insert(path);
    }
    response
}
