//! What a customer used.

use super::{Operation, Parameter, Shape, of, read};
use crate::api::usage::UsageOut;

const MONTH: &[Parameter] = &[Parameter {
    name: "period",
    words: "A calendar month in the MSP's time zone.",
    is_required: true,
    schema: r##"{"$ref": "#/components/schemas/Month", "example": "2025-10"}"##,
}];

pub(super) const OPERATIONS: &[Operation] = &[
    read("/api/v1/msp/customers/{code}/usage", "showUsage", "Usage", "Show the usage of a month", of::<UsageOut>())
        .says("What a customer used in a month, as of the last nightly export.")
        .asks(MONTH),
    read("/reports/{code}/{file}", "downloadReport", "Usage", "Download a monthly report", Shape::Pdf)
        .says("The monthly report of a customer as PDF/A."),
];
