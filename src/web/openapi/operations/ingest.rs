//! What control planes send.

use super::{Operation, Shape, send};
use crate::Method;

pub(super) const OPERATIONS: &[Operation] = &[send(
    Method::Post,
    "/api/v1/usage/events",
    ["sendUsageEvents", "Usage", "Send usage events"],
    Shape::Written("UsageEvents"),
    (200, Shape::Written("IngestReport")),
)
.says(
    "A CloudEvents 1.0 batch of one customer's control planes: at most 20,000 events, in any order, as often as one likes. An event is \
         known for ever by (source, id) and counts once. What became of each is answered in the batch's order; a batch of which nothing \
         could be used is answered with 409 or 422 and the same report.",
)];
