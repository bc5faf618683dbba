//! `/api/v1/msp/users` and `…/customers/{code}/users`: the logins of an MSP and of a customer.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{FromRequestParts, Path, RawPathParams};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use granary_access::{AccessError, Grant, Invitation, Manager, Person, Place};
use granary_types::{CustomerCode, CustomerId, Role, UserId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{Sent, id_of};
use crate::AppState;
use crate::http::{Problem, Visitor};
use crate::openapi::words;

/// Somebody to be invited.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserIn {
    #[schema(value_type = words::Email)]
    email: String,
    #[schema(value_type = words::Text)]
    name: String,
    #[schema(value_type = words::Role)]
    role: Role,
    /// The customers that an operator or analyst sees, by code; left out for all.
    #[schema(value_type = Option<Vec<words::Code>>)]
    customers: Option<Vec<CustomerCode>>,
    /// Whether somebody of the MSP also sees wholesale and margin.
    #[serde(default)]
    can_read_billing: bool,
}

/// What is to change. A role comes with the customers that go with it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct UserChangeIn {
    /// Why.
    #[schema(value_type = words::Text)]
    reason: String,
    #[schema(value_type = Option<words::Role>)]
    role: Option<Role>,
    #[schema(value_type = Option<Vec<words::Code>>)]
    customers: Option<Vec<CustomerCode>>,
    can_read_billing: Option<bool>,
    /// Stops the login, or lets it in again.
    is_disabled: Option<bool>,
    /// Takes the second factor away, for whoever lost it.
    #[serde(default)]
    reset_second_factor: bool,
}

/// A login.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UserOut {
    #[schema(value_type = Uuid)]
    id: UserId,
    #[schema(value_type = words::Email)]
    email: String,
    name: String,
    #[schema(value_type = words::Role)]
    role: Role,
    #[schema(value_type = words::LoginState)]
    state: &'static str,
    /// The customers that it is confined to; null for all that the role sees.
    #[schema(value_type = Option<Vec<words::Code>>)]
    customers: Option<Vec<CustomerCode>>,
    can_read_billing: bool,
    has_second_factor: bool,
    created_at: Timestamp,
    /// When a page was last asked for, to the minute.
    last_used_at: Option<Timestamp>,
}

/// Logins by address.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsersOut {
    users: Vec<UserOut>,
}

/// The place whose logins are managed: the customer that the address names, else where the caller belongs.
#[derive(Debug)]
pub(crate) struct Managed {
    pub(crate) app: AppState,
    pub(crate) visitor: Visitor,
    pub(crate) place: Place,
}

impl FromRequestParts<AppState> for Managed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &AppState) -> Result<Self, Response> {
        let path = RawPathParams::from_request_parts(parts, &()).await.map_err(IntoResponse::into_response)?;
        let code = path.iter().find_map(|(name, code)| (name == "code").then(|| code.to_owned()));
        let visitor = parts.extensions.get::<Visitor>().cloned();
        let visitor = visitor.ok_or_else(|| Problem::from(AccessError::Unauthenticated).into_response())?;
        Self::of(app, visitor, code.as_deref()).await.map_err(IntoResponse::into_response)
    }
}

impl Managed {
    async fn of(app: &AppState, visitor: Visitor, code: Option<&str>) -> Result<Self, Problem> {
        let customer = match code {
            Some(code) => Some(visitor.scope(app, code).await?.customer.id),
            None => visitor.principal.only_customer(),
        };
        let place = Place { msp: Some(visitor.msp()?.id), customer };
        Ok(Self { app: app.clone(), visitor, place })
    }

