//! Keys that machines prove themselves with: control planes' own, and those that sign tokens.

use std::process::ExitCode;

use granary_access::{Manager, Place, Retirement};
use serde_json::json;

use super::Failure;
use super::arguments::{ControlPlaneCommand, Global, TokenKeyCommand};
use super::house::{ACTOR, House};
use super::output::{Rows, print_json};

const COMMAND: Manager<'static> = Manager::Command(ACTOR);

pub(crate) async fn control_plane(global: &Global, command: ControlPlaneCommand) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            ControlPlaneCommand::List { customer, msp, format } => {
                let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
                let keys = house.access.list_plane_keys(Place { msp: Some(msp.id), customer: Some(customer.id) }).await?;
                let planes = house.tenants.control_planes(customer.id).await?;
                let shown: Vec<_> = planes
                    .iter()
                    .map(|plane| {
                        let key = keys.iter().find(|key| key.control_plane_id == plane.id && key.revoked_at.is_none());
                        json!({
                            "id": plane.id, "name": plane.name, "source": plane.source, "retired_at": plane.retired_at,
                            "key_id": key.map(|key| key.id), "enrolled_at": key.map(|key| key.enrolled_at),
                            "last_used_at": key.and_then(|key| key.last_used_at),
                        })
                    })
                    .collect();
                Rows::of(&["id", "name", "source", "retired_at", "key_id", "enrolled_at", "last_used_at"], &shown).print(format)?;
            }
            ControlPlaneCommand::Enrol { id, customer, msp, reason } => {
                let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
                let at = Place { msp: Some(msp.id), customer: Some(customer.id) };
                let made = house.access.create_enrolment(COMMAND, at, id, &reason).await?;
                print_json(&json!({
                    "code": made.code.reveal(), "expires_at": made.expires_at,
                    "note": "shown once; the control plane sends it to POST /api/v1/enrolments with its public key",
                }))?;
            }
            ControlPlaneCommand::Revoke { id, customer, msp, reason } => {
                let (msp, customer) = house.customer(msp.as_deref(), &customer).await?;
                house.access.revoke_plane(COMMAND, Place { msp: Some(msp.id), customer: Some(customer.id) }, id, &reason).await?;
                print_json(&json!({"revoked": id}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}

pub(crate) async fn token_key(global: &Global, command: TokenKeyCommand) -> Result<ExitCode, Failure> {
    House::with(global, async |house| {
        match command {
            TokenKeyCommand::List { format } => {
                let keys = house.access.token_keys().await?;
                let shown: Vec<_> = keys
                    .iter()
                    .map(|key| json!({"kid": key.id, "x": key.x(), "created_at": key.created_at, "retired_at": key.retired_at}))
                    .collect();
                Rows::of(&["kid", "x", "created_at", "retired_at"], &shown).print(format)?;
            }
            TokenKeyCommand::Rotate { at_once, reason } => {
                let others = if at_once { Retirement::AtOnce } else { Retirement::AfterAnHour };
                let key = house.access.rotate_token_key(COMMAND, others, &reason).await?;
                print_json(&json!({"kid": key.id, "x": key.x(), "created_at": key.created_at}))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
    .await
}
