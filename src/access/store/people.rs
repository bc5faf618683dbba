//! The SQL of people who are managed.

use granary_db::{Row, Tx};
use granary_types::{CustomerId, MspId, Role, UserId};

use super::principal_of;
use crate::{AccessError, NewUser, Person, Place, Principal};

macro_rules! people {
    ($rest:literal) => {
        concat!(
            "select u.id, u.msp_id, u.customer_id, u.name, u.email, u.role, u.can_read_billing, u.sees_all_customers, u.is_disabled,
                u.password_hash = '' and not exists (select from user_identities i where i.user_id = u.id) as is_invited, u.created_at,
                exists (select from second_factors f where f.user_id = u.id and f.confirmed_at is not null) as has_second_factor,
                array(select g.customer_id from user_customers g where g.user_id = u.id order by 1) as granted,
                (select count(*) from sessions s where s.user_id = u.id) as sessions,
                (select max(coalesce(s.last_used_at, s.created_at)) from sessions s where s.user_id = u.id) as last_used_at
            from users u ",
            $rest
        )
    };
}

const LIST_USERS_OF: &str = people!("where u.customer_id = $1 order by lower(u.email)");
const LIST_PEOPLE: &str = people!("where u.msp_id = $1 and u.customer_id is not distinct from $2 order by lower(u.email)");
const FIND_PERSON: &str = people!("where u.msp_id = $1 and lower(u.email) = lower($2)");
const FIND_PERSON_AT: &str = people!("where u.id = $1 and u.msp_id = $2 and u.customer_id is not distinct from $3");
const GET_PERSON: &str = people!("where u.id = $1");

const FIND_PRINCIPAL: &str = "
    select u.id as user_id, u.msp_id, u.customer_id, u.name, u.role, u.can_read_billing, u.sees_all_customers,
        array(select g.customer_id from user_customers g where g.user_id = u.id) as granted
    from users u where u.id = $1 and not u.is_disabled";

const LOCK_MSP: &str = "select pg_advisory_xact_lock(hashtextextended(coalesce($1::uuid::text, 'operator'), 7103))";

const UPDATE_ROLE: &str = "update users set role = $2, can_read_billing = $3, sees_all_customers = $4 where id = $1";
const DELETE_GRANTS: &str = "delete from user_customers where user_id = $1";
const UPDATE_DISABLED: &str = "update users set is_disabled = $2 where id = $1";

const COUNT_CUSTOMERS: &str = "select count(*) from customers where msp_id = $1 and id = any ($2)";

#[cfg(test)]
pub(crate) const STATEMENTS: &[&str] = &[
    LIST_USERS_OF,
    LIST_PEOPLE,
    FIND_PERSON,
    FIND_PERSON_AT,
    GET_PERSON,
    FIND_PRINCIPAL,
    LOCK_MSP,
    UPDATE_ROLE,
    DELETE_GRANTS,
    UPDATE_DISABLED,
    COUNT_CUSTOMERS,
];

/// Lists a customer's users.
pub(crate) async fn list_users_of(tx: &Tx, customer: CustomerId) -> Result<Vec<Person>, AccessError> {
    Ok(tx.query(LIST_USERS_OF, &[&customer]).await?.iter().map(person).collect())
}

/// Lists the people of a place.
pub(crate) async fn list_people(tx: &Tx, at: Place) -> Result<Vec<Person>, AccessError> {
    Ok(tx.query(LIST_PEOPLE, &[&at.msp, &at.customer]).await?.iter().map(person).collect())
}

/// Finds an MSP's user, disabled or not.
pub(crate) async fn find_person(tx: &Tx, msp: MspId, email: &str) -> Result<Option<Person>, AccessError> {
    Ok(tx.query_opt(FIND_PERSON, &[&msp, &email]).await?.as_ref().map(person))
}

/// Finds a user of a place; one of elsewhere is none.
pub(crate) async fn find_person_at(tx: &Tx, at: Place, id: UserId) -> Result<Option<Person>, AccessError> {
    Ok(tx.query_opt(FIND_PERSON_AT, &[&id, &at.msp, &at.customer]).await?.as_ref().map(person))
}

/// Returns a user.
pub(crate) async fn get_person(tx: &Tx, id: UserId) -> Result<Person, AccessError> {
    let row = tx.query_opt(GET_PERSON, &[&id]).await?;
    row.as_ref().map(person).ok_or_else(|| AccessError::UnknownUser(id.to_string()))
}

/// Finds an enabled user as it stands now.
pub(crate) async fn find_principal(tx: &Tx, id: UserId) -> Result<Option<Principal>, AccessError> {
    Ok(tx.query_opt(FIND_PRINCIPAL, &[&id]).await?.as_ref().map(principal_of))
}

/// Waits for whoever manages logins of the same MSP, until the transaction ends.
pub(crate) async fn lock_msp(tx: &Tx, msp: Option<MspId>) -> Result<(), AccessError> {
    tx.query_one(LOCK_MSP, &[&msp]).await?;
    Ok(())
}

/// Replaces the role, and forgets which customers were granted.
pub(crate) async fn update_role(tx: &Tx, id: UserId, user: &NewUser) -> Result<(), AccessError> {
    let sees_all = user.granted.is_none() && !user.role.is_customer();
    tx.execute(DELETE_GRANTS, &[&id]).await?;
    tx.execute(UPDATE_ROLE, &[&id, &user.role, &user.can_read_billing, &sees_all]).await?;
    Ok(())
}

/// Stops a login or lets it in again.
pub(crate) async fn update_disabled(tx: &Tx, id: UserId, is_disabled: bool) -> Result<(), AccessError> {
    tx.execute(UPDATE_DISABLED, &[&id, &is_disabled]).await?;
    Ok(())
}

/// Counts those of the customers that are an MSP's.
pub(crate) async fn count_customers(tx: &Tx, msp: Option<MspId>, customers: &[CustomerId]) -> Result<i64, AccessError> {
    let ids: Vec<uuid::Uuid> = customers.iter().map(|customer| customer.uuid()).collect();
    Ok(tx.query_one(COUNT_CUSTOMERS, &[&msp, &ids]).await?.get(0))
}

fn person(row: &Row) -> Person {
    let (role, sees_all): (Role, bool) = (row.get("role"), row.get("sees_all_customers"));
    let is_confined = matches!(role, Role::MspOperator | Role::MspAnalyst) && !sees_all;
    Person {
        id: row.get("id"),
        msp_id: row.get("msp_id"),
        customer_id: row.get("customer_id"),
        name: row.get("name"),
        email: row.get("email"),
        role,
        can_read_billing: row.get("can_read_billing"),
        granted: is_confined.then(|| row.get("granted")),
        is_invited: row.get("is_invited"),
        has_second_factor: row.get("has_second_factor"),
        is_disabled: row.get("is_disabled"),
        created_at: row.get("created_at"),
        sessions: row.get("sessions"),
        last_used_at: row.get("last_used_at"),
    }
}
