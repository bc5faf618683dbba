//! `/api-keys` and `/customers/{code}/api-keys`: what programs come in with.

use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::{AccessError, ApiKey, ApiKeyScope, NewApiKey, OVERLAP};
use granary_foundation::Secret;
use granary_types::{ApiKeyId, Classify, CustomerCode, ErrorKind};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::people::Managed;
use crate::format;
use crate::http::Problem;
use crate::layout::{self, Place};

/// What the page's forms send: one field says what is wanted, the others what that needs. Scopes are boxes that may be ticked, each
/// with a name of its own.
#[derive(Debug, Deserialize)]
pub(crate) struct KeysIn {
    csrf: String,
    action: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    days: String,
    #[serde(default)]
    overlap_hours: String,
    #[serde(default)]
    reason: String,
    #[serde(default, rename = "usage.write")]
    usage_write: Option<String>,
    #[serde(default, rename = "reports.read")]
    reports_read: Option<String>,
    #[serde(default, rename = "billing.read")]
    billing_read: Option<String>,
    #[serde(default)]
    sql: Option<String>,
    #[serde(default, rename = "customers.write")]
    customers_write: Option<String>,
}

impl KeysIn {
    fn scopes(&self) -> Vec<ApiKeyScope> {
        let is_ticked = |scope: &ApiKeyScope| match scope {
            ApiKeyScope::UsageWrite => self.usage_write.is_some(),
            ApiKeyScope::ReportsRead => self.reports_read.is_some(),
            ApiKeyScope::BillingRead => self.billing_read.is_some(),
            ApiKeyScope::Sql => self.sql.is_some(),
            ApiKeyScope::CustomersWrite => self.customers_write.is_some(),
        };
        ApiKeyScope::ALL.into_iter().filter(is_ticked).collect()
    }
}

/// What came of a form: words, and a key that is shown once.
struct Outcome {
    words: String,
    key: Option<Secret>,
}

/// The list with its forms.
pub(crate) async fn show(managed: Managed) -> Result<Html<String>, Problem> {
    page(&managed, None, None).await
}

/// Does what a form wants, and shows the list again.
pub(crate) async fn act(managed: Managed, Form(input): Form<KeysIn>) -> Result<Response, Problem> {
    managed.visitor.check_csrf(&input.csrf)?;
    match wanted(&managed, &input).await {
        Ok(Outcome { words, key }) => Ok(page(&managed, Some(Ok(&words)), key.as_ref()).await?.into_response()),
        Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) => Err(error.into()),
        Err(error) => {
            let page = page(&managed, Some(Err(&error.to_string())), None).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn wanted(managed: &Managed, input: &KeysIn) -> Result<Outcome, AccessError> {
    let (access, manager, at) = (&managed.app.access, managed.manager(), managed.place);
    let id = || input.id.parse::<ApiKeyId>().map_err(|_| AccessError::UnknownKey(String::new()));
    Ok(match input.action.as_str() {
        "create" => {
            let msp_id = at.msp.ok_or(AccessError::InvalidKey("it belongs to an MSP or a customer"))?;
            let days = number(&input.days, "the days are a number")?;
            let expires_at = days.map(|days: i64| after(access.instant(), SignedDuration::from_hours(days.saturating_mul(24))));
            let (name, scopes) = (input.name.clone(), input.scopes());
            let (customer_id, control_plane_id, requests_per_minute) = (at.customer, None, None);
            let new = NewApiKey { msp_id, customer_id, control_plane_id, name, scopes, expires_at, requests_per_minute };
            let (key, secret) = access.create_api_key(manager, &new).await?;
            Outcome { words: format!("The key '{}' is made. Copy it now: nobody can show it again.", key.name), key: Some(secret) }
        }
        "rotate" => {
            let overlap = number(&input.overlap_hours, "the hours are a number")?.map_or(OVERLAP, SignedDuration::from_hours);
            let (key, secret) = access.rotate_api_key(manager, at, id()?, overlap, &input.reason).await?;
            let words = format!(
                "Another key '{}' is made; the one before is good for {} hours more. Copy it now: nobody can show it again.",
                key.name,
                overlap.as_hours()
            );
            Outcome { words, key: Some(secret) }
        }
        "revoke" => {
            let key = access.revoke_api_key(manager, at, id()?, &input.reason).await?;
            Outcome { words: format!("The key '{}' has ended.", key.name), key: None }
        }
        _ => return Err(AccessError::InvalidKey("this form is not known here")),
    })
}

/// Reads a number of at most four digits; nothing is none.
fn number(text: &str, why: &'static str) -> Result<Option<i64>, AccessError> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let number = text.parse::<i64>().ok().filter(|number| (0..=9_999).contains(number));
    number.map(Some).ok_or(AccessError::InvalidKey(why))
}

fn after(now: Timestamp, time: SignedDuration) -> Timestamp {
    now.checked_add(time).unwrap_or(Timestamp::MAX)
}

async fn page(managed: &Managed, outcome: Option<Result<&str, &str>>, key: Option<&Secret>) -> Result<Html<String>, Problem> {
    let keys = managed.app.access.list_api_keys(managed.place).await?;
    let codes = managed.codes().await?;
    let visitor = &managed.visitor;
    let code: Option<&CustomerCode> = managed.place.customer.and_then(|customer| codes.get(&customer));
    let (title, note) = match code {
        Some(code) => (format!("API keys of {code}"), "for programs that act for this customer alone"),
        None => ("API keys".to_owned(), "for programs of your own; a customer's keys stand on its own page"),
    };
    let target = code.map_or_else(|| "/api-keys".to_owned(), |code| format!("/customers/{code}/api-keys"));
    let customer = code.map(|code| (format!("/customers/{code}"), code.to_string()));
    let crumbs: Vec<(&str, &str)> = customer.iter().map(|(href, code)| (href.as_str(), code.as_str())).collect();
    let zone = visitor.msp()?.time_zone.clone();
    let form = Frame { target: &target, csrf: visitor.csrf_token(), is_customer: code.is_some(), now: managed.app.access.instant() };
    let body = html! {
        (layout::head(&crumbs, &title, &html! { (note) }, &html! { a.button href="/docs/api" { "The API" } }))
        (layout::said(outcome))
        @if let Some(key) = key { p.notice { code { (key.reveal()) } } }
        div.stack {
            section.card {
                @if keys.is_empty() { (layout::empty("No key yet", "Make the first one below.")) }
                ul.plain.rows { @for key in &keys { (line(&form, key, &zone)) } }
            }
            (layout::card("", "Make a key", &html! { "it is shown once and stored as a hash" }, &form.creation()))
        }
    };
    Ok(layout::page(visitor, if code.is_some() { Place::Customers } else { Place::ApiKeys }, &title, &body))
}

const fn scope_words(scope: ApiKeyScope) -> &'static str {
    match scope {
        ApiKeyScope::UsageWrite => "send usage events",
        ApiKeyScope::ReportsRead => "read usage and reports",
        ApiKeyScope::BillingRead => "read invoices",
        ApiKeyScope::Sql => "ask the warehouse",
        ApiKeyScope::CustomersWrite => "make and change customers",
    }
}

/// What every form of the page has.
struct Frame<'a> {
    target: &'a str,
    csrf: &'a str,
    is_customer: bool,
    now: Timestamp,
}

