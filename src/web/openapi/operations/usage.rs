//! What a customer used, and closing a month.

use super::{Operation, Parameter, Shape, of, read, send};
use crate::Method;
use crate::api::periods::{AcceptIn, AcceptedOut, ApprovedOut, ClosedOut, CorrectionsOut, DraftedOut, PeriodOut};
use crate::api::usage::UsageOut;

const MONTH: &[Parameter] = &[Parameter {
    name: "period",
    words: "A calendar month in the MSP's time zone.",
    is_required: true,
    schema: r##"{"$ref": "#/components/schemas/Month", "example": "2025-10"}"##,
}];

/// An operation on a month that sends nothing.
const fn act(path: &'static str, id: &'static str, summary: &'static str, answer: Shape) -> Operation {
    Operation { method: Method::Post, ..read(path, id, "Closing", summary, answer) }
}

pub(super) const OPERATIONS: &[Operation] = &[
    read("/api/v1/msp/customers/{code}/usage", "showUsage", "Usage", "Show the usage of a month", of::<UsageOut>())
        .says("What a customer used in a month, as of the last nightly export.")
        .asks(MONTH),
    read("/reports/{code}/{file}", "downloadReport", "Usage", "Download a monthly report", Shape::Pdf)
        .says("The monthly report of a customer as PDF/A."),
    act("/api/v1/msp/periods/{period}/draft", "draftPeriod", "Draft the invoices of a month", of::<DraftedOut>())
        .says("Measures and rates every customer, and looks for what speaks against closing. As often as one likes until the close."),
    read("/api/v1/msp/periods/{period}", "showPeriod", "Closing", "Show where a month stands", of::<PeriodOut>())
        .says("Customer by customer: what is complete, what was found when the month was drafted last, what blocks its close."),
    send(
        Method::Post,
        "/api/v1/msp/periods/{period}/accept",
        ["acceptFinding", "Closing", "Accept what blocks the close"],
        of::<AcceptIn>(),
        (200, of::<AcceptedOut>()),
    )
    .says(
        "By name and with a reason, for what there is now: when there is more, it blocks again. A silent customer that is accepted is \
         billed by its last known machines, marked as estimated, once the month is drafted again.",
    ),
    act("/api/v1/msp/periods/{period}/approve", "approvePeriod", "Approve the drafts of a month", of::<ApprovedOut>()).says(
        "Whoever drafted the month or accepted something in it does not approve it, unless the MSP allows that. A draft that changes is \
         approved again.",
    ),
    act("/api/v1/msp/periods/{period}/close", "closePeriod", "Close a month", of::<ClosedOut>()).says(
        "Freezes every customer's month with the Merkle root of its events and numbers the invoices. Nothing of it ever changes again; \
         to close a closed month does nothing.",
    ),
    read(
        "/api/v1/msp/periods/{period}/corrections",
        "listCorrections",
        "Closing",
        "List the corrections of a month",
        of::<CorrectionsOut>(),
    )
    .says("What facts that came after the close would have made of it: quantities by meter, and amounts that go out with a later month."),
];
