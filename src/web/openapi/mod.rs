//! The API described: an OpenAPI 3.1 document, and a page that shows it.
//!
//! The document is written from the one table of routes: path, method and permission stand there, [`operations`] adds what is
//! sent and answered, and [`examples`] what a test really sent and was answered. Nothing in it is written twice.

mod examples;
mod operations;
mod page;
mod schemas;
pub(crate) mod words;

use std::sync::LazyLock;

use axum::Json;
use axum::http::header::CACHE_CONTROL;
use axum::response::{IntoResponse, Response};
use granary_access::{ApiKeyScope, Permission};
use granary_types::Role;
use granary_warehouse::AnswerFormat;
use serde_json::{Map, Value, json};

use self::operations::{Operation, TAGS};
use self::schemas::{Schemas, reference};
use crate::http::problem::ProblemOut;
use crate::{Gate, Method, ROUTES, Route};

pub(crate) use page::show;
#[cfg(test)]
pub(crate) use schemas::example_events;
pub(crate) use schemas::{event_schema_of, event_schemas};

pub(crate) use self::operations::OPERATIONS;
#[cfg(test)]
pub(crate) use self::{
    examples::{EXAMPLES, Example},
    operations::Shape,
};

/// Where the document lies.
pub(crate) const PATH: &str = "/api/v1/openapi.json";

static DOCUMENT: LazyLock<Value> = LazyLock::new(document);

/// `GET /api/v1/openapi.json`
pub(crate) async fn download() -> Response {
    ([(CACHE_CONTROL, "no-cache")], Json(&*DOCUMENT)).into_response()
}

/// Returns what the document says of a route.
fn operation_of(route: &Route) -> Option<&'static Operation> {
    OPERATIONS.iter().find(|operation| operation.method == route.method && operation.path == route.path)
}

pub(crate) fn document() -> Value {
    let mut schemas = Schemas::default();
    let mut paths = Map::new();
    for route in ROUTES {
        let Some(operation) = operation_of(route).filter(|_| route.is_of_api()) else { continue };
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[verb(route.method).to_lowercase()] = describe(operation, route.gate, &mut schemas);
    }
    let (_, problem) = schemas.media(Operation::problem());
    let tags: Vec<Value> = TAGS.iter().map(|(name, words)| json!({"name": name, "description": words})).collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Granary",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Manage customers, send usage, read what came of it.",
            "description": "Everything is JSON. Times are RFC 3339 in UTC, days are days of the MSP, sizes are GiB (2^30 bytes) where a \
                name ends in `_gb`, amounts are whole minor units of a currency. Fields that nobody knows are refused. What belongs to \
                somebody else is not found: 404, never 403. Failures are problem documents (RFC 9457) whose `code` is stable.",
            "license": {"name": "See the installation's operator"},
        },
        "servers": [{"url": "/"}],
        "tags": tags,
        "security": [{"apiKey": []}, {"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "parameters": parameters(),
            "headers": headers(),
            "responses": refusals(&problem),
            "securitySchemes": {
                "apiKey": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "grn_…",
                    "description": "An API key, of the page `/api-keys` or of `granary api-key add`. Keys of a customer act for that customer alone, keys of an MSP for all of its customers.",
                },
                "token": {
                    "type": "http", "scheme": "bearer", "bearerFormat": "JWT",
                    "description": "A token of `POST /api/v1/tokens`, good for ten minutes, or one that an enrolled control plane signed itself.",
                },
                "session": {"type": "apiKey", "in": "cookie", "name": "granary_session", "description": "The session of somebody who signed in."},
            },
        },
    })
}

fn describe(operation: &Operation, gate: Gate, schemas: &mut Schemas) -> Value {
    let permission = match gate {
        Gate::Api(permission) | Gate::Page(permission) => Some(permission),
        Gate::Open | Gate::SignedIn | Gate::Program => None,
    };
    let is_enough = |held: &[Permission]| gate != Gate::Open && permission.is_none_or(|permission| held.contains(&permission));
    let mut out = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": parameters_of(operation),
        "responses": responses(operation, schemas),
        "x-permission": permission.map(Permission::as_str),
        "x-key-scopes": ApiKeyScope::ALL.iter().filter(|scope| is_enough(scope.permissions())).map(|scope| scope.as_str()).collect::<Vec<_>>(),
        "x-roles": Role::ALL.iter().filter(|role| is_enough(Permission::of_role(**role))).map(|role| role.as_str()).collect::<Vec<_>>(),
    });
    if gate == Gate::Open {
        out["security"] = json!([]);
    }
    if !operation.description.is_empty() {
        out["description"] = operation.description.into();
    }
    if let Some(body) = operation.body {
        let (kind, schema) = schemas.media(body);
        let mut content = json!({"schema": schema});
        if let Some(example) = examples::of(operation.id, operation.status).and_then(|example| example.request.as_ref()) {
            content["example"] = example.clone();
        }
        let mut contents = json!({kind: content});
        if operation.reports_refusals() {
            contents["application/cloudevents-batch+json"] = contents[kind].clone();
            contents["application/cloudevents+json"] = json!({"schema": reference("UsageEvent")});
            contents["application/x-ndjson"] = json!({"schema": {"type": "string", "description": "An event a line."}});
        }
        out["requestBody"] = json!({"required": !operation.is_body_optional, "content": contents});
    }
    out
}

