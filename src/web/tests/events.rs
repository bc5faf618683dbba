//! How usage events are delivered: forms, codings, bounds, schemas; and that facts are never refused.

use std::io::Write;

use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{Request, StatusCode};
use flate2::Compression;
use flate2::write::GzEncoder;
use granary_access::ApiKeyScope;
use granary_types::Role;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::house::{Caller, House};
use crate::openapi::{event_schema_of, event_schemas, example_events};

const PATH: &str = "/api/v1/usage/events";

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "source": "https://vbr.acme.example", "id": id, "type": "heartbeat.sent", "time": "2025-11-01T00:00:00Z", "data": {}})
}

async fn deliver(house: &House, key: &Caller, kind: &str, coding: Option<&str>, body: Vec<u8>) -> (StatusCode, Value) {
    let Caller::Key(key) = key else { panic!("programs have keys") };
    let mut request = Request::post(PATH).header(AUTHORIZATION, format!("Bearer {key}")).header(CONTENT_TYPE, kind);
    if let Some(coding) = coding {
        request = request.header(CONTENT_ENCODING, coding);
    }
    let response = house.router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = axum::body::to_bytes(body, 32 << 20).await.unwrap();
    (parts.status, serde_json::from_slice(&body).unwrap())
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn events_come_in_every_form_and_coding_and_in_no_other() {
    let house = House::bare().await;
    let key = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    let words = |report: &Value| -> Vec<String> {
        let outcomes = report["outcomes"].as_array().unwrap().iter();
        outcomes.map(|outcome| format!("{} {}", outcome["outcome"].as_str().unwrap(), outcome["status"])).collect()
    };
    let (single, batch) = (event("1").to_string(), json!([event("1"), event("2")]).to_string());
    let (status, report) = deliver(&house, &key, "application/cloudevents+json; charset=UTF-8", None, single.clone().into()).await;
    assert_eq!((status, words(&report)), (StatusCode::OK, vec!["accepted 201".to_owned()]));
    let (status, report) = deliver(&house, &key, "application/cloudevents-batch+json", Some("gzip"), gzip(batch.as_bytes())).await;
    assert_eq!((status, words(&report)), (StatusCode::OK, vec!["duplicate 200".to_owned(), "accepted 201".to_owned()]));
    let lines = format!("{}\r\n\nnot json\n{}\n{}", event("3"), event("4"), json!({"id": 7}));
    let zstd = zstd::bulk::compress(lines.as_bytes(), 3).unwrap();
    let (status, report) = deliver(&house, &key, "application/x-ndjson", Some("zstd"), zstd.clone()).await;
    assert_eq!(
        (status, words(&report)),
        (StatusCode::OK, ["accepted 201", "invalid 422", "accepted 201", "invalid 422"].map(str::to_owned).to_vec())
    );
    assert_eq!((&report["outcomes"][1]["pointer"], &report["outcomes"][3]["pointer"]), (&json!(""), &json!("/specversion")));
    // Two members of gzip and two frames of zstd, one behind the other, are one body.
    let (status, _) = deliver(&house, &key, "application/json", Some("gzip"), [gzip(b"["), gzip(b"]")].concat()).await;
    assert_eq!(status, StatusCode::OK);
    let frames = [zstd::bulk::compress(b"[", 3).unwrap(), zstd::bulk::compress(b"]", 3).unwrap()].concat();
    assert_eq!(deliver(&house, &key, "application/json", Some("zstd"), frames).await.0, StatusCode::OK);

    for (kind, coding, body, status, code) in [
        ("text/csv", None, single.clone().into_bytes(), 415, "media_type"),
        ("application/json; charset=latin1", None, single.clone().into(), 415, "media_type"),
        ("application/json", Some("br"), single.clone().into(), 415, "media_type"),
        ("application/json", Some("gzip, gzip"), single.clone().into(), 415, "media_type"),
        ("application/cloudevents+json", None, batch.clone().into(), 422, "body_not_events"),
        ("application/cloudevents-batch+json", None, single.clone().into(), 422, "body_not_events"),
        ("application/json", Some("gzip"), single.clone().into(), 422, "body_refused"),
        ("application/json", Some("zstd"), single.into(), 422, "body_refused"),
        ("application/json", Some("gzip"), gzip(batch.as_bytes())[..30].to_vec(), 422, "body_refused"),
        ("application/x-ndjson", Some("zstd"), zstd[..zstd.len() - 5].to_vec(), 422, "body_refused"),
    ] {
        let (answered, problem) = deliver(&house, &key, kind, coding, body).await;
        assert_eq!((answered.as_u16(), problem["code"].as_str().unwrap()), (status, code), "{kind} {coding:?}: {problem}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_becomes_too_large_when_it_is_decompressed_is_refused_before_it_does() {
    let house = House::bare().await;
    let key = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    // 256 MiB of spaces: 260 kB in gzip, less in zstd; the house takes 1 MiB.
    let spaces = vec![b' '; 256 << 20];
    for (coding, body) in [("gzip", gzip(&spaces)), ("zstd", zstd::bulk::compress(&spaces, 3).unwrap())] {
        assert!(body.len() < 1 << 20);
        let (status, problem) = deliver(&house, &key, "application/x-ndjson", Some(coding), body).await;
        assert_eq!((status, problem["code"].as_str().unwrap()), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"), "{coding}");
    }
    let many = vec!["{}"; 20_001].join("\n");
    assert_eq!(deliver(&house, &key, "application/x-ndjson", None, many.into()).await.0, StatusCode::PAYLOAD_TOO_LARGE);
    // Room was given back: everything goes on.
    assert_eq!(deliver(&house, &key, "application/json", None, event("1").to_string().into()).await.0, StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn facts_are_taken_of_suspended_and_closed_customers_and_over_every_limit() {
    let house = House::bare().await;
    let north = house.user(Role::MspAdmin, &house.made.north, None).await;
    let key = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    let acme = "/api/v1/msp/customers/ACME";
    let limited =
        house.send("PUT", &format!("{acme}/limits"), &north, r#"{"max_vms": 1, "storage_gb": 1, "max_vms_enforcement": "hard"}"#).await;
    assert_eq!(limited.status, StatusCode::OK, "{}", limited.body);
    let protected = |name: &str| {
        let data = json!({"source_system": "veeam", "vendor_id": name, "name": name, "tier": "backup", "from": "2025-11-01"});
        json!({"specversion": "1.0", "source": "https://vbr.acme.example", "id": name, "type": "machine.protected", "time": "2025-11-01T00:00:00Z", "data": data})
    };
    let changes = [("", ""), ("suspend", r#"{"reason": "unpaid"}"#), ("close", r#"{"reason": "left", "end_reason": "voluntary"}"#)];
    for (number, (change, body)) in changes.into_iter().enumerate() {
        if !change.is_empty() {
            let changed = house.post(&format!("{acme}/{change}"), &north, body).await;
            assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
        }
        let batch = json!([protected(&format!("a-{number}")), protected(&format!("b-{number}"))]);
        let (status, report) = deliver(&house, &key, "application/json", None, batch.to_string().into()).await;
        assert_eq!((status, &report["accepted"]), (StatusCode::OK, &json!(2)), "{change}: {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_schemas_are_served_to_every_program() {
    let house = House::bare().await;
    let key = house.key(&house.made.north, &house.made.acme, &[ApiKeyScope::UsageWrite]).await;
    let list = house.get("/api/v1/usage/schemas", &key).await;
    assert_eq!(list.status, StatusCode::OK);
    let list: Value = serde_json::from_str(&list.body).unwrap();
    for listed in list["types"].as_array().unwrap() {
        let answer = house.get(listed["schema"].as_str().unwrap(), &key).await;
        let schema: Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!((answer.status, &schema["title"]), (StatusCode::OK, &listed["type"]));
        let (status, report) = deliver(&house, &key, "application/json", None, schema["examples"].to_string().into()).await;
        assert_eq!((status, &report["accepted"]), (StatusCode::OK, &json!(1)), "{}: {report}", listed["type"]);
    }
    assert_eq!(house.get("/api/v1/usage/schemas/backup.vanished", &key).await.status, StatusCode::NOT_FOUND);
    assert_eq!(house.get("/api/v1/usage/schemas", &Caller::Nobody).await.status, StatusCode::UNAUTHORIZED);
}

/// Every event that breaks a schema in one place, with where it does.
fn mutations(schema: &Value, value: &Value, pointer: &str, out: &mut Vec<(String, Option<Value>)>) {
    let schema = schema["oneOf"].get(0).unwrap_or(schema);
    let wrong = |out: &mut Vec<(String, Option<Value>)>, value: Value| out.push((pointer.to_owned(), Some(value)));
    if let Some(constant) = schema.get("const") {
        return wrong(out, json!(format!("not {constant}")));
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            wrong(out, json!(7));
            for name in schema["required"].as_array().into_iter().flatten() {
                out.push((format!("{pointer}/{}", name.as_str().unwrap()), None));
            }
            for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
                mutations(inner, &value[name], &format!("{pointer}/{name}"), out);
            }
        }
        "array" => {
            wrong(out, json!({}));
            let most = usize::try_from(schema["maxItems"].as_u64().unwrap()).unwrap();
            wrong(out, Value::Array(vec![value[0].clone(); most + 1]));
            if value.get(0).is_some() {
                mutations(&schema["items"], &value[0], &format!("{pointer}/0"), out);
            }
        }
        "integer" => {
            wrong(out, json!("7"));
            wrong(out, json!(1.5));
            wrong(out, json!(schema["minimum"].as_i64().unwrap() - 1));
            wrong(out, json!(schema["maximum"].as_i64().unwrap() + 1));
        }
        "boolean" => wrong(out, json!("true")),
        "string" => {
            wrong(out, json!(7));
            if schema["enum"].is_array() {
                wrong(out, json!("unheard of"));
            }
            if schema["format"].is_string() {
                wrong(out, json!("yesterday"));
                wrong(out, json!("1999-12-31T23:59:59Z"));
            }
            if schema["minLength"] == 1 {
                wrong(out, json!(""));
                wrong(out, json!("x".repeat(201)));
            }
        }
        other => panic!("{other} in a schema"),
    }
}

#[test]
fn every_example_is_taken_and_every_break_of_a_schema_is_refused_where_it_is() {
    let mut tried = 0;
    for example in example_events() {
        let kind = example["type"].as_str().unwrap();
        assert_eq!(granary_metering::misfit_of(&example), None, "{kind}");
        let schema = event_schema_of(kind).unwrap();
        let mut broken = Vec::new();
        mutations(&schema, &example, "", &mut broken);
        for (pointer, value) in broken.into_iter().filter(|(pointer, _)| !pointer.is_empty()) {
            let mut event = example.clone();
            let (parent, name) = pointer.rsplit_once('/').unwrap();
            let Some(parent) = event.pointer_mut(parent) else { continue };
            match (parent, value) {
                (Value::Object(members), Some(value)) => _ = members.insert(name.to_owned(), value),
                (Value::Object(members), None) => _ = members.remove(name),
                (Value::Array(items), Some(value)) => items[name.parse::<usize>().unwrap()] = value,
                _ => continue,
            }
            let found = granary_metering::misfit_of(&event).map(|(pointer, _)| pointer);
            assert_eq!(found.as_ref(), Some(&pointer), "{kind}: {event}");
            tried += 1;
        }
    }
    assert!(tried > 1_000, "{tried}");
    assert_eq!(event_schemas()["types"].as_array().unwrap().len(), example_events().len());
}
