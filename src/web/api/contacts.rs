//! `…/customers/{code}/contacts`: people at a customer.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use granary_tenants::{Contact, ContactKind, NewContact};
use granary_types::ContactId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::exchange::{Sent, enter, id_of};
use super::sites::RetireIn;
use crate::AppState;
use crate::http::{Problem, Visitor};

/// Somebody to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactIn {
    /// main, billing or technical
    #[schema(value_type = String)]
    kind: ContactKind,
    name: String,
    email: String,
    phone: Option<String>,
}

/// Somebody at a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContactOut {
    #[schema(value_type = String)]
    id: ContactId,
    #[schema(value_type = String)]
    kind: ContactKind,
    name: String,
    email: String,
    phone: Option<String>,
    created_at: Timestamp,
}

/// The contacts of a customer in the order in which they were added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContactsOut {
    contacts: Vec<ContactOut>,
}

impl From<Contact> for ContactOut {
    fn from(contact: Contact) -> Self {
        let Contact { id, kind, name, email, phone, created_at } = contact;
        Self { id, kind, name, email, phone, created_at }
    }
}

/// Lists a customer's contacts.
pub(crate) async fn list(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
) -> Result<Json<ContactsOut>, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    let contacts = app.tenants.list_contacts(&tx, &customer).await?;
    tx.commit().await?;
    Ok(Json(ContactsOut { contacts: contacts.into_iter().map(ContactOut::from).collect() }))
}

/// Adds a contact.
pub(crate) async fn add(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path(code): Path<String>,
    sent: Sent,
) -> Result<Response, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        return Ok(answer);
    }
    let ContactIn { kind, name, email, phone } = sent.read()?;
    let contact = app.tenants.add_contact(&tx, &customer, &NewContact { kind, name, email, phone }).await?;
    sent.answer(&app, tx, StatusCode::CREATED, &ContactOut::from(contact)).await
}

/// Removes a contact for good.
pub(crate) async fn remove(
    State(app): State<AppState>,
    Extension(visitor): Extension<Visitor>,
    Path((code, id)): Path<(String, String)>,
    sent: Sent,
) -> Result<Response, Problem> {
    let (tx, customer) = enter(&app, &visitor, &code).await?;
    if let Some(answer) = sent.replay(&app, &tx).await? {
        return Ok(answer);
    }
    let RetireIn { reason } = sent.read()?;
    let id: ContactId = id_of(&id, "such contact")?;
    app.tenants.remove_contact(&tx, &customer, id, &reason).await?;
    sent.answer(&app, tx, StatusCode::OK, &json!({"removed": id})).await
}