fn parameters_of(operation: &Operation) -> Vec<Value> {
    let in_path = path_names(operation.path).map(|name| json!({"$ref": format!("#/components/parameters/{name}")}));
    let in_query = operation.query.iter().map(|parameter| {
        let mut schema: Value = serde_json::from_str(parameter.schema).unwrap_or_default();
        let example = schema.as_object_mut().and_then(|schema| schema.remove("example"));
        let mut out = json!({"name": parameter.name, "in": "query", "required": parameter.is_required, "description": parameter.words, "schema": schema});
        if let Some(example) = example {
            out["example"] = example;
        }
        out
    });
    let key = operation.takes_key().then(|| {
        // Where the example has one, it is needed.
        let needed = examples::of(operation.id, operation.status).and_then(|example| example.key.as_deref());
        let Some(key) = needed else { return json!({"$ref": "#/components/parameters/Idempotency-Key"}) };
        let mut parameter = parameters()["Idempotency-Key"].take();
        (parameter["required"], parameter["example"]) = (true.into(), key.into());
        parameter
    });
    in_path.chain(in_query).chain(key).collect()
}

/// Returns the names in braces of a path.
fn path_names(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let (kind, schema) = schemas.media(operation.answer);
    let mut content = json!({"schema": schema});
    if let Some(answer) = examples::of(operation.id, operation.status).and_then(|example| example.answer.as_ref()) {
        content["example"] = answer.clone();
    }
    let mut headers = json!({"x-request-id": {"$ref": "#/components/headers/x-request-id"}});
    if operation.takes_key() {
        headers["idempotent-replayed"] = json!({"$ref": "#/components/headers/idempotent-replayed"});
    }
    if matches!(operation.id, "createCustomer" | "eraseCustomer") {
        headers["location"] = json!({"$ref": "#/components/headers/location"});
    }
    let words = match operation.status {
        201 => "It is made.",
        202 => "It is begun, and goes on after the answer.",
        _ => "Done, or found.",
    };
    let mut contents = json!({kind: content.clone()});
    if operation.id == "askWarehouse" {
        headers["granary-lake-version"] = json!({"$ref": "#/components/headers/granary-lake-version"});
        for other in AnswerFormat::ALL.map(AnswerFormat::media_type).into_iter().filter(|other| *other != kind) {
            contents[other] = json!({"schema": {"type": "string", "contentMediaType": other}});
        }
    }
    let mut out = json!({operation.status.to_string(): {"description": words, "headers": headers, "content": contents}});
    for (status, _, _) in REFUSALS.iter().filter(|(status, _, _)| operation.documents(*status)) {
        let refusal = json!({"$ref": format!("#/components/responses/{status}")});
        out[status.to_string()] = match examples::of(operation.id, *status).and_then(|example| example.answer.as_ref()) {
            Some(answer) => problem_response(*status, Some(answer)),
            None => refusal,
        };
        // The report says event by event what was wrong.
        if operation.reports_refusals() && matches!(status, 409 | 422) {
            out[status.to_string()] = problem_response(*status, None);
            out[status.to_string()]["content"]["application/json"] = json!({"schema": content["schema"]});
        }
    }
    out
}

/// Status, title, and what it means.
const REFUSALS: &[(u16, &str, &str)] = &[
    (400, "Bad Request", "A part of the address cannot be read."),
    (401, "Unauthorized", "There is no key or session, or none that is valid."),
    (403, "Forbidden", "The key or the login may not do this."),
    (404, "Not Found", "There is no such thing, in the address or in what was sent, or it belongs to somebody else: nobody learns which."),
    (409, "Conflict", "It contradicts what is there: a name that is taken, a state that forbids it."),
    (413, "Payload Too Large", "The body is larger than this address accepts."),
    (415, "Unsupported Media Type", "The body comes in a form or a coding that this address does not read."),
    (422, "Unprocessable Entity", "What was sent does not fit; `detail` says what, and changes nothing."),
    (
        429,
        "Too Many Requests",
        "The customer's programs, or this key, may not come so often, or too much is under way; `Retry-After` says when to come again.",
    ),
    (503, "Service Unavailable", "Something that this needs does not answer; the same request may succeed in a moment."),
];

