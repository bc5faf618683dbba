//! `/people` and `/customers/{code}/people`: who has a login, and what it may do.

use axum::extract::Form;
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use granary_access::{AccessError, Grant, Invitation, Opening, Permission, Person, Place as At, Requirement};
use granary_types::{Classify, CustomerCode, ErrorKind, Role, UserId};
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use crate::api::people::{Managed, state_of};
use crate::format;
use crate::http::Problem;
use crate::layout::{self, Place, role_words};

/// What the page's forms send: one field says what is wanted, the others what that needs.
#[derive(Debug, Deserialize)]
pub(crate) struct PeopleIn {
    csrf: String,
    action: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
    /// Codes with commas between them; none for all.
    #[serde(default)]
    customers: String,
    #[serde(default)]
    reason: String,
}

/// The list with its forms.
pub(crate) async fn show(managed: Managed) -> Result<Html<String>, Problem> {
    page(&managed, None).await
}

/// Does what a form wants, and shows the list again.
pub(crate) async fn act(managed: Managed, Form(input): Form<PeopleIn>) -> Result<Response, Problem> {
    managed.visitor.check_csrf(&input.csrf)?;
    match wanted(&managed, &input).await {
        Ok(words) => Ok(page(&managed, Some(Ok(&words))).await?.into_response()),
        Err(error) if matches!(error.kind(), ErrorKind::Internal | ErrorKind::Unavailable) => Err(error.into()),
        Err(error) => {
            let page = page(&managed, Some(Err(&error.to_string()))).await?;
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
        }
    }
}

async fn wanted(managed: &Managed, input: &PeopleIn) -> Result<String, AccessError> {
    let (access, manager, at) = (&managed.app.access, managed.manager(), managed.place);
    let id = || input.id.parse::<UserId>().map_err(|_| AccessError::UnknownUser(String::new()));
    Ok(match input.action.as_str() {
        "invite" => {
            let At { msp, customer } = at;
            let (email, name, grant) = (input.email.clone(), input.name.clone(), grant(managed, input).await?);
            let person = access.invite(manager, &Invitation { email, name, msp_id: msp, customer_id: customer, grant }).await?;
            format!("A letter to {} is on its way.", person.email)
        }
        "again" => format!(
            "Another letter to {} is on its way; the link of the one before is void.",
            access.invite_again(manager, at, id()?).await?.email
        ),
        "role" => {
            let person = access.set_role(manager, at, id()?, &grant(managed, input).await?).await?;
            format!("{} is now: {}.", person.name, role_words(person.role))
        }
        "disable" => format!("{} is stopped.", access.disable_user(manager, at, id()?, &input.reason).await?.name),
        "factor" => format!(
            "The second factor of {} is removed; its sessions have ended.",
            access.reset_factor(manager, at, id()?, &input.reason).await?.name
        ),
        "require" | "waive" => {
            let requires = if input.action == "require" { Requirement::Required } else { Requirement::Optional };
            let msp = at.msp.filter(|_| at.customer.is_none()).ok_or(AccessError::InvalidUser("this is decided for the whole MSP"))?;
            access.require_factor(&managed.visitor.principal, msp, requires).await?;
            if requires == Requirement::Required {
                "Every login now needs a second factor.".to_owned()
            } else {
                "A second factor is everybody's own choice again.".to_owned()
            }
        }
        "enable" => format!("{} may come in again.", access.enable_user(manager, at, id()?).await?.name),
        _ => return Err(AccessError::InvalidUser("this form is not known here")),
    })
}

async fn grant(managed: &Managed, input: &PeopleIn) -> Result<Grant, AccessError> {
    let role: Role = input.role.parse().map_err(|_| AccessError::InvalidUser("this role is not known here"))?;
    let codes = input.customers.split(',').map(str::trim).filter(|code| !code.is_empty());
    let unknown = |code: &str| AccessError::UnknownCustomer(code.chars().take(50).collect());
    let codes = codes.map(|code| code.parse::<CustomerCode>().map_err(|_| unknown(code))).collect::<Result<Vec<_>, _>>()?;
    let known = managed.codes().await.map_err(|_| unknown(""))?;
    let id_of =
        |code: &CustomerCode| known.iter().find_map(|(id, known)| (known == code).then_some(*id)).ok_or_else(|| unknown(code.as_str()));
    let granted = codes.iter().map(id_of).collect::<Result<Vec<_>, _>>()?;
    let is_confinable = matches!(role, Role::MspOperator | Role::MspAnalyst);
    if !is_confinable && !granted.is_empty() {
        return Err(AccessError::RoleNeeds(role, "no list of customers: only operations and analysts are confined to some"));
    }
    Ok(Grant { role, granted: (!granted.is_empty()).then_some(granted), can_read_billing: false })
}

