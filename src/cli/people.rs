//! Users, and keys for programs.

use std::io::Read;
use std::process::ExitCode;

use granary_access::{NewApiKey, NewUser};
use granary_foundation::Secret;
use granary_types::Role;
use serde_json::json;

use super::arguments::{Global, Key, User};
use super::files::Named;
use super::house::House;
use super::output::print_json;
use super::{Failure, Usage};

pub(crate) async fn user(global: &Global, command: User) -> Result<ExitCode, Failure> {
    let User::Add { email, role, name, msp, customer } = command;
    let mut password = String::new();
    std::io::stdin().read_to_string(&mut password).named("read", "standard input")?;
    House::with(global, async |house| {
        let (msp_id, customer_id) = match (role, customer) {
            (Role::OperatorAdmin, None) => (None, None),
            (role, Some(code)) if role.is_customer() => {
                let (msp, customer) = house.customer(msp.as_deref(), &code).await?;
                (Some(msp.id), Some(customer.id))
            }
            (role, None) if !role.is_customer() => (Some(house.msp(msp.as_deref()).await?.id), None),
            (role, _) => return Err(Usage(format!("--customer goes with customer roles, and only with them; the role is {role}")).into()),
        };
        let new = NewUser {
            email: email.clone(),
            name: name.unwrap_or_else(|| email.clone()),
            role,
            msp_id,
            customer_id,
            granted: None,
            can_read_billing: matches!(role, Role::MspAdmin | Role::MspFinance | Role::OperatorAdmin),
            password: Secret::new(password.trim_end_matches(['\r', '\n'])),
        };
        let id = house.access.create_user(&new).await?;
        print_json(&json!({"id": id, "email": email, "role": role}))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}

pub(crate) async fn key(global: &Global, command: Key) -> Result<ExitCode, Failure> {
    let Key::Add { customer, msp, scope, name } = command;
    House::with(global, async |house| {
        let (msp, customer) = match customer {
            Some(code) => house.customer(msp.as_deref(), &code).await.map(|(msp, customer)| (msp, Some(customer)))?,
            None => (house.msp(msp.as_deref()).await?, None),
        };
        let scopes = scope.iter().map(|scope| scope.parse()).collect::<Result<Vec<_>, _>>()?;
        let new = NewApiKey { msp_id: msp.id, customer_id: customer.as_ref().map(|customer| customer.id), control_plane_id: None, name, scopes, expires_at: None };
        let (id, secret) = house.access.create_api_key(&new).await?;
        print_json(&json!({"id": id, "customer": customer.map(|customer| customer.code), "key": secret.reveal(), "note": "shown once; keep it safe"}))?;
        Ok(ExitCode::SUCCESS)
    })
    .await
}
