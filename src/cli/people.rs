//! Users.

use std::io::Read;
use std::process::ExitCode;

use granary_access::{Grant, Invitation, Manager, NewUser};
use granary_foundation::Secret;
use granary_types::{CustomerCode, CustomerId, MspId, Role};
use serde_json::json;

use super::arguments::{Global, User};
use super::files::Named;
use super::house::{ACTOR, House, Rooms};
use super::output::print_json;
use super::{Failure, Usage};

pub(crate) async fn user(global: &Global, command: User) -> Result<ExitCode, Failure> {
    match command {
        User::Add { email, role, name, msp, customer } => {
            let mut password = String::new();
            std::io::stdin().read_to_string(&mut password).named("read", "standard input")?;
            House::with(global, async |house| {
                let (msp_id, customer_id) = belongs(house, role, msp.as_deref(), customer).await?;
                let new = NewUser {
                    email: email.clone(),
                    name: name.unwrap_or_else(|| email.clone()),
                    role,
                    msp_id,
                    customer_id,
                    granted: None,
                    can_read_billing: reads_billing(role),
                    password: Secret::new(password.trim_end_matches(['\r', '\n'])),
                };
                let id = house.access.create_user(&new).await?;
                let msp = match msp_id {
                    Some(id) => Some(house.tenants.get_msp(id).await?),
                    None => None,
                };
                house.note(msp.as_ref(), customer_id, "user.add", &format!("user:{id}"), &json!({"role": role})).await?;
                print_json(&json!({"id": id, "email": email, "role": role}))?;
                Ok(ExitCode::SUCCESS)
            })
            .await
        }
        User::Invite { email, role, name, msp, customer } => House::with(global, async |house| {
            let (msp_id, customer_id) = belongs(house, role, msp.as_deref(), customer).await?;
            let grant = Grant { role, granted: None, can_read_billing: reads_billing(role) };
            let name = name.unwrap_or_else(|| email.clone());
            let person = house.access.invite(Manager::Command(ACTOR), &Invitation { email, name, msp_id, customer_id, grant }).await?;
            print_json(
                &json!({"id": person.id, "email": person.email, "role": role, "note": "a worker writes the letter; see granary mail list"}),
            )?;
            Ok(ExitCode::SUCCESS)
        })
        .await,
    }
}

const fn reads_billing(role: Role) -> bool {
    matches!(role, Role::MspAdmin | Role::MspFinance | Role::OperatorAdmin)
}

/// The MSP and the customer that a role belongs to.
async fn belongs(
    house: &Rooms,
    role: Role,
    msp: Option<&str>,
    customer: Option<CustomerCode>,
) -> Result<(Option<MspId>, Option<CustomerId>), Failure> {
    match (role, customer) {
        (Role::OperatorAdmin, None) => Ok((None, None)),
        (role, Some(code)) if role.is_customer() => {
            let (msp, customer) = house.customer(msp, &code).await?;
            Ok((Some(msp.id), Some(customer.id)))
        }
        (role, None) if !role.is_customer() => Ok((Some(house.msp(msp).await?.id), None)),
        (role, _) => Err(Usage(format!("--customer goes with customer roles, and only with them; the role is {role}")).into()),
    }
}
