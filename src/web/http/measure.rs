//! Counts and times every answer, by the route of the table that gave it.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use granary_foundation::metrics;

/// Times an answer. What no route matches is one kind; so is a method that nobody knows.
pub(crate) async fn measure(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        _ => "other",
    };
    let begun = Instant::now();
    let response = next.run(request).await;
    metrics::request_answered(&route, method, response.status().as_u16(), begun.elapsed());
    response
}
