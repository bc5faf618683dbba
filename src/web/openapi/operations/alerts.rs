//! Limits, alerts and recommendations.

use super::{Operation, Parameter, Shape, of, read, send};
use crate::Method;
use crate::api::alerts::{AlertOut, AlertStepIn, AlertsOut, RecommendationsOut, SnoozeIn};

const CUSTOMERS: Parameter = Parameter {
    name: "customers",
    words: "`all`, or codes of customers between commas.",
    is_required: false,
    schema: r#"{"type": "string", "pattern": "^(all|[A-Za-z0-9][A-Za-z0-9_-]{0,49}(,[A-Za-z0-9][A-Za-z0-9_-]{0,49}){0,199})?$", "default": "all"}"#,
};

const FILTERS: &[Parameter] = &[
    Parameter {
        name: "severity",
        words: "Only alerts of this severity.",
        is_required: false,
        schema: r##"{"$ref": "#/components/schemas/AlertSeverity"}"##,
    },
    CUSTOMERS,
    Parameter {
        name: "state",
        words: "Only alerts in this state; `all` for resolved ones too. Without it whatever is not resolved.",
        is_required: false,
        schema: r#"{"type": "string", "enum": ["open", "acknowledged", "snoozed", "escalated", "resolved", "all"]}"#,
    },
    Parameter {
        name: "cursor",
        words: "What `next` of the page before said; the first page without it.",
        is_required: false,
        schema: r#"{"type": "string", "pattern": "^(critical|warning|info)-[1-9][0-9]{0,15}-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"}"#,
    },
    Parameter {
        name: "limit",
        words: "How many alerts a page has at most.",
        is_required: false,
        schema: r#"{"type": "integer", "minimum": 1, "maximum": 200, "default": 50}"#,
    },
];

const MONTH: &[Parameter] = &[
    Parameter {
        name: "period",
        words: "A calendar month that is over; the last one without it.",
        is_required: false,
        schema: r##"{"$ref": "#/components/schemas/Month"}"##,
    },
    CUSTOMERS,
];

const fn step(path: &'static str, [id, summary]: [&'static str; 2], body: Shape) -> Operation {
    send(Method::Post, path, [id, "Alerts", summary], body, (200, of::<AlertOut>()))
}

pub(super) const OPERATIONS: &[Operation] = &[
    read("/api/v1/msp/alerts", "listAlerts", "Alerts", "List alerts", of::<AlertsOut>())
        .says(
            "Alerts of the customers that the caller sees, the most urgent first and of those the latest, a page at a time. There is at most \
             one of a kind and subject that is not resolved. Pages are keyset pages.",
        )
        .asks(FILTERS),
    step("/api/v1/msp/alerts/{id}/acknowledge", ["acknowledgeAlert", "Take an alert"], of::<AlertStepIn>())
        .or_nothing()
        .says("Says that somebody looks after it. An alert that becomes more urgent is open again."),
    step("/api/v1/msp/alerts/{id}/snooze", ["snoozeAlert", "Put an alert to rest"], of::<SnoozeIn>())
        .says("It is open again at that instant, or when it becomes more urgent, unless its cause is gone by then."),
    step("/api/v1/msp/alerts/{id}/escalate", ["escalateAlert", "Hand an alert on"], of::<AlertStepIn>())
        .says("Tells whoever listens to escalated alerts; a reason is needed."),
    step("/api/v1/msp/alerts/{id}/resolve", ["resolveAlert", "Declare an alert over"], of::<AlertStepIn>())
        .says("A reason is needed. While its cause goes on nothing is raised for a day, unless it becomes more urgent. Alerts whose cause is gone are resolved by themselves."),
    read("/api/v1/msp/recommendations", "listRecommendations", "Alerts", "Recommend limits", of::<RecommendationsOut>())
        .says(
            "Limits that did not fit a whole month: more than 80 % of the machines or 85 % of the storage used, or less than 30 %. Customers \
             whose contract does not cover the month are left out.",
        )
        .asks(MONTH),
];
