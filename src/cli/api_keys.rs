//! Keys for programs.

use std::process::ExitCode;

use granary_access::{ApiKeyScope, Manager, NewApiKey, Place};
use granary_types::CustomerCode;
use jiff::SignedDuration;
use serde_json::json;

use super::Failure;
use super::arguments::{ApiKey, Global};
use super::doors;
use super::house::{ACTOR, House, Rooms};
use super::output::{Rows, print_json};

const COMMAND: Manager<'static> = Manager::Command(ACTOR);
const COLUMNS: [&str; 11] = [
    "id",
    "name",
    "prefix",
    "scopes",
    "state",
    "requests_per_minute",
    "created_at",
    "created_by",
    "expires_at",
    "last_used_at",
    "replaced_by",
];

pub(crate) async fn run(global: &Global, command: ApiKey) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            ApiKey::Add { customer, msp, scope, name, expires, per_minute } => {
                let (msp_id, customer_id) = owner(house, msp, customer.as_ref()).await?;
                let scopes = scope.iter().map(|scope| scope.parse()).collect::<Result<Vec<_>, _>>()?;
                let new = NewApiKey {
                    msp_id,
                    customer_id,
                    control_plane_id: None,
                    name,
                    scopes,
                    expires_at: expires,
                    requests_per_minute: per_minute,
                };
                let asks = new.scopes.contains(&ApiKeyScope::Sql);
                let (key, secret) = house.access.create_api_key(COMMAND, &new).await?;
                let mut shown = json!({"id": key.id, "customer": customer, "key": secret.reveal(), "note": "shown once; keep it safe"});
                if asks {
                    let database = house.tenants.get_msp(msp_id).await?.code.to_lowercase();
                    shown["psql"] = json!(doors::psql(house, &key.prefix, &database));
                    shown["user"] = json!(key.prefix);
                    shown["database"] = json!(database);
                }
                print_json(&shown)?;
            }
            ApiKey::List { customer, msp, format } => {
                let keys = house.access.list_api_keys(place(house, msp, customer.as_ref()).await?).await?;
                let now = house.access.instant();
                let shown: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
                        json!({
                            "id": key.id, "name": key.name, "prefix": key.prefix, "scopes": scopes.join(" "), "state": key.state(now),
                            "requests_per_minute": key.requests_per_minute, "created_at": key.created_at, "created_by": key.created_by,
                            "expires_at": key.expires_at, "last_used_at": key.last_used_at, "replaced_by": key.replaced_by,
                        })
                    })
                    .collect();
                Rows::of(&COLUMNS, &shown).print(format)?;
            }
            ApiKey::Rotate { id, customer, msp, overlap_hours, reason } => {
                let at = place(house, msp, customer.as_ref()).await?;
                let overlap = SignedDuration::from_hours(overlap_hours);
                let (key, secret) = house.access.rotate_api_key(COMMAND, at, id, overlap, &reason).await?;
                print_json(&json!({"id": key.id, "replaces": id, "key": secret.reveal(), "note": "shown once; keep it safe"}))?;
            }
            ApiKey::Revoke { id, customer, msp, reason } => {
                let at = place(house, msp, customer.as_ref()).await?;
                let key = house.access.revoke_api_key(COMMAND, at, id, &reason).await?;
                print_json(&json!({"id": key.id, "name": key.name, "revoked_at": key.revoked_at}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

async fn owner(
    house: &Rooms,
    msp: Option<String>,
    customer: Option<&CustomerCode>,
) -> Result<(granary_types::MspId, Option<granary_types::CustomerId>), Failure> {
    Ok(match customer {
        Some(code) => house.customer(msp.as_deref(), code).await.map(|(msp, customer)| (msp.id, Some(customer.id)))?,
        None => (house.msp(msp.as_deref()).await?.id, None),
    })
}

async fn place(house: &Rooms, msp: Option<String>, customer: Option<&CustomerCode>) -> Result<Place, Failure> {
    let (msp, customer) = owner(house, msp, customer).await?;
    Ok(Place { msp: Some(msp), customer })
}
