//! `…/customers/{code}/contacts`: people at a customer.

use axum::Json;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{Contact, ContactKind, NewContact};
use granary_types::ContactId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::exchange::{At, EndIn, Once, id_of};
use crate::http::Problem;
use crate::openapi::words;

/// Somebody to be added.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContactIn {
    #[schema(value_type = words::ContactKind)]
    kind: ContactKind,
    #[schema(value_type = words::Text)]
    name: String,
    #[schema(value_type = words::Email)]
    email: String,
    #[schema(value_type = Option<words::Text>)]
    phone: Option<String>,
}

/// Somebody at a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContactOut {
    #[schema(value_type = Uuid)]
    id: ContactId,
    #[schema(value_type = words::ContactKind)]
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
pub(crate) async fn list(at: At) -> Result<Json<ContactsOut>, Problem> {
    let contacts = at.app.tenants.list_contacts(&at.tx, &at.customer).await?;
    at.show(ContactsOut { contacts: contacts.into_iter().map(ContactOut::from).collect() }).await
}

/// Adds a contact.
pub(crate) async fn add(Once { at, wanted: ContactIn { kind, name, email, phone }, sent }: Once<ContactIn>) -> Result<Response, Problem> {
    let contact = at.app.tenants.add_contact(&at.tx, &at.customer, &NewContact { kind, name, email, phone }).await?;
    sent.done(at, StatusCode::CREATED, &ContactOut::from(contact)).await
}

/// Removes a contact for good.
pub(crate) async fn remove(
    Path((_, id)): Path<(String, String)>,
    Once { at, wanted: EndIn { reason }, sent }: Once<EndIn>,
) -> Result<Response, Problem> {
    let id: ContactId = id_of(&id, "such contact")?;
    at.app.tenants.remove_contact(&at.tx, &at.customer, id, &reason).await?;
    sent.done(at, StatusCode::OK, &json!({"removed": id})).await
}
