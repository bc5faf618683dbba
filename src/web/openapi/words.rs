//! What the fields of the API are made of, named once: sets of words, and texts with rules.
//!
//! These types stand in for the house's own in a schema, since the rooms that own those know nothing of documents.

use std::borrow::Cow;
use std::fmt::Display;

use granary_access::{ApiKeyScope, Permission as May};
use granary_tenants::ContactKind as Kind;
use granary_types::{BillingChannel as Channel, CustomerStatus, Deployment as Kept, EndReason as End, Role as Who, Tier as Level};
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Something that can be read, without control characters.
const PRINTABLE: &str = r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$";

macro_rules! named {
    ($($name:ident: $schema:expr, $words:literal;)*) => {$(
        #[doc = $words]
        #[derive(Debug)]
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                RefOr::T($schema.description(Some($words)).into())
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($name))
            }
        }
    )*};
}

named! {
    Tier: one_of(Level::ALL), "What a machine's protection costs and holds.";
    Status: one_of(CustomerStatus::ALL), "A customer's state.";
    FirstStatus: one_of(&[CustomerStatus::Trial, CustomerStatus::Active]), "`trial` for 30 days that are not billed, or `active`.";
    Deployment: one_of(Kept::ALL), "How a customer's data is kept.";
    EndReason: one_of(End::ALL), "Why a contract ended.";
    BillingChannel: one_of(Channel::ALL), "Who sends the invoice.";
    ContactKind: one_of(&Kind::ALL.map(Kind::as_str)), "What a contact is asked about.";
    Role: one_of(Who::ALL), "What somebody sees and may do.";
    Permission: one_of(May::ALL), "Something that somebody may do.";
    KeyScope: one_of(&ApiKeyScope::ALL), "What a key may do.";
    KeyState: one_of(&["active", "replaced", "expired", "revoked"]), "`replaced` while the key that follows is there and this one still good.";
    LoginState: one_of(&["invited", "active", "disabled"]), "`invited` until a password is chosen; `disabled` when somebody stopped the login.";
    Enforcement: one_of(&["soft", "hard"]),
        "`soft` alerts at 80 % and 100 % of a limit, `hard` refuses as well: requests above a rate, and what is ordered from here. Facts are always counted.";
    AlertKind: one_of(granary_types::AlertKind::ALL), "What an alert is about.";
    AlertSeverity: one_of(granary_types::AlertSeverity::ALL), "How urgent an alert is: good to know, somebody should look, somebody must act.";
    AlertState: one_of(granary_types::AlertState::ALL), "Where an alert stands; `resolved` is the end.";
    Resource: one_of(&["machines", "storage"]), "What a limit is about.";
    Direction: one_of(&["up", "down"]), "Whether a limit is too small or larger than needed.";
    Text: text(200, PRINTABLE), "1 to 200 characters, none of them a control character.";
    Reason: text(500, r"^[^\u0000-\u001f\u007f-\u009f]*$").min_length(Some(0)), "Why: at most 500 characters, which go to the audit log; blank is none.";
    Email: text(254, r"^[^\s@\u0000-\u001f\u007f-\u009f]+@[^\s\u0000-\u001f\u007f-\u009f]+$"), "An e-mail address.";
    Code: text(50, "^[A-Za-z0-9][A-Za-z0-9_-]*$"), "A customer's short name, unique at the MSP and never changed; raised to capitals.";
    Country: text(2, "^[A-Z]{2}$"), "Two capital letters, by ISO 3166.";
    Region: text(40, "^[a-z0-9-]+$"), "Where data lies, such as `eu-west-1`; `local` is the home.";
    Zone: text(60, "^[A-Za-z0-9_+/-]+$"), "A time zone of the IANA database, such as `America/New_York`.";
    Color: text(7, "^#[0-9A-Fa-f]{6}$"), "A colour, such as `#1e40af`.";
    Issuer: text(2_000, "^https?://[!-~]+$"), "What an identity provider calls itself, such as `https://login.example.com/tenant/v2.0`; by HTTPS.";
    Domain: text(253, "^[a-z0-9-]+([.][a-z0-9-]+)+$"), "A domain of e-mail addresses, such as `example.com`.";
    Picture: text(2_000, "^https://[!-~]*$"), "The address of a picture, by HTTPS.";
    FirstOfMonth: text(10, "^(199[0-9]|20[0-9]{2})-(0[1-9]|1[0-2])-01$"), "The first day of a month, such as `2026-01-01`.";
    Currency: text(3, "^[A-Z]{3}$"), "A currency by ISO 4217.";
    PeriodState: one_of(&["open", "drafted", "closed"]), "`closed` for good: what comes later is a correction on a later invoice.";
    Completeness: one_of(&["complete", "incomplete", "estimated"]),
        "`incomplete` when a control plane was silent at the cut-off, `estimated` when the last known machines stand in for it.";
    Finding: one_of(&["incomplete", "quarantine", "residual"]), "What blocks a close: silence, refused events, amounts that do not meet.";
    InvoiceState: one_of(&["draft", "approved", "finalised"]), "`approved` until the draft changes; `finalised` with its number, for good.";
    Counting: one_of(&["distinct_in_period", "average_daily", "peak_daily", "last_day"]), "How the MSP counts the machines of a month.";
    Meter: one_of(granary_metering::Meter::ALL), "A number of a month's usage.";
    Month: text(7, "^20[0-9]{2}-(0[1-9]|1[0-2])$"), "A calendar month in the MSP's zone, such as `2025-10`.";
    Percent: percent(2), "0 to 100 with two decimals; as text it is exact, and so it is answered.";
    TaxPercent: percent(3), "0 to 100 with three decimals; as text it is exact, and so it is answered.";
    Gib: text(24, r"^[0-9]+[.][0-9]{3}$"), "GiB with three decimals, as text: an exact number.";
}

fn one_of(words: &[impl Display]) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words.iter().map(ToString::to_string)))
}

fn text(most: usize, pattern: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).min_length(Some(1)).max_length(Some(most)).pattern(Some(pattern))
}

fn percent(decimals: u8) -> ObjectBuilder {
    let builder = ObjectBuilder::new().schema_type(SchemaType::Array(vec![Type::String, Type::Number]));
    builder
        .pattern(Some(format!("^([0-9]{{1,2}}([.][0-9]{{1,{decimals}}})?|100([.]0{{1,{decimals}}})?)$")))
        .minimum(Some(0))
        .maximum(Some(100))
}
