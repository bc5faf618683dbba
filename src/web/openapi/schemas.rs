//! Schemas of what is sent and answered: those of our types, and those of usage events, which are data of the house.

use serde_json::{Map, Value, json};

use super::operations::{Found, Shape};

/// The usage events: by type, what their data holds, and an example that is taken as it stands.
const EVENTS: &str = include_str!("events.json");

/// The schemas that the document names, gathered as operations ask for them.
#[derive(Debug, Default)]
pub(super) struct Schemas(Map<String, Value>);

impl Schemas {
    /// Returns the media type of a body and its schema.
    pub(super) fn media(&mut self, shape: Shape) -> (&'static str, Value) {
        match shape {
            Shape::Type { name, schema, others } => {
                let name = name().into_owned();
                let mut found: Found = vec![(name.clone(), schema())];
                others(&mut found);
                for (name, schema) in found {
                    self.0.entry(name).or_insert_with(|| serde_json::to_value(schema).unwrap_or_default());
                }
                ("application/json", reference(&name))
            }
            Shape::Written(name) => ("application/json", reference(name)),
            Shape::Pdf => ("application/pdf", json!({"type": "string", "contentMediaType": "application/pdf"})),
        }
    }

    /// Returns all of them, with those that no type of ours describes.
    pub(super) fn finish(mut self) -> Value {
        self.0.extend(written());
        Value::Object(self.0)
    }
}

/// Refers to a schema.
pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

/// An event of every type, as the document shows them.
pub(crate) fn example_events() -> Vec<Value> {
    let example = |(kind, event): (String, Value)| {
        json!({
            "specversion": "1.0", "source": "https://vbr.acme.example", "id": format!("{kind}-1"), "type": kind,
            "time": "2025-10-08T12:00:00Z", "data": event["example"],
        })
    };
    events().into_iter().map(example).collect()
}

/// Lists the types of usage events, and where their schemas are.
pub(crate) fn event_schemas() -> Value {
    let listed = events()
        .into_iter()
        .map(|(kind, event)| json!({"type": kind, "description": event["description"], "schema": format!("/api/v1/usage/schemas/{kind}")}));
    json!({"types": listed.collect::<Vec<_>>()})
}

/// Returns the schema of a whole event of a type, with an example.
pub(crate) fn event_schema_of(kind: &str) -> Option<Value> {
    let event = events().remove(kind)?;
    let mut schema = event_schema(kind, &event);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = format!("/api/v1/usage/schemas/{kind}").into();
    schema["title"] = kind.into();
    schema["examples"] = json!(example_events().into_iter().filter(|example| example["type"] == kind).collect::<Vec<_>>());
    Some(schema)
}

fn events() -> Map<String, Value> {
    serde_json::from_str(EVENTS).unwrap_or_default()
}

fn written() -> Map<String, Value> {
    let events = events();
    let kinds: Vec<Value> = events.keys().map(|kind| reference(kind)).collect();
    let mut all: Map<String, Value> = events.iter().map(|(kind, event)| (kind.clone(), event_schema(kind, event))).collect();
    let mapping: Map<String, Value> =
        events.keys().map(|kind| (kind.clone(), Value::from(format!("#/components/schemas/{kind}")))).collect();
    all.insert(
        "UsageEvent".to_owned(),
        json!({
            "description": "A usage event, a CloudEvent by its envelope; what its data holds depends on its type.",
            "oneOf": kinds,
            "discriminator": {"propertyName": "type", "mapping": mapping},
        }),
    );
    all.insert(
        "UsageEvents".to_owned(),
        json!({
            "description": "Events of one customer, in any order.",
            "type": "array", "maxItems": granary_metering::MAX_BATCH_EVENTS, "items": reference("UsageEvent"),
        }),
    );
    all.insert("IngestReport".to_owned(), ingest_report());
    all.insert(
        "QueryRows".to_owned(),
        json!({"description": "The rows, each an object by the names of its columns.", "type": "array", "items": {"type": "object"}}),
    );
    all.insert(
        "EventTypes".to_owned(),
        json!({
            "description": "The types of usage events.",
            "type": "object", "required": ["types"],
            "properties": {"types": {"type": "array", "items": {
                "type": "object", "required": ["type", "description", "schema"],
                "properties": {"type": field("name"), "description": {"type": "string"}, "schema": {"type": "string", "format": "uri-reference"}},
            }}},
        }),
    );
    all.insert("JsonSchema".to_owned(), json!({"description": "A JSON Schema (2020-12).", "type": "object"}));
    all.insert(
        "ContactRemoved".to_owned(),
        json!({
            "description": "What was removed.",
            "type": "object", "required": ["removed"], "properties": {"removed": {"type": "string", "format": "uuid"}},
        }),
    );
    all
}

