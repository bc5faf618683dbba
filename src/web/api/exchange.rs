//! What is sent to the API and what it answers: bodies read strictly, requests with a key done once.

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use granary_access::AccessError;
use granary_tenants::{Customer, KeptAnswer, KeyedRequest, MspScope, MspTx};
use granary_types::ErrorKind;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// What is sent with a request that changes something.
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
    /// Reads the body, where nothing is an empty object; a field that nobody knows is refused, so that a typing error does not
    /// pass for a wish.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        let refuse = |why: String| Problem::new(ErrorKind::Invalid, "body_invalid", format!("the body does not fit: {why}"));
        let body = if self.body.is_empty() { b"{}" } else { &self.body[..] };
        let wanted = serde_json::from_slice(body).map_err(|error| refuse(error.to_string()))?;
        // Fields have names here; serde takes them by their places as well.
        if serde_json::from_slice(body).is_ok_and(|value| has_list(&value)) {
            return Err(refuse("write an object where a list is".to_owned()));
        }
        Ok(wanted)
    }

    /// Reads a body of which one field, and no other, may be a list of texts.
    pub(crate) fn read_listing<T: DeserializeOwned>(&self, field: &str) -> Result<T, Problem> {
        self.read_lists(&[field])
    }

    /// Reads a body of which some fields, and no others, may be lists of texts.
    pub(crate) fn read_lists<T: DeserializeOwned>(&self, fields: &[&str]) -> Result<T, Problem> {
        let refuse = |why: String| Problem::new(ErrorKind::Invalid, "body_invalid", format!("the body does not fit: {why}"));
        let body = if self.body.is_empty() { b"{}" } else { &self.body[..] };
        let mut value: Value = serde_json::from_slice(body).map_err(|error| refuse(error.to_string()))?;
        let wanted = serde_json::from_slice(body).map_err(|error| refuse(error.to_string()))?;
        let is_texts = |list: &Value| list.as_array().is_none_or(|texts| texts.iter().all(Value::is_string));
        let mut lists = fields.iter().filter_map(|field| value.as_object_mut().and_then(|object| object.remove(*field)));
        let are_texts = lists.all(|list| is_texts(&list));
        if !are_texts || has_list(&value) {
            return Err(refuse("write an object where a list is".to_owned()));
        }
        Ok(wanted)
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

    /// Answers what was done at a customer.
    pub(crate) async fn done(&self, at: At, status: StatusCode, out: &impl Serialize) -> Result<Response, Problem> {
        self.answer(&at.app, at.tx, status, out).await
    }

    /// Refuses a request without a key: what cannot be undone is asked for once, and answered alike when it is asked for again.
    pub(crate) fn require_key(&self) -> Result<(), Problem> {
        if self.key.is_some() {
            return Ok(());
        }
        Err(Problem::new(
            ErrorKind::Invalid,
            "idempotency_key_missing",
            "this needs an Idempotency-Key: a text of yours, new for every wish",
        ))
    }

    fn keyed(&self) -> Result<Option<KeyedRequest>, Problem> {
        let Some(key) = &self.key else { return Ok(None) };
        Ok(Some(KeyedRequest::new(key.to_str().unwrap_or_default(), &self.about, &self.body)?))
    }
}

/// The customer that the address names, one of those that the caller sees, in a transaction on the catalog of their MSP.
#[derive(Debug)]
pub(crate) struct At {
    pub(crate) app: AppState,
    pub(crate) tx: MspTx,
    pub(crate) customer: Customer,
}

impl FromRequestParts<AppState> for At {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Response> {
        let (visitor, code) = whose(parts).await?;
        Self::enter(app, &visitor, &code).await.map_err(IntoResponse::into_response)
    }
}

/// Who asks about which customer.
async fn whose(parts: &mut Parts) -> Result<(Visitor, String), Response> {
    let path = RawPathParams::from_request_parts(parts, &()).await.map_err(IntoResponse::into_response)?;
    let code = path.iter().find_map(|(name, code)| (name == "code").then(|| code.to_owned())).unwrap_or_default();
    let visitor = parts.extensions.get::<Visitor>().cloned();
    Ok((visitor.ok_or_else(|| Problem::from(AccessError::Unauthenticated).into_response())?, code))
}

impl At {
    async fn enter(app: &AppState, visitor: &Visitor, code: &str) -> Result<Self, Problem> {
        let scope = visitor.scope(app, code).await?;
        let tx = app.tenants.begin_msp(&MspScope::for_principal(scope.msp, scope.actor)).await?;
        Ok(Self { app: app.clone(), tx, customer: scope.customer })
    }

    /// Ends the transaction and shows what was read.
    pub(crate) async fn show<T>(self, out: T) -> Result<Json<T>, Problem> {
        self.tx.commit().await?;
        Ok(Json(out))
    }
}

/// Something that is wanted of a customer, to be done once: a request whose key had its answer gets it again and no further.
#[derive(Debug)]
pub(crate) struct Once<T> {
    pub(crate) at: At,
    pub(crate) wanted: T,
    pub(crate) sent: Sent,
}

impl<T: DeserializeOwned> FromRequest<AppState> for Once<T> {
    type Rejection = Response;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Response> {
        let (mut parts, body) = request.into_parts();
        let (visitor, code) = whose(&mut parts).await?;
        // Whoever sends slowly keeps nobody else from the database.
        let sent = Sent::from_request(Request::from_parts(parts, body), app).await?;
        let at = At::enter(app, &visitor, &code).await.map_err(IntoResponse::into_response)?;
        if let Some(answer) = sent.replay(app, &at.tx).await.map_err(IntoResponse::into_response)? {
            at.tx.commit().await.map_err(|error| Problem::from(error).into_response())?;
            return Err(answer);
        }
        let wanted = sent.read().map_err(IntoResponse::into_response)?;
        Ok(Self { at, wanted, sent })
    }
}

/// Why something is no longer used.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndIn {
    #[schema(value_type = words::Text)]
    pub(crate) reason: String,
}

/// No field of a request is a list, unless its reader says so.
fn has_list(value: &Value) -> bool {
    value.is_array() || value.as_object().is_some_and(|fields| fields.values().any(has_list))
}

fn respond(answer: KeptAnswer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Adds where the thing that was made can be found.
pub(crate) fn located(mut response: Response, path: &str) -> Response {
    if let Ok(path) = HeaderValue::from_str(path) {
        response.headers_mut().insert(LOCATION, path);
    }
    response
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
