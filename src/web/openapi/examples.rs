//! What was really sent and answered: a test sends it all again, in order, and compares.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::Value;

use super::schemas::{event_schema_of, event_schemas, example_events};

/// One exchange of the story.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    pub(crate) operation: String,
    pub(crate) path: String,
    /// The idempotency key that came with it.
    #[serde(default)]
    pub(crate) key: Option<String>,
    #[serde(default)]
    pub(crate) request: Option<Value>,
    pub(crate) status: u16,
    /// None for what is not JSON.
    #[serde(default)]
    pub(crate) answer: Option<Value>,
}

/// The story, in order.
pub(crate) static EXAMPLES: LazyLock<Vec<Example>> = LazyLock::new(|| {
    let parts = [
        include_str!("examples.json"),
        include_str!("examples/ingest.json"),
        include_str!("examples/usage.json"),
        include_str!("examples/alerts.json"),
        include_str!("examples/warehouse.json"),
    ];
    let read = |part| serde_json::from_str::<Vec<Example>>(part).unwrap_or_default();
    let mut story: Vec<Example> = parts.into_iter().flat_map(read).collect();
    for example in story.iter_mut().filter(|example| example.operation == "sendUsageEvents" && example.request.is_none()) {
        example.request = Some(Value::Array(example_events()));
    }
    // What is made of the schemas is not written twice.
    for example in &mut story {
        match example.operation.as_str() {
            "listEventSchemas" => example.answer = Some(event_schemas()),
            "showEventSchema" => example.answer = example.path.rsplit('/').next().and_then(event_schema_of),
            _ => {}
        }
    }
    story
});

/// Returns the first exchange of an operation with this outcome.
pub(super) fn of(operation: &str, status: u16) -> Option<&'static Example> {
    EXAMPLES.iter().find(|example| example.operation == operation && example.status == status)
}