fn refusals(problem: &Value) -> Value {
    debug_assert!(problem.is_object());
    REFUSALS.iter().map(|(status, _, _)| (status.to_string(), problem_response(*status, None))).collect::<Map<_, _>>().into()
}

fn problem_response(status: u16, example: Option<&Value>) -> Value {
    let words = REFUSALS.iter().find(|refusal| refusal.0 == status).map_or("", |refusal| refusal.2);
    let mut content = json!({"schema": reference("Problem")});
    if let Some(example) = example {
        content["example"] = example.clone();
    }
    let mut out = json!({
        "description": words,
        "headers": {"x-request-id": {"$ref": "#/components/headers/x-request-id"}},
        "content": {"application/problem+json": content},
    });
    if status == 503 {
        out["headers"]["retry-after"] = json!({"$ref": "#/components/headers/retry-after"});
    }
    if status == 429 {
        for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
            out["headers"][name] = json!({"$ref": format!("#/components/headers/{name}")});
        }
    }
    out
}

fn parameters() -> Value {
    let in_path = |name: &str, words: &str, schema: Value, example: &str| json!({"name": name, "in": "path", "required": true, "description": words, "schema": schema, "example": example});
    json!({
        "code": in_path("code", "The customer, by its code.", reference("Code"), "ACME"),
        "id": in_path("id", "As the list shows it.", json!({"type": "string", "format": "uuid"}), "019a0000-0000-7000-8000-000000000001"),
        "dataset": in_path("dataset", "The dataset, as the list of rules shows it.", json!({"type": "string", "pattern": "^[a-z_]+$"}), "tickets"),
        "period": in_path("period", "A calendar month in the MSP's time zone.", reference("Month"), "2025-10"),
        "type": in_path("type", "The type of a usage event.", json!({"type": "string", "pattern": "^[a-z_.]+$"}), "backup.completed"),
        "file": in_path("file", "The month, with the ending .pdf.", json!({"type": "string", "pattern": "^20[0-9][0-9]-(0[1-9]|1[0-2])[.]pdf$"}), "2025-10.pdf"),
        "Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header", "required": false,
            "description": "A text of the sender's, new for every wish. The same request with the same key is done once and answered as it was the first \
                time; another request with it is refused. A request that failed has taken no key.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]([ -~]*[!-~])?$"},
        },
    })
}

fn headers() -> Value {
    let text = |words: &str| json!({"description": words, "schema": {"type": "string"}});
    json!({
        "x-request-id": text("Names the request in our log."),
        "idempotent-replayed": text("`true`: this is the answer that the same request was given before."),
        "retry-after": text("After how many seconds to come again."),
        "ratelimit": text("What is left: of the customer's requests, and of the key's (draft-ietf-httpapi-ratelimit-headers)."),
        "ratelimit-policy": text("How many requests are allowed in how many seconds."),
        "granary-lake-version": text("The version of the lake that the answer is of."),
        "location": text("Where the thing that was made can be found."),
    })
}

pub(crate) const fn verb(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Post => "POST",
        Method::Put => "PUT",
    }
}

impl Operation {
    fn problem() -> operations::Shape {
        operations::of::<ProblemOut<'_>>()
    }

    /// Whether the route changes something once, however often it is asked to; events know by themselves that they were here, and
    /// a login that is changed twice is what it was after the first time. The answer to a
    /// wish for a key holds the key, and is kept nowhere.
    fn takes_key(&self) -> bool {
        self.method != Method::Get
            && !self.reports_refusals()
            && !matches!(self.tag, "People" | "API keys" | "Tokens" | "Enrolment" | "Warehouse")
    }

    fn reports_refusals(&self) -> bool {
        self.id == "sendUsageEvents"
    }

    /// Whether the document says that the route may answer so.
    pub(crate) fn documents(&self, status: u16) -> bool {
        let names_something = self.path.contains('{');
        match status {
            _ if status == self.status => true,
            _ if !REFUSALS.iter().any(|refusal| refusal.0 == status) => false,
            400 => names_something || !self.query.is_empty(),
            // A body and a query name things too: customers, control planes.
            404 => names_something || self.body.is_some() || !self.query.is_empty(),
            409 => self.method != Method::Get,
            413 => self.body.is_some(),
            415 => self.reports_refusals(),
            422 => self.body.is_some() || !self.query.is_empty(),
            _ => true,
        }
    }
}
