//! All statements of the room, and the reading of their rows.

mod contracts;
mod customers;
mod msps;
mod silo;

use granary_db::Tx;
use jiff::tz::TimeZone;
use serde_json::Value;

pub(crate) use contracts::*;
pub(crate) use customers::*;
pub(crate) use msps::*;
pub(crate) use silo::*;

use crate::error::TenantsError;

const INSERT_TENANT_AUDIT: &str = "
    insert into audit_log (actor, action, subject, detail, reason, happened_at) values ($1, $2, $3, $4, $5, $6)";

/// Adds to the audit log of the tenant whose transaction it is.
pub(crate) async fn insert_tenant_audit(
    tx: &Tx,
    actor: &str,
    action: &str,
    subject: &str,
    detail: &Value,
    reason: Option<&str>,
) -> Result<(), TenantsError> {
    tx.execute(INSERT_TENANT_AUDIT, &[&actor, &action, &subject, detail, &reason, &tx.now()]).await?;
    Ok(())
}

/// Finds a zone by its name; "local" and the like have none that can be stored.
pub(crate) fn zone(name: &str) -> Result<TimeZone, TenantsError> {
    TimeZone::get(name).map_err(|_| TenantsError::UnknownTimeZone(name.to_owned()))
}

/// Returns the name under which a zone is stored.
pub(crate) fn zone_name(zone: &TimeZone) -> Result<&str, TenantsError> {
    zone.iana_name().ok_or_else(|| TenantsError::UnknownTimeZone("a zone without a name".to_owned()))
}

/// Every statement on the control schema, for the test that prepares them.
#[cfg(test)]
pub(crate) fn statements() -> Vec<&'static str> {
    [contracts::STATEMENTS, customers::STATEMENTS, msps::STATEMENTS].concat()
}
