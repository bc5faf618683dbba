//! Sites, contacts, limits, and the control planes that are added to a customer.

use granary_db::{Row, Tx};
use granary_types::{ContactId, ControlPlaneId, CustomerId, MspId, SiteId};
use granary_vault::Wrapped;
use jiff::civil::Date;

use crate::contract::Contract;
use crate::customer::ControlPlane;
use crate::error::TenantsError;
use crate::hierarchy::{Enforcement, Limits, NewControlPlane, NewSite, SealedContact, Site};
use crate::store::{zone, zone_name};

const INSERT_SITE: &str = "
    insert into sites (id, msp_id, customer_id, name, country, city, time_zone, created_at) values ($1, $2, $3, $4, $5, $6, $7, $8)";
const LIST_SITES: &str = "
    select id, name, country, city, time_zone, created_at, retired_at from sites where customer_id = $1 order by name";
const RETIRE_SITE: &str = "
    update sites set retired_at = coalesce(retired_at, $3) where customer_id = $1 and id = $2
    returning id, name, country, city, time_zone, created_at, retired_at";
const INSERT_PLANE: &str = "
    insert into control_planes (id, msp_id, customer_id, name, source, version, site_id, enrolled_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    returning id, customer_id, name, source, version, site_id, enrolled_at, last_seen_at, retired_at";
const LIST_PLANES: &str = "
    select id, customer_id, name, source, version, site_id, enrolled_at, last_seen_at, retired_at
    from control_planes where customer_id = $1 order by name, source";
const RETIRE_PLANE: &str = "
    update control_planes set retired_at = coalesce(retired_at, $3) where customer_id = $1 and id = $2
    returning id, customer_id, name, source, version, site_id, enrolled_at, last_seen_at, retired_at";
const FIND_LIMITS: &str = "
    select max_concurrent_jobs, api_rate_limit, machines_are_hard, storage_is_hard, jobs_are_hard, api_is_hard
    from customer_limits where customer_id = $1";
const UPSERT_LIMITS: &str = "
    insert into customer_limits (customer_id, msp_id, max_concurrent_jobs, api_rate_limit, machines_are_hard, storage_is_hard, updated_at,
        jobs_are_hard, api_is_hard)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
    on conflict (customer_id) do update
    set max_concurrent_jobs = excluded.max_concurrent_jobs, api_rate_limit = excluded.api_rate_limit,
        machines_are_hard = excluded.machines_are_hard, storage_is_hard = excluded.storage_is_hard, updated_at = excluded.updated_at,
        jobs_are_hard = excluded.jobs_are_hard, api_is_hard = excluded.api_is_hard";
const INSERT_CONTACT: &str = "
    insert into contacts (id, msp_id, customer_id, kind, sealed, key_version, email_index, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)";
const LIST_CONTACTS: &str = "
    select id, kind, sealed, key_version, email_index, created_at from contacts where customer_id = $1 order by created_at, id";
const DELETE_CONTACT: &str = "delete from contacts where customer_id = $1 and id = $2";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[
    INSERT_SITE,
    LIST_SITES,
    RETIRE_SITE,
    INSERT_PLANE,
    LIST_PLANES,
    RETIRE_PLANE,
    FIND_LIMITS,
    UPSERT_LIMITS,
    INSERT_CONTACT,
    LIST_CONTACTS,
    DELETE_CONTACT,
];

/// Inserts a site.
pub(crate) async fn insert_site(tx: &Tx, (msp, customer): (MspId, CustomerId), new: &NewSite) -> Result<Site, TenantsError> {
    let (id, zone, now) = (SiteId::new(), zone_name(&new.time_zone)?, tx.now());
    tx.execute(INSERT_SITE, &[&id, &msp, &customer, &new.name, &new.country, &new.city, &zone, &now]).await.map_err(|error| {
        if error.constraint() == Some("sites_name_unique") { TenantsError::Taken("site of this name") } else { error.into() }
    })?;
    let NewSite { name, country, city, time_zone } = new.clone();
    Ok(Site { id, name, country, city, time_zone, created_at: now, retired_at: None })
}

/// Lists a customer's sites by name.
pub(crate) async fn list_sites(tx: &Tx, customer: CustomerId) -> Result<Vec<Site>, TenantsError> {
    tx.query(LIST_SITES, &[&customer]).await?.iter().map(site).collect()
}

/// Retires a site; none when there is none.
pub(crate) async fn retire_site(tx: &Tx, customer: CustomerId, id: SiteId) -> Result<Option<Site>, TenantsError> {
    tx.query_opt(RETIRE_SITE, &[&customer, &id, &tx.now()]).await?.as_ref().map(site).transpose()
}

/// Inserts a control plane.
pub(crate) async fn insert_new_control_plane(
    tx: &Tx,
    (msp, customer): (MspId, CustomerId),
    new: &NewControlPlane,
) -> Result<ControlPlane, TenantsError> {
    let row = tx
        .query_one(INSERT_PLANE, &[&ControlPlaneId::new(), &msp, &customer, &new.name, &new.source, &new.version, &new.site_id, &tx.now()])
        .await
        .map_err(|error| {
            let is_taken = error.constraint() == Some("control_planes_source_unique");
            if is_taken { TenantsError::Taken("control plane with this source") } else { error.into() }
        })?;
    plane(&row)
}

/// Lists a customer's control planes by name.
pub(crate) async fn list_control_planes(tx: &Tx, customer: CustomerId) -> Result<Vec<ControlPlane>, TenantsError> {
    tx.query(LIST_PLANES, &[&customer]).await?.iter().map(plane).collect()
}

/// Retires a control plane; none when there is none.
pub(crate) async fn retire_control_plane(tx: &Tx, customer: CustomerId, id: ControlPlaneId) -> Result<Option<ControlPlane>, TenantsError> {
    tx.query_opt(RETIRE_PLANE, &[&customer, &id, &tx.now()]).await?.as_ref().map(plane).transpose()
}

/// Puts the limits beside the contract's; nothing stored means that the rest is open, and all are soft but the rate.
pub(crate) async fn find_limits(tx: &Tx, customer: CustomerId, contract: &Contract) -> Result<Limits, TenantsError> {
    let get = TenantsError::column;
    let row = tx.query_opt(FIND_LIMITS, &[&customer]).await?;
    let or_else = |column, otherwise| {
        let is_hard = row.as_ref().map(|row| row.try_get(column)).transpose().map_err(get)?;
        Ok::<_, TenantsError>(if is_hard.unwrap_or(otherwise) { Enforcement::Hard } else { Enforcement::Soft })
    };
    let enforcement = |column| or_else(column, false);
    let count = |column| Ok::<_, TenantsError>(row.as_ref().map(|row| row.try_get(column)).transpose().map_err(get)?.flatten());
    Ok(Limits {
        machines: contract.machine_limit,
        machines_enforcement: enforcement("machines_are_hard")?,
        storage_gib: contract.storage_limit_gib,
        storage_enforcement: enforcement("storage_is_hard")?,
        max_concurrent_jobs: count("max_concurrent_jobs")?,
        jobs_enforcement: enforcement("jobs_are_hard")?,
        api_rate_limit: count("api_rate_limit")?,
        api_enforcement: or_else("api_is_hard", true)?,
    })
}

/// Stores the limits that the contract does not know.
pub(crate) async fn upsert_limits(tx: &Tx, (msp, customer): (MspId, CustomerId), limits: &Limits) -> Result<(), TenantsError> {
    let (machines, storage) = (limits.machines_enforcement == Enforcement::Hard, limits.storage_enforcement == Enforcement::Hard);
    let (jobs, api) = (limits.jobs_enforcement == Enforcement::Hard, limits.api_enforcement == Enforcement::Hard);
    let (most_jobs, rate, now) = (&limits.max_concurrent_jobs, &limits.api_rate_limit, tx.now());
    tx.execute(UPSERT_LIMITS, &[&customer, &msp, most_jobs, rate, &machines, &storage, &now, &jobs, &api]).await?;
    Ok(())
}

/// Inserts a contact.
pub(crate) async fn insert_contact(tx: &Tx, (msp, customer): (MspId, CustomerId), new: &SealedContact) -> Result<(), TenantsError> {
    let (kind, sealed, version) = (new.kind.as_str(), &new.sealed.bytes, new.sealed.key_version);
    tx.execute(INSERT_CONTACT, &[&new.id, &msp, &customer, &kind, sealed, &version, &new.email_index, &new.created_at]).await.map_err(
        |error| {
            let is_taken = error.constraint() == Some("contacts_email_unique");
            if is_taken { TenantsError::Taken("contact with this address and kind") } else { error.into() }
        },
    )?;
    Ok(())
}

/// Lists a customer's contacts, sealed, in the order in which they were added.
pub(crate) async fn list_contacts(tx: &Tx, customer: CustomerId) -> Result<Vec<SealedContact>, TenantsError> {
    let get = TenantsError::column;
    let rows = tx.query(LIST_CONTACTS, &[&customer]).await?;
    rows.iter()
        .map(|row| {
            Ok(SealedContact {
                id: row.try_get("id").map_err(get)?,
                kind: row.try_get::<_, &str>("kind").map_err(get)?.parse().map_err(TenantsError::column)?,
                sealed: Wrapped { bytes: row.try_get("sealed").map_err(get)?, key_version: row.try_get("key_version").map_err(get)? },
                email_index: row.try_get("email_index").map_err(get)?,
                created_at: row.try_get("created_at").map_err(get)?,
            })
        })
        .collect()
}

/// Deletes a contact; false when there is none.
pub(crate) async fn delete_contact(tx: &Tx, customer: CustomerId, id: ContactId) -> Result<bool, TenantsError> {
    Ok(tx.execute(DELETE_CONTACT, &[&customer, &id]).await? == 1)
}

/// Changes the limits of the contract in force on a day, from that day on.
pub(crate) async fn update_contract_limits(tx: &Tx, customer: CustomerId, on: Date, limits: &Limits) -> Result<(), TenantsError> {
    tx.execute(super::contracts::UPDATE_LIMITS, &[&customer, &on, &limits.machines, &limits.storage_gib]).await?;
    tx.execute(super::contracts::KEEP_LIMITS, &[&customer, &on, &tx.now()]).await?;
    Ok(())
}

fn site(row: &Row) -> Result<Site, TenantsError> {
    let get = TenantsError::column;
    Ok(Site {
        id: row.try_get("id").map_err(get)?,
        name: row.try_get("name").map_err(get)?,
        country: row.try_get("country").map_err(get)?,
        city: row.try_get("city").map_err(get)?,
        time_zone: zone(row.try_get("time_zone").map_err(get)?)?,
        created_at: row.try_get("created_at").map_err(get)?,
        retired_at: row.try_get("retired_at").map_err(get)?,
    })
}

fn plane(row: &Row) -> Result<ControlPlane, TenantsError> {
    let get = TenantsError::column;
    Ok(ControlPlane {
        id: row.try_get("id").map_err(get)?,
        customer_id: row.try_get("customer_id").map_err(get)?,
        name: row.try_get("name").map_err(get)?,
        source: row.try_get("source").map_err(get)?,
        version: row.try_get("version").map_err(get)?,
        site_id: row.try_get("site_id").map_err(get)?,
        enrolled_at: row.try_get("enrolled_at").map_err(get)?,
        last_seen_at: row.try_get("last_seen_at").map_err(get)?,
        retired_at: row.try_get("retired_at").map_err(get)?,
    })
}
