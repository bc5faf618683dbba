//! Failures, rendered once: `application/problem+json` for programs, a page for people.

use std::error::Error;

use axum::extract::Request;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use granary_types::{Classify, ErrorKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::headers::RequestId;
use crate::layout;

/// The longest text of an extractor's refusal that is passed on.
const LONGEST_REFUSAL_BYTES: usize = 2_000;

/// A failure on its way to the client.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    kind: ErrorKind,
    code: &'static str,
    detail: String,
}

impl Problem {
    /// Makes a problem that no room raised.
    pub(crate) fn new(kind: ErrorKind, code: &'static str, detail: impl Into<String>) -> Self {
        Self { kind, code, detail: detail.into() }
    }

    /// There is no such thing, or it belongs to somebody else: nobody learns which.
    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(ErrorKind::NotFound, "not_found", format!("there is no {what}"))
    }

    /// The input is wrong.
    pub(crate) fn invalid(detail: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, "invalid", detail)
    }

    /// Returns what is said of it.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// A fault of ours, whatever the error calls itself: one log line with its causes, fixed words for the client.
    pub(crate) fn fault(error: &impl Classify) -> Self {
        tracing::error!(code = error.code(), error = chain(error), "a request failed");
        let detail = "something went wrong on our side; the request id names it in our log";
        Self::new(ErrorKind::Internal, error.code(), detail)
    }

    const fn status(&self) -> StatusCode {
        match self.kind {
            ErrorKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            ErrorKind::Unauthenticated => StatusCode::UNAUTHORIZED,
            ErrorKind::Denied => StatusCode::FORBIDDEN,
            ErrorKind::NotFound => StatusCode::NOT_FOUND,
            ErrorKind::Conflict => StatusCode::CONFLICT,
            ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            ErrorKind::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

/// A fault of ours is told to the log with its causes, and to the client in fixed words.
impl<E: Classify> From<E> for Problem {
    fn from(error: E) -> Self {
        let (kind, code) = (error.kind(), error.code());
        let detail = match kind {
            ErrorKind::Internal => return Self::fault(&error),
            ErrorKind::Unavailable => {
                tracing::warn!(code, error = chain(&error), "something outside does not answer");
                "something that this needs does not answer; try again in a moment".to_owned()
            }
            _ => error.to_string(),
        };
        Self { kind, code, detail }
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let said = next.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        cause = next.source();
    }
    text
}

impl IntoResponse for Problem {
    /// Leaves the words to [`render`], which knows whom it talks to.
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        if self.kind == ErrorKind::Unavailable {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// A failure, told to a program (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemOut<'a> {
    /// Always `about:blank`: the code says what it is.
    #[serde(rename = "type")]
    kind: &'a str,
    /// The status in words.
    title: &'a str,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Stable: what a program looks at.
    code: &'a str,
    /// What was wrong here, for people.
    detail: &'a str,
    /// Names the request in our log.
    request_id: &'a str,
}

/// Turns every answer from 400 on into a problem document or an error page, also those that the framework refused.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let is_page = wants_page(request.uri().path(), request.headers());
    let id = request.extensions().get::<RequestId>().map_or_else(String::new, |id| id.0.clone());
    let response = next.run(request).await;
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error()) || response.headers().contains_key(LOCATION) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match parts.extensions.remove::<Problem>() {
        Some(problem) => problem,
        None if parts.headers.get(CONTENT_TYPE).is_some_and(|kind| !kind.as_bytes().starts_with(b"text/plain")) => {
            return Response::from_parts(parts, body);
        }
        None => refusal(status, &axum::body::to_bytes(body, LONGEST_REFUSAL_BYTES).await.unwrap_or_default()),
    };
    let title = status.canonical_reason().unwrap_or("Error");
    let (kind, body) = if is_page {
        ("text/html; charset=utf-8", layout::problem(status.as_u16(), title, &problem.detail, &id).into_string())
    } else {
        let out = ProblemOut {
            kind: "about:blank",
            title,
            status: status.as_u16(),
            code: problem.code,
            detail: &problem.detail,
            request_id: &id,
        };
        ("application/problem+json", serde_json::to_string(&out).unwrap_or_default())
    };
    parts.headers.remove(axum::http::header::CONTENT_LENGTH);
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::UNAUTHORIZED {
        parts.headers.insert(axum::http::header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"granary\""));
    }
    Response::from_parts(parts, body.into())
}