async fn page(managed: &Managed, outcome: Option<Result<&str, &str>>) -> Result<Html<String>, Problem> {
    let people = managed.app.access.list_people(managed.place).await?;
    let codes = managed.codes().await?;
    let visitor = &managed.visitor;
    let code = managed.place.customer.and_then(|customer| codes.get(&customer));
    let (title, note) = match code {
        Some(code) => (format!("People of {code}"), "logins of the customer's own people"),
        None => ("People".to_owned(), "logins of your own people; a customer's people stand on its own page"),
    };
    let target = code.map_or_else(|| "/people".to_owned(), |code| format!("/customers/{code}/people"));
    let customer = code.map(|code| (format!("/customers/{code}"), code.to_string()));
    let crumbs: Vec<(&str, &str)> = customer.iter().map(|(href, code)| (href.as_str(), code.as_str())).collect();
    let zone = visitor.msp()?.time_zone.clone();
    let form = Frame { target: &target, csrf: visitor.csrf_token(), is_customer: code.is_some() };
    let requirement = match managed.place {
        At { msp: Some(msp), customer: None } => Some(managed.app.access.requires_factor(msp).await?),
        _ => None,
    };
    let openings = match managed.place.customer.filter(|_| visitor.may(Permission::AccessRead)) {
        Some(customer) => Some(managed.app.access.list_openings(customer).await?),
        None => None,
    };
    let confined = |person: &Person| {
        let codes = person.granted.iter().flatten().filter_map(|customer| codes.get(customer));
        codes.map(CustomerCode::as_str).collect::<Vec<_>>().join(", ")
    };
    let body = html! {
        (layout::head(&crumbs, &title, &html! { (note) }, &html! {
            @if visitor.may(Permission::SsoWrite) { a.button href=(target.replace("/people", "/sso")) { "Single sign-on" } }
        }))
        (layout::said(outcome))
        div.stack {
            section.card {
                @if people.is_empty() { (layout::empty("Nobody yet", "Invite the first one below.")) }
                ul.plain.rows {
                    @for person in &people { (line(&form, person, &confined(person), visitor.principal.user() == Some(person.id), &zone)) }
                }
            }
            (layout::card("", "Invite somebody", &html! { "a letter leads to the choice of a password, for seven days" }, &form.invitation()))
            @if let Some(openings) = &openings { (opened_by(openings, &zone)) }
            @if let Some(is_required) = requirement { (form.requirement(is_required)) }
        }
    };
    Ok(layout::page(visitor, if code.is_some() { Place::Customers } else { Place::People }, &title, &body))
}

/// Who of the MSP and the operator opened the customer's data.
fn opened_by(openings: &[Opening], zone: &TimeZone) -> Markup {
    let body = html! {
        @if openings.is_empty() { (layout::empty("Nobody so far", "Whoever of your provider opens your data is written down here.")) }
        ul.plain.rows {
            @for opening in openings {
                li {
                    span { (opening.who.as_deref().unwrap_or("A login that is gone")) " · " (opening.role.map_or("a program", role_words)) @if let Some(reason) = &opening.reason { ": " (reason) } }
                    span.hint { (format::instant(opening.opened_at, zone)) }
                }
            }
        }
    };
    layout::card("", "Who opened this customer's data", &html! { "people, programs and commands of the provider, once an hour" }, &body)
}

/// What every form of the page has.
struct Frame<'a> {
    target: &'a str,
    csrf: &'a str,
    is_customer: bool,
}