fn event_schema(kind: &str, event: &Value) -> Value {
    let properties: Map<String, Value> = event["properties"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, word)| {
            let schema = word.as_str().map_or(Value::Bool(false), field);
            let is_needed = event["required"].as_array().is_some_and(|needed| needed.contains(&Value::from(name.as_str())));
            (name.clone(), if is_needed { schema } else { or_null(schema) })
        })
        .collect();
    json!({
        "description": event["description"],
        "type": "object",
        "required": ["specversion", "source", "id", "type", "time", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "source": described(field("name"), "Who says so: the control plane, as it was enrolled."),
            "id": described(field("name"), "Unique at the source, for ever."),
            "type": {"const": kind},
            "subject": or_null(field("name")),
            "time": field("instant"),
            "data": {"type": "object", "required": event["required"], "properties": properties},
        },
    })
}

/// What may be left out may be null as well.
fn or_null(schema: Value) -> Value {
    json!({"oneOf": [schema, {"type": "null"}]})
}

fn described(mut schema: Value, words: &str) -> Value {
    schema["description"] = words.into();
    schema
}

/// What a word of `events.json` stands for.
fn field(word: &str) -> Value {
    let object = |required: &[&str], fields: &[(&str, &str)]| {
        let properties: Map<String, Value> = fields
            .iter()
            .map(|(name, word)| ((*name).to_owned(), if required.contains(name) { field(word) } else { or_null(field(word)) }))
            .collect();
        json!({"type": "object", "required": required, "properties": properties})
    };
    let whole = |least: i64, most: i64| json!({"type": "integer", "minimum": least, "maximum": most});
    let one_of = |words: &[&str]| json!({"type": "string", "enum": words});
    match word {
        // U+0000 is what Postgres cannot hold.
        "name" => json!({"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[^\\u0000]+$"}),
        "text" => json!({"type": "string", "pattern": "^[^\\u0000]*$"}),
        "day" => json!({"type": "string", "format": "date", "pattern": "^20[0-9][0-9]-"}),
        "instant" => json!({"type": "string", "format": "date-time", "pattern": "^20[0-9][0-9]-"}),
        "flag" => json!({"type": "boolean"}),
        "tier" => one_of(&["backup", "enterprise", "replication"]),
        "backup_kind" => one_of(&["full", "incremental", "differential", "log"]),
        "restore_kind" => one_of(&["full_vm", "file_level", "test"]),
        "disk_state" => one_of(&["completed", "failed", "cancelled", "running"]),
        "outcome" => one_of(&["completed", "completed_with_warning", "failed", "cancelled"]),
        // What an amendment holds depends on the type that it names.
        "object" => json!({"type": "object"}),
        "fact_type" => {
            let events = events();
            let facts: Vec<&str> = events.keys().map(String::as_str).filter(|kind| !kind.starts_with("event.")).collect();
            one_of(&facts)
        }
        "priority" => one_of(&["low", "normal", "high", "urgent"]),
        "count" => whole(0, 1_000_000),
        "runs" => whole(0, 1_440),
        "rating" => whole(1, 5),
        "seconds" => whole(0, i64::from(i32::MAX)),
        "bytes" => whole(0, 1 << 53),
        "machine" => object(&["source_system", "vendor_id"], &[("source_system", "name"), ("vendor_id", "name")]),
        "disks" => json!({"type": "array", "maxItems": 256, "items": object(
            &["index", "size_bytes", "transferred_bytes", "state"],
            &[("index", "count"), ("size_bytes", "bytes"), ("transferred_bytes", "bytes"), ("state", "disk_state")],
        )}),
        "repository" => object(
            &["vendor_id", "name", "kind"],
            &[
                ("vendor_id", "name"),
                ("name", "name"),
                ("kind", "name"),
                ("capacity_bytes", "bytes"),
                ("is_copy", "flag"),
                ("is_immutable", "flag"),
                ("retention_days", "count"),
            ],
        ),
        // Matches nothing, and therefore fails the test that sends the examples.
        _ => Value::Bool(false),
    }
}

fn ingest_report() -> Value {
    let count = |words: &str| json!({"type": "integer", "minimum": 0, "description": words});
    let outcome = |word: &str, status: u16, words: &str| {
        json!({
            "type": "object", "description": words, "required": ["outcome", "status"],
            "properties": {"outcome": {"const": word}, "status": {"const": status}}, "additionalProperties": false,
        })
    };
    let mut invalid = outcome("invalid", 422, "It does not fit: what in it, and why.");
    invalid["required"] = json!(["outcome", "status", "pointer", "message"]);
    invalid["properties"]["pointer"] = json!({"type": "string", "description": "A JSON pointer into the event."});
    invalid["properties"]["message"] = json!({"type": "string"});
    json!({
        "description": "What became of a batch, event by event, in the batch's order.",
        "type": "object",
        "required": ["outcomes", "accepted", "duplicates", "conflicts", "invalid"],
        "properties": {
            "outcomes": {"type": "array", "items": {"oneOf": [
                outcome("accepted", 201, "It was new, and counts."),
                outcome("duplicate", 200, "It was here before with the same content; it counted then."),
                outcome("conflict", 409, "It was here before with other content; this one lies in quarantine."),
                invalid,
            ]}},
            "accepted": count("New events."), "duplicates": count("Known events."),
            "conflicts": count("Events that contradict known ones."), "invalid": count("Events that do not fit."),
        },
    })
}
