//! What is sent to the API and what it answers: bodies read strictly, requests with a key done once.

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use granary_tenants::{Customer, KeptAnswer, KeyedRequest, MspScope, MspTx};
use granary_types::ErrorKind;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::pages::customer::code_of;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// A request that changes something.
#[derive(Debug)]
pub(crate) struct Sent {
    /// Method and path.
    about: String,
    key: Option<HeaderValue>,
    body: Bytes,
}

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let about = format!("{} {}", request.method(), request.uri().path());
        let key = request.headers().get(IDEMPOTENCY_KEY).cloned();
        let body = Bytes::from_request(request, state).await.map_err(IntoResponse::into_response)?;
        Ok(Self { about, key, body })
    }
}

impl Sent {
    /// Tells whether nothing was sent.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Reads the body; a field that nobody knows is refused, so that a typing error does not pass for a wish.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Problem::new(ErrorKind::Invalid, "body_invalid", format!("the body does not fit: {error}")))
    }

    /// Returns the answer that the same request with the same key was given before. Called first in the transaction that does
    /// the work.
    pub(crate) async fn replay(&self, app: &AppState, tx: &MspTx) -> Result<Option<Response>, Problem> {
        let Some(request) = self.keyed()? else { return Ok(None) };
        Ok(app.tenants.claim_request(tx, &request).await?.map(|answer| {
            let mut response = respond(answer);
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            response
        }))
    }

    /// Keeps the answer with what was done, commits both, and answers.
    pub(crate) async fn answer(&self, app: &AppState, tx: MspTx, status: StatusCode, out: &impl Serialize) -> Result<Response, Problem> {
        let body = serde_json::to_vec(out).map_err(|error| Problem::new(ErrorKind::Internal, "unwritable", error.to_string()))?;
        let answer = KeptAnswer { status: status.as_u16(), body };
        if let Some(request) = self.keyed()? {
            app.tenants.keep_answer(&tx, &request, &answer).await?;
        }
        tx.commit().await?;
        Ok(respond(answer))
    }

    fn keyed(&self) -> Result<Option<KeyedRequest>, Problem> {
        let Some(key) = &self.key else { return Ok(None) };
        Ok(Some(KeyedRequest::new(key.to_str().unwrap_or_default(), &self.about, &self.body)?))
    }
}

fn respond(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds where the thing that was made can be found.
pub(crate) fn at(mut response: Response, path: &str) -> Response {
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
}

/// Opens the catalog of the caller's MSP for one of the customers that it sees.
pub(crate) async fn enter(app: &AppState, visitor: &Visitor, code: &str) -> Result<(MspTx, Customer), Problem> {
    let scope = app.access.tenant_scope(&visitor.principal, &code_of(code)?).await?;
    let tx = app.tenants.begin_msp(&MspScope::for_principal(scope.msp, scope.actor)).await?;
    Ok((tx, scope.customer))
}

/// Reads a zone's name.
pub(crate) fn zone(name: &str) -> Result<jiff::tz::TimeZone, Problem> {
    jiff::tz::TimeZone::get(name).map_err(|_| {
        Problem::invalid(format!("'{}' is not a time zone such as America/New_York", name.chars().take(60).collect::<String>()))
    })
}

/// Reads an identifier of an address; whatever it is not, is not there.
pub(crate) fn id_of<T: std::str::FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}
