//! Who can log in to the demo. The passwords are printed: this is a demo on loopback.

use granary_access::{AccessError, NewUser};
use granary_foundation::Secret;
use granary_tenants::Msp;
use granary_types::Role;

use crate::cli::Failure;
use crate::cli::house::Rooms;

/// The password of every demo user.
pub(super) const PASSWORD: &str = "granary-demo";

/// E-mail address, name, role, and the customer for a customer's role.
pub(super) const USERS: &[(&str, &str, Role, Option<&str>)] = &[
    ("admin@northwind.example", "Ada North", Role::MspAdmin, None),
    ("finance@northwind.example", "Finn Ledger", Role::MspFinance, None),
    ("analyst@northwind.example", "Ana Lyst", Role::MspAnalyst, None),
    ("owner@acme.example", "Wile Acme", Role::CustomerAdmin, Some("ACME")),
    ("operator@granary.example", "Olga Operator", Role::OperatorAdmin, None),
];

/// Makes the users that are not there yet.
pub(super) async fn create(house: &Rooms, msp: &Msp) -> Result<(), Failure> {
    for &(email, name, role, customer) in USERS {
        let customer_id = match customer {
            None => None,
            Some(code) => Some(house.tenants.get_customer_by_code(msp.id, &code.parse()?).await?.id),
        };
        let new = NewUser {
            email: email.to_owned(),
            name: name.to_owned(),
            role,
            msp_id: (role != Role::OperatorAdmin).then_some(msp.id),
            customer_id,
            granted: None,
            can_read_billing: matches!(role, Role::MspAdmin | Role::MspFinance | Role::OperatorAdmin),
            password: Secret::new(PASSWORD),
        };
        match house.access.create_user(&new).await {
            Ok(_) | Err(AccessError::EmailTaken(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
