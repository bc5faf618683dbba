//! What an MSP says about closing.

use granary_tenants::MspTx;
use granary_types::Period;

use crate::BillingError;

const EDITOR_MAY_APPROVE: &str = "select editor_may_approve from msps where id = $1";
const LET_EDITOR_APPROVE: &str = "update msps set editor_may_approve = $2 where id = $1";

/// Drafts are written and numbered one after the other. The first number is that of periods.
const LOCK: &str = "select pg_advisory_xact_lock(7304, hashtext($1::uuid::text || $2))";

/// Makes this transaction the only one that writes or numbers the drafts of a period, until it ends.
pub(crate) async fn lock(tx: &MspTx, period: Period) -> Result<(), BillingError> {
    tx.execute(LOCK, &[&tx.msp().id, &period.to_string()]).await?;
    Ok(())
}

/// Tells whether whoever drafted a period may approve it.
pub(crate) async fn editor_may_approve(tx: &MspTx) -> Result<bool, BillingError> {
    Ok(tx.query_one(EDITOR_MAY_APPROVE, &[&tx.msp().id]).await?.get(0))
}

/// Says whether whoever drafted a period may approve it.
pub(crate) async fn let_editor_approve(tx: &MspTx, is_allowed: bool) -> Result<(), BillingError> {
    tx.execute(LET_EDITOR_APPROVE, &[&tx.msp().id, &is_allowed]).await?;
    Ok(())
}
