//! Customers, their status and their control planes. A customer that is not fully provisioned (schema version 0) is seen by
//! nobody but the provisioning itself.

use granary_db::{Row, Tx};
use granary_types::{ControlPlaneId, CustomerCode, CustomerId, CustomerStatus, MspId};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::customer::{Customer, NewCustomer, StatusChange};
use crate::error::TenantsError;
use crate::listing::CustomerFilter;
use crate::store::{zone, zone_name};

/// Everything that makes a [`Customer`].
macro_rules! customer_where {
    ($condition:literal) => {
        concat!(
            "select id, msp_id, code, name, status, coalesce(status_changed_at, created_at) as status_since, time_zone, country, region, vertical,
                contact_email, deployment, brand_color, logo_url, schema_name, role_name, bucket, cluster, schema_version, trial_ends_on,
                activated_on, created_at
            from customers where ",
            $condition
        )
    };
}

/// A customer does not take the code of a copy.
const INSERT: &str = "
    insert into customers (id, msp_id, code, name, status, time_zone, country, region, vertical, contact_email, schema_name, role_name,
        cluster, trial_ends_on, activated_on, created_at, status_changed_at, deployment, brand_color, logo_url)
    select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $16, $17, $18, $19
    where not exists (select from clones where msp_id = $2 and code = $3)
    on conflict (msp_id, code) do nothing";
const FIND: &str = customer_where!("id = $1 and (schema_version > 0 or $2)");
const FIND_BY_CODE: &str = customer_where!("msp_id = $1 and code = $2 and (schema_version > 0 or $3)");
const LIST: &str = customer_where!("msp_id = $1 and schema_version > 0 and status <> 'erased' order by code");
/// Case is folded on both sides; what people search for is no pattern.
const LIST_PAGE: &str = customer_where!(
    "schema_version > 0 and ($1::uuid[] is null or id = any($1)) and (($2::text is null and status <> 'erased') or status = $2)
        and ($3::text is null or region = $3) and ($4::text is null or deployment = $4)
        and ($5::text is null or strpos(lower(code), lower($5)) > 0 or strpos(lower(name), lower($5)) > 0)
        and ($6::text is null or code > $6)
    order by code limit $7"
);
const LOCK: &str = customer_where!("id = $1 for update");
const FIND_CLUSTER: &str = "select cluster from customers where id = $1";
const UPDATE_SCHEMA_VERSION: &str = "update customers set schema_version = $2 where id = $1";
const UPDATE_STATUS: &str = "
    update customers
    set status = $2, status_changed_at = $4, activated_on = coalesce(activated_on, case when $2 = 'active' then $3::date end)
    where id = $1 and schema_version > 0";
const INSERT_STATUS_CHANGE: &str = "
    insert into status_changes (id, msp_id, customer_id, status, reason, changed_at) values ($1, $2, $3, $4, $5, $6)";
const LIST_STATUS_CHANGES: &str = "
    select customer_id, status, reason, changed_at from status_changes where msp_id = $1 order by customer_id, changed_at, id";
const INSERT_CONTROL_PLANE: &str = "
    insert into control_planes (id, msp_id, customer_id, name, source, enrolled_at) values ($1, $2, $3, $4, $5, $6)
    on conflict (customer_id, source) do nothing";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    INSERT,
    FIND,
    FIND_BY_CODE,
    LIST,
    LIST_PAGE,
    LOCK,
    FIND_CLUSTER,
    UPDATE_SCHEMA_VERSION,
    UPDATE_STATUS,
    INSERT_STATUS_CHANGE,
    LIST_STATUS_CHANGES,
    INSERT_CONTROL_PLANE,
];

/// What provisioning has worked out about a new customer.
#[derive(Debug)]
pub(crate) struct Placed<'a> {
    pub(crate) id: CustomerId,
    pub(crate) schema_name: &'a str,
    pub(crate) role_name: &'a str,
    pub(crate) cluster: &'a str,
    pub(crate) trial_ends_on: Option<Date>,
    pub(crate) activated_on: Option<Date>,
    pub(crate) created_at: Timestamp,
}

/// Inserts a customer; false when its code is taken.
pub(crate) async fn insert_customer(tx: &Tx, customer: &NewCustomer, placed: &Placed<'_>) -> Result<bool, TenantsError> {
    let zone = zone_name(&customer.time_zone)?;
    let inserted = tx
        .execute(
            INSERT,
            &[
                &placed.id,
                &customer.msp_id,
                &customer.code.as_str(),
                &customer.name,
                &customer.status,
                &zone,
                &customer.country,
                &customer.region,
                &customer.vertical,
                &customer.contact_email,
                &placed.schema_name,
                &placed.role_name,
                &placed.cluster,
                &placed.trial_ends_on,
                &placed.activated_on,
                &placed.created_at,
                &customer.deployment,
                &customer.brand_color,
                &customer.logo_url,
            ],
        )
        .await?;
    Ok(inserted == 1)
}

/// Finds a customer.
pub(crate) async fn find_customer(tx: &Tx, id: CustomerId) -> Result<Option<Customer>, TenantsError> {
    tx.query_opt(FIND, &[&id, &false]).await?.as_ref().map(customer).transpose()
}

/// Returns a customer, provisioned or on its way.
pub(crate) async fn get_customer_on_its_way(tx: &Tx, id: CustomerId) -> Result<Customer, TenantsError> {
    let row = tx.query_opt(FIND, &[&id, &true]).await?;
    row.as_ref().map(customer).transpose()?.ok_or(TenantsError::UnknownCustomer(id))
}

