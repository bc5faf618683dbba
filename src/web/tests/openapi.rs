//! The document against the table of routes, and its examples against the server.

use std::collections::{BTreeMap, BTreeSet};

use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use granary_access::ApiKeyScope;
use granary_types::Role;
use jiff::Timestamp;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::house::{Caller, House};
use crate::openapi::{EXAMPLES, Example, OPERATIONS, Shape, document};
use crate::{Method, ROUTES};

#[test]
fn every_route_of_the_api_is_described_and_nothing_else() {
    let key = |method: Method, path: &'static str| format!("{method:?} {path}");
    let api = ROUTES.iter().filter(|route| route.is_of_api());
    let routes: BTreeSet<String> = api.map(|route| key(route.method, route.path)).collect();
    let described: BTreeSet<String> = OPERATIONS.iter().map(|operation| key(operation.method, operation.path)).collect();
    assert_eq!(described, routes, "src/web/openapi/operations.rs says what each route of the API does");
    assert_eq!(described.len(), OPERATIONS.len(), "each once");
    let ids: BTreeSet<&str> = OPERATIONS.iter().map(|operation| operation.id).collect();
    assert_eq!(ids.len(), OPERATIONS.len(), "ids are unique");
}

#[test]
fn every_operation_has_words_and_an_example_that_fits_its_schema() {
    let document = document();
    let mut faults = Vec::new();
    for operation in OPERATIONS.iter() {
        let example = EXAMPLES.iter().find(|example| example.operation == operation.id && example.status == operation.status);
        let Some(example) = example else {
            faults.push(format!("{} has no example of {}", operation.id, operation.status));
            continue;
        };
        if operation.summary.is_empty() || !operation.summary.starts_with(char::is_uppercase) {
            faults.push(format!("{} has no summary", operation.id));
        }
        let described = &document["paths"][operation.path][format!("{:?}", operation.method).to_lowercase()];
        let schema = |content: &Value| content["application/json"]["schema"].clone();
        if operation.body.is_some() {
            let request = example.request.clone().unwrap_or_default();
            fits(&document, &schema(&described["requestBody"]["content"]), &request, &format!("{} request", operation.id), &mut faults);
        }
        if !matches!(operation.answer, Shape::Pdf) {
            let content = &described["responses"][operation.status.to_string()]["content"];
            let answer = example.answer.clone().unwrap_or_default();
            fits(&document, &schema(content), &answer, &format!("{} answer", operation.id), &mut faults);
        }
    }
    for example in EXAMPLES.iter().filter(|example| !OPERATIONS.iter().any(|operation| operation.id == example.operation)) {
        faults.push(format!("there is no operation {}", example.operation));
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The part of JSON Schema that shows a forgotten or a renamed field; the end-to-end tests hold the rest against it.
fn fits(document: &Value, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
    if let Some(name) = schema["$ref"].as_str() {
        match document.pointer(name.trim_start_matches('#')) {
            Some(found) => fits(document, found, value, path, faults),
            None => faults.push(format!("{path}: {name} leads nowhere")),
        }
        return;
    }
    for part in schema["allOf"].as_array().into_iter().flatten() {
        fits(document, part, value, path, faults);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fitting = choices.iter().filter(|choice| {
            let mut misfits = Vec::new();
            fits(document, choice, value, path, &mut misfits);
            misfits.is_empty()
        });
        if fitting.count() != 1 {
            faults.push(format!("{path}: {value} fits none or several of {schema}"));
        }
    }
    if schema.get("const").is_some_and(|constant| constant != value) {
        faults.push(format!("{path}: {value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|words| !words.contains(value)) {
        faults.push(format!("{path}: {value} is none of {}", schema["enum"]));
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        kind => kind.as_str().into_iter().collect(),
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if !kinds.is_empty() && !kinds.contains(&kind) {
        faults.push(format!("{path} is {value}, not {kinds:?}"));
    }
    for (index, item) in value.as_array().into_iter().flatten().enumerate().filter(|_| schema.get("items").is_some()) {
        fits(document, &schema["items"], item, &format!("{path}/{index}"), faults);
    }
    let Some(fields) = value.as_object() else { return };
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).filter(|name| !fields.contains_key(*name)) {
        faults.push(format!("{path} lacks {name}"));
    }
    for (name, field) in fields {
        match schema["properties"].get(name) {
            Some(schema) => fits(document, schema, field, &format!("{path}/{name}"), faults),
            None if schema["additionalProperties"] == json!(false) => faults.push(format!("{path} has {name}, which no schema names")),
            None => {}
        }
    }
}

/// What differs from run to run: ids, instants, keys, numbers of requests.
#[derive(Default)]
struct Shifting {
    /// By the id of the story, the id of this run.
    ids: BTreeMap<String, String>,
    /// The code of this run's enrolment.
    code: String,
}

/// A hash of events, which every event of the story is part of.
fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|letter| letter.is_ascii_hexdigit())
}

fn is_id(text: &str) -> bool {
    uuid::Uuid::try_parse(text).is_ok()
}

impl Shifting {
    fn sent(&self, text: &str) -> String {
        self.ids.iter().fold(text.to_owned(), |text, (told, real)| text.replace(told.as_str(), real))
    }

    /// Compares an answer with the story's and learns the ids of this run.
    fn same(&mut self, told: &Value, real: &Value) -> bool {
        match (told, real) {
            (Value::String(told), Value::String(real)) if told != real => {
                if ["grn_", "eyJ"].iter().any(|beginning| told.starts_with(beginning) && real.starts_with(beginning)) {
                    return true;
                }
                if is_hash(told) && is_hash(real) {
                    return true;
                }
                // The ids in an address.
                if told.contains("://") && told.matches('/').count() == real.matches('/').count() {
                    let part = |text: &str| Value::from(text.to_owned());
                    return told.split('/').zip(real.split('/')).all(|(told, real)| self.same(&part(told), &part(real)));
                }
                let bare = |text: &str| text.trim_start_matches("user:").trim_start_matches("customer:").to_owned();
                let (told, real) = (bare(told), bare(real));
                if is_id(&told) && is_id(&real) {
                    // The number of a request is the one that is written without hyphens.
                    let is_number = !told.contains('-');
                    return is_number || *self.ids.entry(told).or_insert_with(|| real.clone()) == real;
                }
                told.parse::<Timestamp>().is_ok() && real.parse::<Timestamp>().is_ok()
            }
            (Value::Array(told), Value::Array(real)) => {
                told.len() == real.len() && told.iter().zip(real).all(|(told, real)| self.same(told, real))
            }
            (Value::Object(told), Value::Object(real)) => {
                let is_place = |name: &str, real: &Value| name == "sequence" && real.is_i64();
                told.len() == real.len()
                    && told.iter().all(|(name, told)| real.get(name).is_some_and(|real| is_place(name, real) || self.same(told, real)))
            }
            _ => told == real,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_are_what_is_sent_and_answered() {
    let house = House::open().await;
    let (north, acme) = (&house.made.north, &house.made.acme);
    let admin = house.user(Role::MspAdmin, north, None).await;
    let plane = house.key(north, acme, &[ApiKeyScope::UsageWrite]).await;
    let mut shifting = Shifting::default();
    let mut wrong = Vec::new();
    let mut finance = None;
    for example in EXAMPLES.iter() {
        // Nobody approves what is one's own work; before that this person is in no list.
        if example.operation == "draftPeriod" && finance.is_none() {
            finance = Some(house.user(Role::MspFinance, north, None).await);
        }
        let caller = match example.operation.as_str() {
            "sendUsageEvents" => &plane,
            "draftPeriod" | "acceptFinding" => finance.as_ref().unwrap_or(&admin),
            _ => &admin,
        };
        let (status, answer) = exchange(&house, example, caller, &shifting).await;
        if example.operation == "inviteControlPlane" {
            shifting.code = answer["code"].as_str().unwrap_or_default().to_owned();
        }
        let is_same = match &example.answer {
            Some(told) => shifting.same(told, &answer),
            None => answer.is_null(),
        };
        if status.as_u16() != example.status || !is_same {
            wrong.push(json!({"operation": example.operation, "path": example.path, "status": status.as_u16(), "answer": answer}));
        }
    }
    assert!(
        wrong.is_empty(),
        "src/web/openapi/examples.json tells another story than the server:\n{}",
        serde_json::to_string_pretty(&wrong).unwrap()
    );
}

/// What a control plane sends with a code.
pub(super) fn enrolment(code: &str) -> Value {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let written = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let proof = pair.sign(format!("granary enrolment {code}").as_bytes());
    json!({"code": code, "public_key": written(pair.public_key().as_ref()), "proof": written(proof.as_ref())})
}

async fn exchange(house: &House, example: &Example, caller: &Caller, shifting: &Shifting) -> (StatusCode, Value) {
    let operation = OPERATIONS.iter().find(|operation| operation.id == example.operation).unwrap();
    let body = example.request.as_ref().map(Value::to_string).unwrap_or_default();
    let method = format!("{:?}", operation.method).to_uppercase();
    let (path, mut body) = (shifting.sent(&example.path), shifting.sent(&body));
    // A proof is of this run's code.
    if example.operation == "enrolControlPlane" && example.status == 201 {
        body = enrolment(&shifting.code).to_string();
    }
    let answer = match &example.key {
        Some(key) => house.send_keyed(&method, &path, caller, &body, key).await,
        None => house.send(&method, &path, caller, &body).await,
    };
    (answer.status, serde_json::from_str(&answer.body).unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_and_its_page_are_for_everybody() {
    let house = House::bare().await;
    let answer = house.get("/api/v1/openapi.json", &Caller::Nobody).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.headers.get("content-type").unwrap(), "application/json");
    assert_eq!(serde_json::from_str::<Value>(&answer.body).unwrap()["openapi"], "3.1.0");
    let page = house.get("/docs/api", &Caller::Nobody).await;
    assert_eq!(page.status, StatusCode::OK);
    for operation in OPERATIONS.iter() {
        assert!(page.body.contains(&format!("id=\"{}\"", operation.id)), "{}", operation.id);
    }
    // Each place that the page leads to is on it, and nothing is fetched from elsewhere.
    for target in page.body.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.body.contains(&format!("id=\"{target}\"")), "#{target}");
    }
    assert!(!page.body.contains("src=\"http") && !page.body.contains("href=\"http"));
}
