//! What a customer used, and closing a month.

use super::{Operation, Parameter, Shape, of, read, send};
use crate::Method;
use crate::api::periods::{AcceptIn, AcceptedOut, ApprovedOut, ClosedOut, CorrectionsOut, DraftedOut, PeriodOut};
use crate::api::usage::{EvidenceOut, ProofOut, UsageOut};

const MONTH: &[Parameter] = &[Parameter {
    name: "period",
    words: "A calendar month in the MSP's time zone.",
    is_required: true,
    schema: r##"{"$ref": "#/components/schemas/Month", "example": "2025-10"}"##,
}];

const fn optional(name: &'static str, words: &'static str, schema: &'static str) -> Parameter {
    Parameter { name, words, is_required: false, schema }
}

const EVIDENCE: &[Parameter] = &[
    MONTH[0],
    Parameter {
        name: "meter",
        words: "Which number.",
        is_required: true,
        schema: r##"{"$ref": "#/components/schemas/Meter", "example": "runs"}"##,
    },
    optional("day", "Only what counts on this billing day.", r#"{"type": "string", "format": "date", "example": "2025-10-07"}"#),
    optional("machine", "Only events about the machine with this id in its source system.", r#"{"type": "string", "minLength": 1}"#),
    optional("cursor", "What `next` of the page before said.", r#"{"type": "string", "pattern": "^[0-9a-f]+$"}"#),
    optional("limit", "At most so many events; 100 where none is given.", r#"{"type": "integer", "minimum": 1, "maximum": 500}"#),
];

const PROOF: &[Parameter] = &[
    MONTH[0],
    Parameter { name: "source", words: "The event's source.", is_required: true, schema: r#"{"type": "string", "minLength": 1}"# },
    Parameter { name: "event", words: "The event's id.", is_required: true, schema: r#"{"type": "string", "minLength": 1}"# },
];

/// An operation on a month that sends nothing.
const fn act(path: &'static str, id: &'static str, summary: &'static str, answer: Shape) -> Operation {
    Operation { method: Method::Post, ..read(path, id, "Closing", summary, answer) }
}

pub(super) const OPERATIONS: &[Operation] = &[
    read("/api/v1/msp/customers/{code}/usage", "showUsage", "Usage", "Show the usage of a month", of::<UsageOut>())
        .says(
            "What a customer used in a month, the open one too: in all and day by day. An open month is measured when it is asked for, \
             at most once a minute; a closed one is what it was closed with. `api_calls_total` are the calls of the customer's own \
             programs, by API key or token: not pages, not the MSP's programs, not the deliveries of control planes; they are written \
             every few seconds.",
        )
        .asks(MONTH),
    read("/api/v1/msp/customers/{code}/usage/events", "listUsageEvents", "Usage", "List the events behind a number", of::<EvidenceOut>())
        .says("The events that a number of a month, or of one of its days, is made of, by when they count: when a run ended, a sample was taken.")
        .asks(EVIDENCE),
    read("/api/v1/msp/customers/{code}/usage/proof", "proveEvent", "Usage", "Prove that an event was counted", of::<ProofOut>())
        .says(
            "That an event is one of those that a closed month counted, by a Merkle tree as RFC 6962 builds one. A leaf is the SHA-256 of \
             the byte 0, the event's source and id, each after its length in four bytes, and its content hash; a node that of the byte 1 \
             and its two children.",
        )
        .asks(PROOF),
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
