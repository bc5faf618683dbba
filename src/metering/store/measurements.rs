//! Measurements of open months, kept for whoever asks again.

use granary_tenants::{MspTx, TenantTx};
use granary_types::{CustomerId, Period};
use jiff::Timestamp;

use crate::error::MeteringError;
use crate::usage::PeriodUsage;

/// One measurement of a tenant at a time; ingest has another lock. The first number is the room's.
const LOCK: &str = "select pg_advisory_xact_lock(7302, hashtext(current_schema()))";

const FIND: &str = "
    select usage, measured_at from usage_measurements where customer_id = $1 and period = $2 and measured_at > $3";

const UPSERT: &str = "
    insert into usage_measurements (customer_id, msp_id, period, usage, measured_at) values ($1, $2, $3, $4, $5)
    on conflict (customer_id, period) do update set usage = excluded.usage, measured_at = excluded.measured_at
        where usage_measurements.measured_at < excluded.measured_at";

/// Makes this transaction the only one that measures this tenant without the lock of its log.
pub(crate) async fn lock(tx: &TenantTx) -> Result<(), MeteringError> {
    tx.execute(LOCK, &[]).await?;
    Ok(())
}

/// Finds a measurement that is younger than an instant.
pub(crate) async fn find(
    tx: &MspTx,
    customer: CustomerId,
    period: Period,
    since: Timestamp,
) -> Result<Option<(PeriodUsage, Timestamp)>, MeteringError> {
    let row = tx.query_opt(FIND, &[&customer, &period.to_string(), &since]).await?;
    let corrupt = |error: serde_json::Error| MeteringError::Corrupt(format!("a measurement: {error}"));
    row.map(|row| Ok((serde_json::from_value(row.get(0)).map_err(corrupt)?, row.get(1)))).transpose()
}

/// Keeps a measurement, unless a younger one is there.
pub(crate) async fn upsert(tx: &MspTx, customer: CustomerId, usage: &PeriodUsage, measured_at: Timestamp) -> Result<(), MeteringError> {
    let measured = serde_json::to_value(usage).map_err(|error| MeteringError::Corrupt(error.to_string()))?;
    tx.execute(UPSERT, &[&customer, &tx.msp().id, &usage.period.to_string(), &measured, &measured_at]).await?;
    Ok(())
}
