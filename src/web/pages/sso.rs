//! `/sso` and `/customers/{code}/sso`: the identity provider through which people come in.

use std::collections::BTreeMap;

use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::{AccessError, IdentityProvider, SsoReport, SsoSettings};
use granary_foundation::Secret;
use granary_types::{Classify, CustomerCode, ErrorKind, Role};
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::people::Managed;
use crate::format;
use crate::http::Problem;
use crate::layout::{self, Place, role_words};

/// What the page's forms send: one field says what is wanted, the others what that needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SsoIn {
    csrf: String,
    action: String,
    issuer: String,
    client_id: String,
    client_secret: Option<Secret>,
    groups_claim: String,
    /// A line for each group: its name, `=`, its role.
    groups: String,
    /// With commas or spaces between them.
    domains: String,
    trusts_email: Option<String>,
    is_on: Option<String>,
    is_forced: Option<String>,
    reason: String,
}

/// What came of a form: words, and what a trial found.
#[derive(Default)]
struct Outcome {
    words: String,
    report: Option<SsoReport>,
}

/// The provider with its forms.
pub(crate) async fn show(managed: Managed) -> Result<Html<String>, Problem> {
    page(&managed, None, None, None).await
}

/// Does what a form wants, and shows the provider again.
pub(crate) async fn act(managed: Managed, Form(input): Form<SsoIn>) -> Result<Response, Problem> {
    managed.visitor.check_csrf(&input.csrf)?;
    match wanted(&managed, &input).await {
        Ok(Outcome { words, report }) => Ok(page(&managed, Some(Ok(&words)), report.as_ref(), None).await?.into_response()),
        Err(error) if error.kind() == ErrorKind::Internal => Err(error.into()),
        Err(error) => {
            // What was typed is not lost, but for the secret.
            let page = page(&managed, Some(Err(&error.to_string())), None, (input.action == "set").then_some(&input)).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn wanted(managed: &Managed, input: &SsoIn) -> Result<Outcome, AccessError> {
    let (access, manager, at) = (&managed.app.access, managed.manager(), managed.place);
    let said = |words: &str| Outcome { words: words.to_owned(), report: None };
    Ok(match input.action.as_str() {
        "set" => {
            access.set_sso(manager, at, &settings(input)?).await?;
            said("It is set up. Try it out, and then in a private window before passwords are refused.")
        }
        "test" => {
            let report = access.test_sso(at).await?;
            Outcome { words: "The provider answers as it should.".to_owned(), report: Some(report) }
        }
        "remove" => {
            access.remove_sso(manager, at, &input.reason).await?;
            said("It is removed. Sessions that it opened have ended; people come in by password, which a letter lets them choose.")
        }
        _ => return Err(AccessError::InvalidUser("this form is not known here")),
    })
}

fn settings(input: &SsoIn) -> Result<SsoSettings, AccessError> {
    let words = input.domains.split([',', ' ', '\n', '\r']).map(str::trim).filter(|word| !word.is_empty());
    Ok(SsoSettings {
        issuer: input.issuer.clone(),
        client_id: input.client_id.clone(),
        client_secret: input.client_secret.clone().filter(|secret| !secret.reveal().is_empty()),
        groups_claim: input.groups_claim.clone(),
        groups: groups(&input.groups)?,
        domains: words.map(str::to_owned).collect(),
        trusts_email: input.trusts_email.is_some(),
        is_on: input.is_on.is_some(),
        is_forced: input.is_forced.is_some(),
    })
}

fn groups(text: &str) -> Result<BTreeMap<String, Role>, AccessError> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let group = |line: &str| {
        // A group's name may have a '=' of its own.
        let (name, role) = line.rsplit_once('=')?;
        Some((name.trim().to_owned(), role.trim().parse().ok()?))
    };
    let odd = |line: &str| AccessError::InvalidSso(format!("'{}' is not a group and its role, such as Desk = msp_operator", short(line)));
    lines.map(|line| group(line).ok_or_else(|| odd(line))).collect()
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

async fn page(
    managed: &Managed,
    outcome: Option<Result<&str, &str>>,
    report: Option<&SsoReport>,
    typed: Option<&SsoIn>,
) -> Result<Html<String>, Problem> {
    let provider = managed.app.access.sso(managed.place).await?;
    let redirect_uri = managed.app.access.sso_redirect_at(managed.place)?;
    let codes = managed.codes().await?;
    let visitor = &managed.visitor;
    let code: Option<&CustomerCode> = managed.place.customer.and_then(|customer| codes.get(&customer));
    let (title, people) = match code {
        Some(code) => (format!("Single sign-on of {code}"), format!("/customers/{code}/people")),
        None => ("Single sign-on".to_owned(), "/people".to_owned()),
    };
    let target = code.map_or_else(|| "/sso".to_owned(), |code| format!("/customers/{code}/sso"));
    let zone = visitor.msp()?.time_zone.clone();
    let form = Frame { target: &target, csrf: visitor.csrf_token(), is_customer: code.is_some() };
    let fields = Fields::of(provider.as_ref(), typed);
    let body = html! {
        (layout::head(&[(people.as_str(), "People")], &title, &html! { "people come in through their own organisation's login (OpenID Connect)" }, &html! {}))
        (layout::said(outcome))
        div.stack {
            @if let Some(report) = report { (tried(report)) }
            @if let Some(provider) = &provider { (standing(provider, &format::instant(provider.updated_at, &zone))) }
            (layout::card("", "At the provider", &html! { "a web application with a client secret, code flow" }, &html! {
                p { "The address to come back to (redirect URI): " code.address { (redirect_uri) } }
            }))
            (layout::card("", "Here", &html! { "what the provider said about the application, and who gets which role" }, &form.settings(&fields)))
            @if provider.is_some() {
                (layout::card("", "Try it", &html! { "asks the provider what it says of itself" }, &form.form("test", &html! { button type="submit" { "Ask the provider" } })))
                (layout::card("", "Remove it", &html! { "sessions that it opened end" }, &form.removal()))
            }
        }
    };
    Ok(layout::page(visitor, if code.is_some() { Place::Customers } else { Place::People }, &title, &body))
}

fn standing(provider: &IdentityProvider, changed: &str) -> Markup {
    let state = if provider.is_on { layout::chip("good", "on") } else { layout::chip("warn", "off") };
    html! {
        section.card {
            p {
                strong { (provider.issuer) } " " (state)
                @if provider.is_forced { " " (layout::chip("plain", "passwords are refused")) }
            }
            p.hint {
                "changed " (changed)
                @if let Some(email) = &provider.break_glass_email { " · " (email) " may come in by password all the same; that is written down each time" }
            }
        }
    }
}

fn tried(report: &SsoReport) -> Markup {
    let keys = report.keys.to_string();
    let facts = [
        ("Issuer", &report.issuer),
        ("People are sent to", &report.authorization_endpoint),
        ("Codes are sent to", &report.token_endpoint),
        ("Keys for RS256 or ES256", &keys),
    ];
    let body = html! {
        ul.plain.rows { @for (what, value) in facts { li { span { (what) } code { (value) } } } }
        @for remark in &report.remarks { p.alert { (layout::sentence(remark)) } }
    };
    layout::card("", "What it says", &html! { "just now" }, &body)
}

/// What the form's fields hold: what was typed, else what is set up.
struct Fields {
    issuer: String,
    client_id: String,
    has_secret: bool,
    groups_claim: String,
    groups: String,
    domains: String,
    trusts_email: bool,
    is_on: bool,
    is_forced: bool,
}

impl Fields {
    fn of(provider: Option<&IdentityProvider>, typed: Option<&SsoIn>) -> Self {
        let has_secret = provider.is_some();
        if let Some(typed) = typed {
            return Self {
                issuer: typed.issuer.clone(),
                client_id: typed.client_id.clone(),
                has_secret,
                groups_claim: typed.groups_claim.clone(),
                groups: typed.groups.clone(),
                domains: typed.domains.clone(),
                trusts_email: typed.trusts_email.is_some(),
                is_on: typed.is_on.is_some(),
                is_forced: typed.is_forced.is_some(),
            };
        }
        let lines = provider.iter().flat_map(|provider| &provider.groups).map(|(name, role)| format!("{name} = {role}\n"));
        Self {
            issuer: provider.map(|provider| provider.issuer.clone()).unwrap_or_default(),
            client_id: provider.map(|provider| provider.client_id.clone()).unwrap_or_default(),
            has_secret,
            groups_claim: provider.map_or_else(|| "groups".to_owned(), |provider| provider.groups_claim.clone()),
            groups: lines.collect(),
            domains: provider.map(|provider| provider.domains.join(", ")).unwrap_or_default(),
            trusts_email: provider.is_some_and(|provider| provider.trusts_email),
            is_on: provider.is_some_and(|provider| provider.is_on),
            is_forced: provider.is_some_and(|provider| provider.is_forced),
        }
    }
}

/// What every form of the page has.
struct Frame<'a> {
    target: &'a str,
    csrf: &'a str,
    is_customer: bool,
}

impl Frame<'_> {
    fn form(&self, action: &str, fields: &Markup) -> Markup {
        html! {
            form.form method="post" action=(self.target) {
                input type="hidden" name="csrf" value=(self.csrf);
                input type="hidden" name="action" value=(action);
                (fields)
            }
        }
    }

    fn settings(&self, fields: &Fields) -> Markup {
        let secret_hint = if fields.has_secret {
            "Empty keeps the one that is there; another issuer needs a new one."
        } else {
            "It is sealed, and never shown again."
        };
        let fields = html! {
            (text("issuer", "Issuer", &fields.issuer, "https://login.example.com/tenant", "Exactly as the provider calls itself."))
            (text("client_id", "Client id", &fields.client_id, "", ""))
            div.field {
                label for="client_secret" { "Client secret" }
                input id="client_secret" name="client_secret" type="password" maxlength="2000" autocomplete="off" required[!fields.has_secret];
                p.hint { (secret_hint) }
            }
            (text("groups_claim", "Claim with the groups", &fields.groups_claim, "groups", "As groups, roles or hd; /a/b for one that lies in another."))
            div.field {
                label for="groups" { "Groups and roles" }
                textarea id="groups" name="groups" rows="4" placeholder="Backup desk = msp_operator" aria-describedby="roles" { (fields.groups) }
                p.hint id="roles" { "A line for each. Roles: " (self.roles()) "." }
            }
            (text("domains", "Domains", &fields.domains, "example.com", "Whose addresses the provider speaks for; somebody here must have one of each."))
            fieldset.field {
                legend { "How it is used" }
                (tick("is_on", fields.is_on, "On", "people are led to it"))
                (tick("trusts_email", fields.trusts_email, "Believe its addresses", "for a provider that does not say whether they are verified, such as Entra"))
                (tick("is_forced", fields.is_forced, "Refuse passwords", if self.is_customer { "of all people of this customer" } else { "of all your own people but yours" }))
            }
            button.primary type="submit" { "Set it up" }
        };
        self.form("set", &fields)
    }

    fn roles(&self) -> Markup {
        let roles = Role::ALL.iter().copied().filter(|role| role.is_customer() == self.is_customer && *role != Role::OperatorAdmin);
        html! { @for (index, role) in roles.enumerate() { @if index > 0 { ", " } code { (role) } " (" (role_words(role)) ")" } }
    }

    fn removal(&self) -> Markup {
        let fields = html! {
            div.field { label for="reason" { "Why" } input id="reason" name="reason" required maxlength="500" autocomplete="off"; }
            button type="submit" { "Remove the provider" }
        };
        self.form("remove", &fields)
    }
}

fn text(name: &str, label: &str, value: &str, placeholder: &str, hint: &str) -> Markup {
    html! {
        div.field {
            label for=(name) { (label) }
            input id=(name) name=(name) value=(value) placeholder=(placeholder) maxlength="2000" required autocomplete="off";
            @if !hint.is_empty() { p.hint { (hint) } }
        }
    }
}

fn tick(name: &str, is_ticked: bool, label: &str, hint: &str) -> Markup {
    html! { label { input type="checkbox" name=(name) value="yes" checked[is_ticked]; " " (label) " " span.hint { (hint) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_group_and_its_role() {
        let read = groups("Backup desk = msp_operator\r\n\r\n cn=admins,dc=north = msp_admin ").unwrap();
        assert_eq!(read["Backup desk"], Role::MspOperator);
        assert_eq!(read["cn=admins,dc=north"], Role::MspAdmin);
        assert!(groups("Backup desk").is_err() && groups("Backup desk = king").is_err());
        assert!(groups("").unwrap().is_empty());
    }
}