    pub(crate) fn manager(&self) -> Manager<'_> {
        Manager::Principal(&self.visitor.principal)
    }

    /// The codes of the MSP's customers that the caller sees, by id.
    pub(crate) async fn codes(&self) -> Result<BTreeMap<CustomerId, CustomerCode>, Problem> {
        let customers = self.app.tenants.list_customers(self.visitor.msp()?.id).await?;
        let seen = customers.into_iter().filter(|customer| self.visitor.principal.sees(customer.id));
        Ok(seen.map(|customer| (customer.id, customer.code)).collect())
    }

    /// Returns the customers of a list of codes; one that the caller does not see is not there.
    pub(crate) async fn granted(&self, codes: Option<Vec<CustomerCode>>) -> Result<Option<Vec<CustomerId>>, Problem> {
        let Some(codes) = codes else { return Ok(None) };
        let known = self.codes().await?;
        let id_of = |code: CustomerCode| {
            let id = known.iter().find_map(|(id, known)| (*known == code).then_some(*id));
            id.ok_or_else(|| Problem::from(AccessError::UnknownCustomer(code.to_string())))
        };
        codes.into_iter().map(id_of).collect::<Result<_, _>>().map(Some)
    }

    async fn shown(&self, person: Person) -> Result<UserOut, Problem> {
        Ok(out(person, &self.codes().await?))
    }
}

/// Says in one word where a login stands.
pub(crate) const fn state_of(person: &Person) -> &'static str {
    match (person.is_disabled, person.is_invited) {
        (true, _) => "disabled",
        (false, true) => "invited",
        (false, false) => "active",
    }
}

fn out(person: Person, codes: &BTreeMap<CustomerId, CustomerCode>) -> UserOut {
    let state = state_of(&person);
    let Person { id, email, name, role, granted, can_read_billing, has_second_factor, created_at, last_used_at, .. } = person;
    let customers = granted.map(|granted| granted.iter().filter_map(|customer| codes.get(customer).cloned()).collect());
    UserOut { id, email, name, role, state, customers, can_read_billing, has_second_factor, created_at, last_used_at }
}

/// Lists logins.
pub(crate) async fn list(managed: Managed) -> Result<Json<UsersOut>, Problem> {
    let people = managed.app.access.list_people(managed.place).await?;
    let codes = managed.codes().await?;
    Ok(Json(UsersOut { users: people.into_iter().map(|person| out(person, &codes)).collect() }))
}

/// Invites somebody by letter; who has not answered yet is written to again.
pub(crate) async fn invite(managed: Managed, sent: Sent) -> Result<Response, Problem> {
    let UserIn { email, name, role, customers, can_read_billing } = sent.read_listing("customers")?;
    let grant = Grant { role, granted: managed.granted(customers).await?, can_read_billing };
    let Place { msp, customer } = managed.place;
    let invitation = Invitation { email, name, msp_id: msp, customer_id: customer, grant };
    let person = managed.app.access.invite(managed.manager(), &invitation).await?;
    Ok((StatusCode::CREATED, Json(managed.shown(person).await?)).into_response())
}

/// Changes a login.
pub(crate) async fn change(managed: Managed, Path(path): Path<Vec<(String, String)>>, sent: Sent) -> Result<Json<UserOut>, Problem> {
    let UserChangeIn { reason, role, customers, can_read_billing, is_disabled, reset_second_factor } = sent.read_listing("customers")?;
    let id: UserId = id_of(path.last().map_or("", |(_, id)| id), "such user")?;
    let (access, at) = (&managed.app.access, managed.place);
    if role.is_none() && is_disabled.is_none() && !reset_second_factor {
        return Err(Problem::invalid("nothing is to change: 'role', 'is_disabled' or 'reset_second_factor' is missing"));
    }
    let mut person = None;
    if let Some(role) = role {
        let grant = Grant { role, granted: managed.granted(customers).await?, can_read_billing: can_read_billing.unwrap_or_default() };
        person = Some(access.set_role(managed.manager(), at, id, &grant).await?);
    }
    if reset_second_factor {
        person = Some(access.reset_factor(managed.manager(), at, id, &reason).await?);
    }
    match is_disabled {
        Some(true) => person = Some(access.disable_user(managed.manager(), at, id, &reason).await?),
        Some(false) => person = Some(access.enable_user(managed.manager(), at, id).await?),
        None => {}
    }
    let person = person.ok_or_else(|| Problem::not_found("such user"))?;
    Ok(Json(managed.shown(person).await?))
}