/// Finds a customer by its code.
pub(crate) async fn find_customer_by_code(tx: &Tx, msp: MspId, code: &CustomerCode) -> Result<Option<Customer>, TenantsError> {
    tx.query_opt(FIND_BY_CODE, &[&msp, &code.as_str(), &false]).await?.as_ref().map(customer).transpose()
}

/// Finds a customer by its code, provisioned or on its way.
pub(crate) async fn find_customer_on_its_way(tx: &Tx, msp: MspId, code: &CustomerCode) -> Result<Option<Customer>, TenantsError> {
    tx.query_opt(FIND_BY_CODE, &[&msp, &code.as_str(), &true]).await?.as_ref().map(customer).transpose()
}

/// Lists an MSP's customers by code.
pub(crate) async fn list_customers(tx: &Tx, msp: MspId) -> Result<Vec<Customer>, TenantsError> {
    tx.query(LIST, &[&msp]).await?.iter().map(customer).collect()
}

/// Finds where a customer's silo lies, provisioned or on its way.
pub(crate) async fn find_cluster(tx: &Tx, id: CustomerId) -> Result<Option<String>, TenantsError> {
    tx.query_opt(FIND_CLUSTER, &[&id]).await?.map(|row| row.try_get(0).map_err(TenantsError::column)).transpose()
}

/// Lists some of an MSP's customers by code; the transaction sees one MSP's.
pub(crate) async fn list_customers_page(
    tx: &Tx,
    ids: Option<&[CustomerId]>,
    filter: &CustomerFilter,
    limit: i64,
) -> Result<Vec<Customer>, TenantsError> {
    let CustomerFilter { status, region, deployment, search, after } = filter;
    let after = after.as_ref().map(CustomerCode::as_str);
    tx.query(LIST_PAGE, &[&ids, status, region, deployment, search, &after, &limit]).await?.iter().map(customer).collect()
}

/// Notes the version of a customer's schema; from the first on the customer can be seen.
pub(crate) async fn update_schema_version(tx: &Tx, id: CustomerId, version: i32) -> Result<(), TenantsError> {
    tx.execute(UPDATE_SCHEMA_VERSION, &[&id, &version]).await?;
    Ok(())
}

/// Changes a customer's status; false when there is none.
pub(crate) async fn update_status(tx: &Tx, id: CustomerId, status: CustomerStatus, on: Date, at: Timestamp) -> Result<bool, TenantsError> {
    Ok(tx.execute(UPDATE_STATUS, &[&id, &status, &on, &at]).await? == 1)
}

/// Finds a customer, provisioned or on its way, and keeps its row from others until the transaction ends.
pub(crate) async fn lock_customer(tx: &Tx, id: CustomerId) -> Result<Option<Customer>, TenantsError> {
    tx.query_opt(LOCK, &[&id]).await?.as_ref().map(customer).transpose()
}

/// Adds to the history of a customer's status.
pub(crate) async fn insert_status_change(
    tx: &Tx,
    (msp, id): (MspId, CustomerId),
    status: CustomerStatus,
    reason: Option<&str>,
    at: Timestamp,
) -> Result<(), TenantsError> {
    tx.execute(INSERT_STATUS_CHANGE, &[&Uuid::now_v7(), &msp, &id, &status, &reason, &at]).await?;
    Ok(())
}

/// Lists the changes of status of an MSP's customers, by customer and time.
pub(crate) async fn list_status_changes(tx: &Tx, msp: MspId) -> Result<Vec<StatusChange>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(LIST_STATUS_CHANGES, &[&msp]).await?;
    rows.iter()
        .map(|row| {
            Ok(StatusChange {
                customer_id: row.try_get("customer_id").map_err(get)?,
                status: row.try_get("status").map_err(get)?,
                reason: row.try_get("reason").map_err(get)?,
                changed_at: row.try_get("changed_at").map_err(get)?,
            })
        })
        .collect()
}

/// Inserts a control plane unless its source is there.
pub(crate) async fn insert_control_plane(
    tx: &Tx,
    (msp, id): (MspId, CustomerId),
    name: &str,
    source: &str,
    at: Timestamp,
) -> Result<(), TenantsError> {
    tx.execute(INSERT_CONTROL_PLANE, &[&ControlPlaneId::new(), &msp, &id, &name, &source, &at]).await?;
    Ok(())
}

fn customer(row: &Row) -> Result<Customer, TenantsError> {
    let get = TenantsError::column;
    Ok(Customer {
        id: row.try_get("id").map_err(get)?,
        msp_id: row.try_get("msp_id").map_err(get)?,
        code: row.try_get::<_, &str>("code").map_err(get)?.parse().map_err(TenantsError::column)?,
        name: row.try_get("name").map_err(get)?,
        status: row.try_get("status").map_err(get)?,
        status_since: row.try_get("status_since").map_err(get)?,
        time_zone: zone(row.try_get("time_zone").map_err(get)?)?,
        country: row.try_get("country").map_err(get)?,
        region: row.try_get("region").map_err(get)?,
        vertical: row.try_get("vertical").map_err(get)?,
        contact_email: row.try_get("contact_email").map_err(get)?,
        deployment: row.try_get("deployment").map_err(get)?,
        brand_color: row.try_get("brand_color").map_err(get)?,
        logo_url: row.try_get("logo_url").map_err(get)?,
        schema_name: row.try_get("schema_name").map_err(get)?,
        role_name: row.try_get("role_name").map_err(get)?,
        bucket: row.try_get("bucket").map_err(get)?,
        cluster: row.try_get("cluster").map_err(get)?,
        schema_version: row.try_get("schema_version").map_err(get)?,
        trial_ends_on: row.try_get("trial_ends_on").map_err(get)?,
        activated_on: row.try_get("activated_on").map_err(get)?,
        created_at: row.try_get("created_at").map_err(get)?,
    })
}
