//! What every route of the API does, takes and answers, in the order of the document.
//!
//! Who may use a route stands in the one table of routes; here is what a reader wants to know besides. A route of the API
//! without a row here fails a test, and so does a row without a route.

mod alerts;
mod ingest;
mod usage;
mod warehouse;

use std::borrow::Cow;
use std::sync::LazyLock;

use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::Method;
use crate::api::access_log::AccessLogOut;
use crate::api::api_keys::{ApiKeyIn, ApiKeyOut, ApiKeysOut, NewApiKeyOut, RotateIn};
use crate::api::audit::AuditOut;
use crate::api::contacts::{ContactIn, ContactOut, ContactsOut};
use crate::api::contracts::{ContractIn, ContractOut, ContractsOut};
use crate::api::customers::{CustomerDetailOut, CustomerIn, CustomerOut, CustomersOut};
use crate::api::enrolment::{EnrolmentCodeOut, EnrolmentIn, EnrolmentOut, PlaneKeysOut, PlaneRevokedOut};
use crate::api::erasure::ErasureOut;
use crate::api::exchange::EndIn;
use crate::api::holds::{HoldOut, HoldsOut};
use crate::api::life::ChangeIn;
use crate::api::limits::LimitsOut;
use crate::api::people::{UserChangeIn, UserIn, UserOut, UsersOut};
use crate::api::planes::{ControlPlaneIn, ControlPlaneOut, ControlPlanesOut};
use crate::api::retention::{RetentionIn, RetentionOut, RetentionsOut};
use crate::api::sites::{SiteIn, SiteOut, SitesOut};
use crate::api::sso::{SsoIn, SsoOut};
use crate::api::tokens::{TokenIn, TokenOut};

/// Named schemas, as they are found.
pub(crate) type Found = Vec<(String, RefOr<Schema>)>;

/// What a body looks like.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A type of ours: its name, itself, and what it refers to.
    Type {
        name: fn() -> Cow<'static, str>,
        schema: fn() -> RefOr<Schema>,
        others: fn(&mut Found),
    },
    /// A schema of [`super::schemas::written`].
    Written(&'static str),
    Pdf,
}

/// A parameter of the query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) words: &'static str,
    pub(crate) is_required: bool,
    /// JSON.
    pub(crate) schema: &'static str,
}

/// A row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    /// Unique; programs are generated from it.
    pub(crate) id: &'static str,
    pub(crate) tag: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    pub(crate) query: &'static [Parameter],
    pub(crate) body: Option<Shape>,
    /// Whether the body may be left out.
    pub(crate) is_body_optional: bool,
    pub(crate) status: u16,
    pub(crate) answer: Shape,
}

/// The parts of the API, in order, with what they are about.
pub(crate) const TAGS: &[(&str, &str)] = &[
    ("Customers", "Customers of the MSP: made, listed, looked at."),
    ("Life", "A customer's states: trial → active ⇄ suspended → closed."),
    ("Limits", "How much a customer may use."),
    ("Contracts", "The terms of a customer, one after the other."),
    ("Control planes", "The backup systems at a customer, which send usage events."),
    ("Sites", "Places where a customer's machines stand."),
    ("Contacts", "People at a customer. They lie encrypted, and are removed for good."),
    ("People", "Logins of the MSP and of its customers. Nobody gives or takes more than they hold; a key manages none."),
    ("Single sign-on", "The identity provider through which an MSP's own people, or a customer's, come in; a key sets none up."),
    ("API keys", "Keys for programs, of the MSP or of one customer. A key is shown once, and a key makes no keys."),
    ("Tokens", "A session or a key, exchanged for a token that is good for ten minutes."),
    ("Enrolment", "How a control plane comes to a key pair of its own."),
    ("Leaving", "What is left of a customer: erasing it, and forbidding that."),
    ("Retention", "How long rows are kept."),
    ("Warehouse", "Questions in SQL to everything that the caller may read, as of the last night or an earlier one."),
    ("Alerts", "What needs somebody, who took it, and limits that no longer fit."),
    ("Closing", "A month is drafted 72 hours after its end, looked at, approved and closed for good. Later facts are corrections."),
    ("Usage", "What was protected, stored and transferred: events come in, months and reports come out."),
];

