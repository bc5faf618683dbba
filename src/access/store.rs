//! The SQL of users; the rest has files of its own.

pub(crate) mod api_keys;
pub(crate) mod attempts;
pub(crate) mod factor;
pub(crate) mod openings;
pub(crate) mod people;
pub(crate) mod planes;
pub(crate) mod sessions;
pub(crate) mod sso;
pub(crate) mod token_keys;
pub(crate) mod tokens;

use granary_db::{Row, Tx};
use granary_tenants::{Door, Standing};
use granary_types::{CustomerId, CustomerStatus, MspId, Role, UserId};
use jiff::Timestamp;

use crate::principal::Quotas;
use crate::users::granted;
use crate::{AccessError, NewUser, Permission, Principal, Who};

const INSERT_USER: &str = "
    insert into users (id, msp_id, customer_id, email, name, role, can_read_billing, sees_all_customers, password_hash, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const INSERT_USER_CUSTOMER: &str = "
    insert into user_customers (user_id, msp_id, customer_id) values ($1, $2, $3)";

const FIND_USER_BY_EMAIL: &str = "
    select u.id as user_id, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers, u.password_hash,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted,
        c.status as customer_status, coalesce(c.status_changed_at, c.created_at) as status_since
    from users u
    left join customers c on c.id = u.customer_id
    where lower(u.email) = lower($1) and not u.is_disabled";

const GET_CREDENTIALS: &str = "select email, password_hash from users where id = $1 and not is_disabled";

const UPDATE_PASSWORD: &str = "update users set password_hash = $2 where id = $1";

const DELETE_USER: [&str; 9] = [
    "delete from user_identities where user_id = $1",
    "update identity_providers set break_glass = null where break_glass = $1",
    "delete from recovery_codes where user_id = $1",
    "delete from second_factors where user_id = $1",
    "delete from mails where user_id = $1",
    "delete from user_tokens where user_id = $1",
    "delete from sessions where user_id = $1",
    "delete from user_customers where user_id = $1",
    "delete from users where id = $1",
];

/// Every statement, for the test that prepares them.
#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    GET_CREDENTIALS,
    UPDATE_PASSWORD,
    DELETE_USER[0],
    DELETE_USER[1],
    DELETE_USER[2],
    DELETE_USER[3],
    DELETE_USER[4],
    DELETE_USER[5],
    DELETE_USER[6],
    DELETE_USER[7],
    DELETE_USER[8],
    INSERT_USER,
    INSERT_USER_CUSTOMER,
    FIND_USER_BY_EMAIL,
];

/// Inserts a user.
pub(crate) async fn insert_user(tx: &Tx, id: UserId, user: &NewUser, password_hash: &str, now: Timestamp) -> Result<(), AccessError> {
    let sees_all = user.granted.is_none() && !user.role.is_customer();
    let email = user.email.trim();
    tx.execute(
        INSERT_USER,
        &[&id, &user.msp_id, &user.customer_id, &email, &user.name, &user.role, &user.can_read_billing, &sees_all, &password_hash, &now],
    )
    .await
    .map(drop)
    .map_err(
        |error| if error.constraint() == Some("users_email_unique") { AccessError::EmailTaken(email.to_owned()) } else { error.into() },
    )
}

/// Grants a customer to a user.
pub(crate) async fn insert_user_customer(tx: &Tx, user: UserId, msp: Option<MspId>, customer: CustomerId) -> Result<(), AccessError> {
    tx.execute(INSERT_USER_CUSTOMER, &[&user, &msp, &customer]).await?;
    Ok(())
}

/// Finds an enabled user, whose customer still has a portal, and the hash of the password.
pub(crate) async fn find_user_by_email(tx: &Tx, email: &str, now: Timestamp) -> Result<Option<(Principal, String)>, AccessError> {
    let row = tx.query_opt(FIND_USER_BY_EMAIL, &[&email]).await?.filter(|row| is_open(row, Door::Portal, now));
    Ok(row.map(|row| (principal_of(&row), row.get("password_hash"))))
}

/// Returns the address and the hash of the password of an enabled user.
pub(crate) async fn get_credentials(tx: &Tx, id: UserId) -> Result<(String, String), AccessError> {
    let row = tx.query_opt(GET_CREDENTIALS, &[&id]).await?.ok_or(AccessError::Unauthenticated)?;
    Ok((row.get("email"), row.get("password_hash")))
}

/// Replaces a password.
pub(crate) async fn update_password(tx: &Tx, id: UserId, password_hash: &str) -> Result<(), AccessError> {
    tx.execute(UPDATE_PASSWORD, &[&id, &password_hash]).await?;
    Ok(())
}

/// Deletes a user and what hangs on it; false when there is none.
pub(crate) async fn delete_user(tx: &Tx, id: UserId) -> Result<bool, AccessError> {
    let mut touched = 0;
    for statement in DELETE_USER {
        touched = tx.execute(statement, &[&id]).await?;
    }
    Ok(touched == 1)
}

/// Tells whether the state of the row's customer leaves a door open; for whoever belongs to none, every door is.
fn is_open(row: &Row, door: Door, now: Timestamp) -> bool {
    let Some(status) = row.get::<_, Option<CustomerStatus>>("customer_status") else { return true };
    Standing { status, since: row.get("status_since"), is_trial_over: false }.opens(door, now)
}

fn principal_of(row: &Row) -> Principal {
    let role: Role = row.get("role");
    let mut permissions = Permission::of_role(role).to_vec();
    let can_read_billing = !role.is_customer() && (row.get("can_read_billing") || permissions.contains(&Permission::MarginRead));
    if can_read_billing && !permissions.contains(&Permission::MarginRead) {
        permissions.push(Permission::MarginRead);
    }
    Principal {
        who: Who::User { id: row.get("user_id"), name: row.get("name") },
        role,
        msp: row.get("msp_id"),
        customers: granted(role, row.get("customer_id"), row.get("sees_all_customers"), row.get("granted")),
        can_read_billing,
        permissions,
        source: None,
        quotas: Quotas::default(),
        is_by_token: false,
    }
}