impl Frame<'_> {
    fn form(&self, action: &str, id: Option<ApiKeyId>, fields: &Markup) -> Markup {
        html! {
            form.form method="post" action=(self.target) {
                input type="hidden" name="csrf" value=(self.csrf);
                input type="hidden" name="action" value=(action);
                @if let Some(id) = id { input type="hidden" name="id" value=(id); }
                (fields)
            }
        }
    }

    fn creation(&self) -> Markup {
        let never = if self.is_customer { ApiKeyScope::CustomersWrite } else { ApiKeyScope::UsageWrite };
        let fields = html! {
            div.field { label for="name" { "What it is for" } input id="name" name="name" required maxlength="100" autocomplete="off"; }
            fieldset.field {
                legend { "What it may do" }
                @for scope in ApiKeyScope::ALL.into_iter().filter(|scope| *scope != never) {
                    label { input type="checkbox" name=(scope) value="yes"; " " code { (scope) } " " span.hint { (scope_words(scope)) } }
                }
            }
            div.field {
                label for="days" { "Days until it ends" }
                input id="days" name="days" inputmode="numeric" pattern="[0-9]{1,4}" autocomplete="off";
                p.hint { "Empty for a key that ends only when somebody ends it." }
            }
            button.primary type="submit" { "Make the key" }
        };
        self.form("create", None, &fields)
    }
}

fn line(form: &Frame<'_>, key: &ApiKey, zone: &TimeZone) -> Markup {
    let state = key.state(form.now);
    let tone = match state {
        "active" => "good",
        "replaced" => "warn",
        _ => "bad",
    };
    let instant = |at| format::instant(at, zone);
    html! {
        li {
            div {
                strong { (key.name) } " " (layout::chip(tone, state)) " " code { (key.prefix) "…" }
                p.hint {
                    @for scope in &key.scopes { (scope) " · " }
                    "made " (instant(key.created_at)) @if let Some(by) = &key.created_by { " by " (by) }
                    @if let Some(at) = key.last_used_at { " · last used " (instant(at)) } @else { " · never used" }
                    @if let Some(at) = key.expires_at { " · ends " (instant(at)) }
                }
            }
            @if matches!(state, "active" | "replaced") { (changes(form, key, state)) }
        }
    }
}

fn changes(form: &Frame<'_>, key: &ApiKey, state: &str) -> Markup {
    let id = |field: &str| format!("{field}-{}", key.id);
    let why = |field: &str| {
        let id = id(field);
        html! { div.field { label for=(id) { "Why" } input id=(id) name="reason" required maxlength="500" autocomplete="off"; } }
    };
    let rotate = html! {
        div.field {
            label for=(id("hours")) { "Hours that both are good" }
            input id=(id("hours")) name="overlap_hours" value="24" inputmode="numeric" pattern="[0-9]{1,3}" autocomplete="off";
        }
        (why("rotate"))
        button type="submit" { "Replace the key" }
    };
    let revoke = html! { (why("revoke")) button type="submit" { "End the key" } };
    html! {
        details.change {
            summary aria-label={ "Change the key " (key.name) } { "Change" }
            div.stack {
                @if state == "active" { (form.form("rotate", Some(key.id), &rotate)) }
                (form.form("revoke", Some(key.id), &revoke))
            }
        }
    }
}