impl Frame<'_> {
    fn form(&self, action: &str, id: Option<UserId>, fields: &Markup) -> Markup {
        html! {
            form.form method="post" action=(self.target) {
                input type="hidden" name="csrf" value=(self.csrf);
                input type="hidden" name="action" value=(action);
                @if let Some(id) = id { input type="hidden" name="id" value=(id); }
                (fields)
            }
        }
    }

    fn roles(&self, id: &str, chosen: Option<Role>) -> Markup {
        let roles = Role::ALL.iter().copied().filter(|role| role.is_customer() == self.is_customer && *role != Role::OperatorAdmin);
        html! {
            div.field {
                label for=(id) { "Role" }
                select id=(id) name="role" { @for role in roles { option value=(role) selected[chosen == Some(role)] { (role_words(role)) } } }
            }
        }
    }

    fn customers(&self, id: &str, confined: &str) -> Markup {
        html! {
            @if !self.is_customer {
                div.field {
                    label for=(id) { "Only these customers" }
                    input id=(id) name="customers" value=(confined) placeholder="ACME, GLOBEX" autocomplete="off";
                    p.hint { "For operations and analysts; empty for all." }
                }
            }
        }
    }

    fn requirement(&self, is_required: bool) -> Markup {
        let (action, words, state) = if is_required {
            ("waive", "Leave it to everybody", "every login of yours and of your customers needs one")
        } else {
            ("require", "Ask everybody for one", "everybody's own choice")
        };
        let fields = html! { button type="submit" { (words) } };
        layout::card("", "Second factor", &html! { (state) }, &self.form(action, None, &fields))
    }

    fn invitation(&self) -> Markup {
        let fields = html! {
            div.field { label for="name" { "Name" } input id="name" name="name" required maxlength="100" autocomplete="off"; }
            div.field { label for="email" { "E-mail" } input id="email" name="email" type="email" required maxlength="254" autocomplete="off"; }
            (self.roles("role", None))
            (self.customers("customers", ""))
            button.primary type="submit" { "Invite" }
        };
        self.form("invite", None, &fields)
    }
}

fn line(form: &Frame<'_>, person: &Person, confined: &str, is_self: bool, zone: &TimeZone) -> Markup {
    let tone = match state_of(person) {
        "active" => "good",
        "invited" => "warn",
        _ => "bad",
    };
    html! {
        li {
            div {
                strong { (person.name) } " " (layout::chip(tone, state_of(person))) @if is_self { " " (layout::chip("plain", "you")) }
                p.hint {
                    (person.email) " · " (role_words(person.role))
                    @if !confined.is_empty() { " · only " (confined) }
                    @if person.has_second_factor { " · with a second factor" }
                    @if let Some(at) = person.last_used_at { " · last here " (format::instant(at, zone)) }
                }
            }
            @if !is_self { (changes(form, person, confined)) }
        }
    }
}

fn changes(form: &Frame<'_>, person: &Person, confined: &str) -> Markup {
    let id = |field: &str| format!("{field}-{}", person.id);
    let role = html! {
        (form.roles(&id("role"), Some(person.role)))
        (form.customers(&id("customers"), confined))
        button type="submit" { "Change the role" }
    };
    let stop = html! {
        div.field { label for=(id("reason")) { "Why" } input id=(id("reason")) name="reason" required maxlength="500" autocomplete="off"; }
        button type="submit" { "Stop this login" }
    };
    let reset = html! {
        div.field { label for=(id("reset")) { "Why" } input id=(id("reset")) name="reason" required maxlength="500" autocomplete="off"; }
        button type="submit" { "Remove the second factor" }
    };
    html! {
        details.change {
            summary aria-label={ "Change the login of " (person.name) } { "Change" }
            div.stack {
                @if person.is_disabled {
                    (form.form("enable", Some(person.id), &html! { button type="submit" { "Let in again" } }))
                } @else {
                    @if person.is_invited { (form.form("again", Some(person.id), &html! { button type="submit" { "Send the letter again" } })) }
                    (form.form("role", Some(person.id), &role))
                    (form.form("disable", Some(person.id), &stop))
                    @if person.has_second_factor { (form.form("factor", Some(person.id), &reset)) }
                }
            }
        }
    }
}
