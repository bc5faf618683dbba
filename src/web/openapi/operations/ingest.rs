//! What control planes send.

use super::{Operation, Shape, read, send};
use crate::Method;

pub(super) const OPERATIONS: &[Operation] = &[
    send(
        Method::Post,
        "/api/v1/usage/events",
        ["sendUsageEvents", "Usage", "Send usage events"],
        Shape::Written("UsageEvents"),
        (200, Shape::Written("IngestReport")),
    )
    .says(
        "CloudEvents 1.0 of one customer's control planes: at most 20,000 events, in any order, as often as one likes; structured, batched, \
         as plain JSON or an event a line, with `Content-Encoding` gzip or zstd. An event is known for ever by (source, id) and counts once. \
         What became of each is answered in the batch's order, with the status that it alone would have; a batch of which nothing could be \
         used is answered with 409 or 422 and the same report. Facts are never refused for a limit or a state of the customer. On 429 and \
         503 nothing was taken: send the same again after `Retry-After`.",
    ),
    read("/api/v1/usage/schemas", "listEventSchemas", "Usage", "List the types of usage events", Shape::Written("EventTypes"))
        .says("Every type of usage event, what it says, and where its schema is."),
    read("/api/v1/usage/schemas/{type}", "showEventSchema", "Usage", "Show the schema of a type of usage event", Shape::Written("JsonSchema"))
        .says("A JSON Schema (2020-12) of the whole event, with an example that is taken as it stands."),
];