pub(crate) const fn of<T: ToSchema + PartialSchema>() -> Shape {
    Shape::Type { name: T::name, schema: T::schema, others: T::schemas }
}

const fn read(path: &'static str, id: &'static str, tag: &'static str, summary: &'static str, answer: Shape) -> Operation {
    let (query, body) = (&[], None);
    Operation { method: Method::Get, path, id, tag, summary, description: "", query, body, is_body_optional: false, status: 200, answer }
}

const fn send(
    method: Method,
    path: &'static str,
    [id, tag, summary]: [&'static str; 3],
    body: Shape,
    (status, answer): (u16, Shape),
) -> Operation {
    Operation { method, status, body: Some(body), ..read(path, id, tag, summary, answer) }
}

impl Operation {
    const fn says(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    const fn asks(self, query: &'static [Parameter]) -> Self {
        Self { query, ..self }
    }

    const fn or_nothing(self) -> Self {
        Self { is_body_optional: true, ..self }
    }
}

const FILTERS: &[Parameter] = &[
    Parameter {
        name: "status",
        words: "Only customers in this state.",
        is_required: false,
        schema: r##"{"$ref": "#/components/schemas/Status"}"##,
    },
    Parameter { name: "region", words: "Only customers of this region.", is_required: false, schema: r#"{"type": "string"}"# },
    Parameter {
        name: "deployment",
        words: "Only customers deployed this way.",
        is_required: false,
        schema: r##"{"$ref": "#/components/schemas/Deployment"}"##,
    },
    Parameter { name: "q", words: "Only customers with this in their code or name.", is_required: false, schema: r#"{"type": "string"}"# },
    Parameter {
        name: "cursor",
        words: "What `next` of the page before said; the first page without it.",
        is_required: false,
        schema: r#"{"type": "string", "pattern": "^(4[1-9a-f]|5[0-9a]|3[0-9])(4[1-9a-f]|5[0-9af]|3[0-9]|2d){0,49}$"}"#,
    },
    Parameter {
        name: "limit",
        words: "How many customers a page has at most.",
        is_required: false,
        schema: r#"{"type": "integer", "minimum": 1, "maximum": 200, "default": 50}"#,
    },
];

const AUDIT_FILTERS: &[Parameter] = &[
    Parameter {
        name: "customer",
        words: "What concerns one customer, the log in its own silo included.",
        is_required: false,
        schema: r##"{"$ref": "#/components/schemas/Code"}"##,
    },
    Parameter {
        name: "action",
        words: "Only actions that begin so, such as `customer.`.",
        is_required: false,
        schema: r#"{"type": "string"}"#,
    },
    Parameter { name: "actor", words: "Only what this one did, such as `user:<id>`.", is_required: false, schema: r#"{"type": "string"}"# },
    Parameter {
        name: "since",
        words: "From this instant on.",
        is_required: false,
        schema: r#"{"type": "string", "format": "date-time", "pattern": "^20[0-9][0-9]-"}"#,
    },
    Parameter {
        name: "until",
        words: "Before this instant.",
        is_required: false,
        schema: r#"{"type": "string", "format": "date-time", "pattern": "^20[0-9][0-9]-"}"#,
    },
    Parameter {
        name: "cursor",
        words: "What `next` of the page before said; the first page without it.",
        is_required: false,
        schema: r#"{"type": "string", "pattern": "^[1-9][0-9]{0,15}-[01]-[1-9][0-9]{0,15}$"}"#,
    },
    Parameter {
        name: "limit",
        words: "How many entries a page has at most.",
        is_required: false,
        schema: r#"{"type": "integer", "minimum": 1, "maximum": 200, "default": 50}"#,
    },
];

const CUSTOMERS: &str = "/api/v1/msp/customers";
const CUSTOMER: &str = "/api/v1/msp/customers/{code}";

/// Every operation, in the order of the document.
pub(crate) static OPERATIONS: LazyLock<Vec<Operation>> =
    LazyLock::new(|| [CUSTOMERS_AND_PEOPLE, ingest::OPERATIONS, usage::OPERATIONS, alerts::OPERATIONS, warehouse::OPERATIONS].concat());

const CUSTOMERS_AND_PEOPLE: &[Operation] = &[
    read(CUSTOMERS, "listCustomers", "Customers", "List customers", of::<CustomersOut>())
        .says(
            "The customers that the caller sees, by code, a page at a time. Pages are keyset pages: `next` of one is `cursor` of the \
             following one, and a customer that is made meanwhile neither repeats nor hides another.",
        )
        .asks(FILTERS),
    send(Method::Post, CUSTOMERS, ["createCustomer", "Customers", "Make a customer"], of::<CustomerIn>(), (201, of::<CustomerDetailOut>()))
        .says(
            "Makes a customer with a schema, a role and a key of its own. Send an `Idempotency-Key`: a request that broke off is then \
             finished by sending it again, and nobody is made twice.",
        ),
    read(CUSTOMER, "showCustomer", "Customers", "Show a customer", of::<CustomerDetailOut>()),
    send(Method::Post, "/api/v1/msp/customers/{code}/activate", ["activateCustomer", "Life", "Activate a trial"], of::<ChangeIn>(), (200, of::<CustomerOut>()))
        .or_nothing()
        .says("Makes a trial a customer that is billed. A trial never becomes one by itself."),
    send(Method::Post, "/api/v1/msp/customers/{code}/suspend", ["suspendCustomer", "Life", "Suspend a customer"], of::<ChangeIn>(), (200, of::<CustomerOut>()))
        .says(
            "Refuses new protection and commands; a reason is needed. What is sent is still counted and billed, and restore and export \
             stay open for 30 days.",
        ),
    send(Method::Post, "/api/v1/msp/customers/{code}/resume", ["resumeCustomer", "Life", "Resume a customer"], of::<ChangeIn>(), (200, of::<CustomerOut>()))
        .or_nothing()
        .says("Makes a suspended customer active again."),
    send(Method::Post, "/api/v1/msp/customers/{code}/close", ["closeCustomer", "Life", "Close a customer"], of::<ChangeIn>(), (200, of::<CustomerOut>()))
        .says("Ends a customer's contract and life; a reason is needed, and there is no way back. Its people may take their data along for 30 days."),
    read("/api/v1/msp/customers/{code}/limits", "showLimits", "Limits", "Show limits", of::<LimitsOut>()),
    send(Method::Put, "/api/v1/msp/customers/{code}/limits", ["putLimits", "Limits", "Replace limits"], of::<LimitsOut>(), (200, of::<LimitsOut>()))
        .says("Replaces all limits; what is left out has none. Facts are never refused: a limit alerts, or refuses new protection."),
    read("/api/v1/msp/customers/{code}/contracts", "listContracts", "Contracts", "List contracts", of::<ContractsOut>()),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/contracts",
        ["agreeContract", "Contracts", "Agree on a contract"],
        of::<ContractIn>(),
        (201, of::<ContractOut>()),
    )
    .says("Terms that follow those in force, from the first of a month. What is left out is as in a year that renews."),
    read(
        "/api/v1/msp/customers/{code}/control-planes",
        "listControlPlanes",
        "Control planes",
        "List control planes",
        of::<ControlPlanesOut>(),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes",
        ["addControlPlane", "Control planes", "Add a control plane"],
        of::<ControlPlaneIn>(),
        (201, of::<ControlPlaneOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/retire",
        ["retireControlPlane", "Control planes", "Retire a control plane"],
        of::<EndIn>(),
        (200, of::<ControlPlaneOut>()),
    ),
    read("/api/v1/msp/customers/{code}/sites", "listSites", "Sites", "List sites", of::<SitesOut>()),
    send(Method::Post, "/api/v1/msp/customers/{code}/sites", ["addSite", "Sites", "Add a site"], of::<SiteIn>(), (201, of::<SiteOut>())),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/sites/{id}/retire",
        ["retireSite", "Sites", "Retire a site"],
        of::<EndIn>(),
        (200, of::<SiteOut>()),
    ),
    read("/api/v1/msp/customers/{code}/contacts", "listContacts", "Contacts", "List contacts", of::<ContactsOut>()),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/contacts",
        ["addContact", "Contacts", "Add a contact"],
        of::<ContactIn>(),
        (201, of::<ContactOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/contacts/{id}/remove",
        ["removeContact", "Contacts", "Remove a contact"],
        of::<EndIn>(),
        (200, Shape::Written("ContactRemoved")),
    ),
    read("/api/v1/msp/customers/{code}/access-log", "showAccessLog", "People", "Show who opened a customer's data", of::<AccessLogOut>())
        .says("Who of the MSP, and which of its programs, opened the customer's data: each once an hour, the newest first."),
    read("/api/v1/msp/audit", "listAudit", "People", "Show who did what", of::<AuditOut>())
        .says("What people, keys and the house did, the newest first, a page at a time; somebody of a customer sees that customer's. Pages are keyset pages.")
        .asks(AUDIT_FILTERS),
    read("/api/v1/msp/users", "listUsers", "People", "List logins", of::<UsersOut>())
        .says("The logins of where the caller belongs: of the MSP, or of the customer."),
    send(Method::Post, "/api/v1/msp/users", ["inviteUser", "People", "Invite somebody"], of::<UserIn>(), (201, of::<UserOut>()))
        .says("Makes a login without a password and sends its owner a letter that leads to choosing one, for seven days. Who has not answered is written to again."),
    send(Method::Post, "/api/v1/msp/users/{id}", ["changeUser", "People", "Change a login"], of::<UserChangeIn>(), (200, of::<UserOut>()))
        .says("Gives another role, stops a login (its sessions end at once) or lets it in again. Nobody changes their own."),
    read("/api/v1/msp/customers/{code}/users", "listCustomerUsers", "People", "List a customer's logins", of::<UsersOut>()),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/users",
        ["inviteCustomerUser", "People", "Invite somebody of a customer"],
        of::<UserIn>(),
        (201, of::<UserOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/users/{id}",
        ["changeCustomerUser", "People", "Change a customer's login"],
        of::<UserChangeIn>(),
        (200, of::<UserOut>()),
    ),
    read("/api/v1/msp/sso", "showSso", "Single sign-on", "Show the identity provider", of::<SsoOut>())
        .says("That of where the caller belongs: of the MSP, or of the customer."),
    send(Method::Put, "/api/v1/msp/sso", ["putSso", "Single sign-on", "Set the identity provider up"], of::<SsoIn>(), (200, of::<SsoOut>()))
        .says("Replaces everything but a secret that is left out. Nobody gives a group more than they hold themselves."),
    send(Method::Post, "/api/v1/msp/sso/remove", ["removeSso", "Single sign-on", "Remove the identity provider"], of::<EndIn>(), (200, of::<SsoOut>()))
        .says("Sessions that it opened end; people come in by password again, which a letter lets them choose."),
    read("/api/v1/msp/customers/{code}/sso", "showCustomerSso", "Single sign-on", "Show a customer's identity provider", of::<SsoOut>()),
    send(
        Method::Put,
        "/api/v1/msp/customers/{code}/sso",
        ["putCustomerSso", "Single sign-on", "Set a customer's identity provider up"],
        of::<SsoIn>(),
        (200, of::<SsoOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/sso/remove",
        ["removeCustomerSso", "Single sign-on", "Remove a customer's identity provider"],
        of::<EndIn>(),
        (200, of::<SsoOut>()),
    ),
    read("/api/v1/msp/api-keys", "listApiKeys", "API keys", "List keys", of::<ApiKeysOut>())
        .says("The keys of where the caller belongs: of the MSP, or of the customer. Live ones first, 500 at most."),
    send(Method::Post, "/api/v1/msp/api-keys", ["createApiKey", "API keys", "Make a key"], of::<ApiKeyIn>(), (201, of::<NewApiKeyOut>()))
        .says("The answer holds the key, for the only time. Nobody gives a program more than they may do themselves."),
    send(
        Method::Post,
        "/api/v1/msp/api-keys/{id}/rotate",
        ["rotateApiKey", "API keys", "Replace a key"],
        of::<RotateIn>(),
        (201, of::<NewApiKeyOut>()),
    )
    .says("Makes a key with the same scopes, limits and length of life; the one before stays good for the overlap."),
    send(Method::Post, "/api/v1/msp/api-keys/{id}/revoke", ["revokeApiKey", "API keys", "End a key"], of::<EndIn>(), (200, of::<ApiKeyOut>())),
    read("/api/v1/msp/customers/{code}/api-keys", "listCustomerApiKeys", "API keys", "List a customer's keys", of::<ApiKeysOut>()),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys",
        ["createCustomerApiKey", "API keys", "Make a key of a customer"],
        of::<ApiKeyIn>(),
        (201, of::<NewApiKeyOut>()),
    )
    .says("Such a key acts for that customer alone; only such a one sends usage events."),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys/{id}/rotate",
        ["rotateCustomerApiKey", "API keys", "Replace a customer's key"],
        of::<RotateIn>(),
        (201, of::<NewApiKeyOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/api-keys/{id}/revoke",
        ["revokeCustomerApiKey", "API keys", "End a customer's key"],
        of::<EndIn>(),
        (200, of::<ApiKeyOut>()),
    ),
    send(Method::Post, "/api/v1/tokens", ["issueToken", "Tokens", "Make a token"], of::<TokenIn>(), (201, of::<TokenOut>()))
        .or_nothing()
        .says(
            "A JSON Web Token signed by Ed25519; others check it by the keys of `/.well-known/jwks.json`. It opens what its owner has at that \
             time and the token names, and ends with the session or key that it was made from. It makes no logins, keys or tokens.",
        ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/enrolment",
        ["inviteControlPlane", "Enrolment", "Make a code for a control plane"],
        of::<EndIn>(),
        (201, of::<EnrolmentCodeOut>()),
    )
    .says("The code works once and for a day; the one before is void."),
    send(Method::Post, "/api/v1/enrolments", ["enrolControlPlane", "Enrolment", "Enrol a control plane"], of::<EnrolmentIn>(), (201, of::<EnrolmentOut>()))
        .says(
            "The control plane makes an Ed25519 key pair, keeps the private half, and sends the public one with its signature of \
             `granary enrolment ` and the code. From then on it signs its tokens itself: `alg` EdDSA, `typ` plane+jwt, `kid`, `iss` and `aud` as \
             answered here, `iat`, `nbf` and `exp` at most five minutes apart. The same key with the same code is answered alike.",
        ),
    read(
        "/api/v1/msp/customers/{code}/control-plane-keys",
        "listControlPlaneKeys",
        "Enrolment",
        "List keys of control planes",
        of::<PlaneKeysOut>(),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/control-planes/{id}/revoke",
        ["revokeControlPlane", "Enrolment", "End a control plane's key"],
        of::<EndIn>(),
        (200, of::<PlaneRevokedOut>()),
    ),
    read("/api/v1/msp/customers/{code}/holds", "listHolds", "Leaving", "List legal holds", of::<HoldsOut>()),
    send(Method::Post, "/api/v1/msp/customers/{code}/holds", ["setHold", "Leaving", "Set a legal hold"], of::<EndIn>(), (201, of::<HoldOut>()))
        .says("While it stands nothing of the customer is erased and none of its rows are let go, whoever asks. One that stands stays as it is."),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/holds/release",
        ["releaseHold", "Leaving", "Release the legal hold"],
        of::<EndIn>(),
        (200, of::<HoldOut>()),
    ),
    send(
        Method::Post,
        "/api/v1/msp/customers/{code}/erasure",
        ["eraseCustomer", "Leaving", "Erase a closed customer"],
        of::<EndIn>(),
        (202, of::<ErasureOut>()),
    )
    .says(
        "Destroys the keys, files, database and rows of a closed customer but what the law keeps. There is no way back: an `Idempotency-Key` \
         is needed. The work goes on after the answer; ask for its state.",
    ),
    read("/api/v1/msp/customers/{code}/erasure", "showErasure", "Leaving", "Show an erasure", of::<ErasureOut>())
        .says("How far it is, and in the end the certificate, by the code that the customer had."),
    read("/api/v1/msp/retention", "listRetention", "Retention", "List how long rows are kept", of::<RetentionsOut>()),
    send(
        Method::Put,
        "/api/v1/msp/retention/{dataset}",
        ["putRetention", "Retention", "Say how long rows are kept"],
        of::<RetentionIn>(),
        (200, of::<RetentionOut>()),
    )
    .says("Rows that are older go every night, in the database and in the lake. A rule that would cut what somebody needs is refused."),
];
