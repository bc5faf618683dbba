//! Questions in SQL.

use super::{Operation, Shape, of, send};
use crate::Method;
use crate::api::query::QueryIn;

pub(super) const OPERATIONS: &[Operation] = &[send(
    Method::Post,
    "/api/v1/msp/query",
    ["askWarehouse", "Warehouse", "Ask a question in SQL"],
    of::<QueryIn>(),
    (200, Shape::Written("QueryRows")),
)
.says(
    "One `select` over what the caller may read: nothing else is in its catalog (`show tables`). The answer comes as its rows are found, as \
     `Accept` wishes: `application/json` (one array of objects; decimals, days and instants are text), `text/csv`, \
     `application/vnd.apache.arrow.stream` or `application/vnd.apache.parquet`. An answer that breaks off is no answer: its connection ends \
     with an error. Two questions of an MSP are answered at the same time. `as_of` reads the lake as it was.",
)];