/// A refusal of the framework: a wrong method, a body that is too large, a parameter that does not parse.
fn refusal(status: StatusCode, text: &[u8]) -> Problem {
    let (kind, code, words) = match status {
        StatusCode::NOT_FOUND => (ErrorKind::NotFound, "not_found", "there is nothing at this address"),
        StatusCode::METHOD_NOT_ALLOWED => (ErrorKind::Invalid, "method_not_allowed", "this address does not know the method"),
        StatusCode::PAYLOAD_TOO_LARGE => (ErrorKind::TooLarge, "body_too_large", "the body is larger than this address accepts"),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => (ErrorKind::Invalid, "media_type", "the content type is not the one expected"),
        status if status.is_server_error() => (ErrorKind::Internal, "internal", "something went wrong on our side"),
        _ => (ErrorKind::Invalid, "invalid", "the request is not valid"),
    };
    let said = std::str::from_utf8(text).ok().map(str::trim).filter(|said| !said.is_empty() && !status.is_server_error());
    Problem::new(kind, code, said.and_then(reworded).unwrap_or_else(|| words.to_owned()))
}

/// Says in our words what a parser of the framework missed; none when all that it said is about its own insides.
fn reworded(said: &str) -> Option<String> {
    if !said.starts_with("Failed to ") && !said.starts_with("Invalid URL") {
        return (!said.contains('`')).then(|| said.to_owned());
    }
    let (_, found) = said.split_once(": ")?;
    if let Some(name) = found.split_once("missing field `").and_then(|(_, rest)| rest.split('`').next()) {
        return Some(format!("'{name}' is missing"));
    }
    if let Some((place, rest)) = found.split_once("unknown field `").or_else(|| found.split_once("unknown variant `")) {
        let mut names = rest.split('`').step_by(2);
        let (unknown, known) = (names.next()?, names.filter(|name| !name.is_empty()).collect::<Vec<_>>());
        return Some(format!("{place}'{unknown}' is none of: {}", known.join(", ")));
    }
    (!found.contains('`')).then(|| format!("a part of the request cannot be read: {found}"))
}

/// Programs get JSON; browsers ask for HTML by name.
fn wants_page(path: &str, headers: &HeaderMap) -> bool {
    !path.starts_with("/api/")
        && headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_meets_something_that_does_not_answer_is_told_when_to_come_again() {
        let away = Problem::new(ErrorKind::Unavailable, "database_unreachable", "").into_response();
        assert_eq!((away.status(), away.headers().get(RETRY_AFTER).unwrap().to_str().unwrap()), (StatusCode::SERVICE_UNAVAILABLE, "2"));
    }

    #[test]
    fn what_a_parser_missed_is_said_in_our_words() {
        assert_eq!(reworded("Failed to deserialize query string: missing field `view`").unwrap(), "'view' is missing");
        let wrong = "Failed to deserialize query string: period: '2025-13' is not a month such as 2025-10";
        assert_eq!(reworded(wrong).unwrap(), "a part of the request cannot be read: period: '2025-13' is not a month such as 2025-10");
        let unknown = "Failed to deserialize query string: severity: unknown variant `x`, expected one of `info`, `warning`";
        assert_eq!(reworded(unknown).unwrap(), "severity: 'x' is none of: info, warning");
        let unknown = "Failed to deserialize query string: unknown field `bogus`, expected `period` or `meter`";
        assert_eq!(reworded(unknown).unwrap(), "'bogus' is none of: period, meter");
        assert_eq!(reworded("Failed to deserialize the JSON body into the target type: invalid type: map, expected `u8`"), None);
        assert_eq!(reworded("Failed to buffer the request body"), None);
    }
}
