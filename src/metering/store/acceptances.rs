//! Findings of months, and who accepted them.

use granary_db::ToSql;
use granary_tenants::MspTx;
use granary_types::{CustomerId, Period};

use crate::acceptance::{Acceptance, FindingKind};
use crate::closing::Findings;
use crate::error::MeteringError;

const UPSERT_FINDINGS: &str = "
    insert into period_findings (customer_id, msp_id, period, findings, examined_at) values ($1, $2, $3, $4, $5)
    on conflict (customer_id, period) do update set findings = excluded.findings, examined_at = excluded.examined_at
        where period_findings.findings <> excluded.findings";

const LIST_FINDINGS: &str = "select customer_id, findings from period_findings where msp_id = $1 and period = $2 order by customer_id";

const INSERT_ACCEPTANCE: &str = "
    insert into period_acceptances (customer_id, msp_id, period, finding, extent, reason, accepted_by, accepted_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8)
    on conflict (customer_id, period, finding, extent) do nothing";

const LIST_ACCEPTANCES: &str = "
    select customer_id, finding, extent, reason, accepted_by, accepted_at
    from period_acceptances where msp_id = $1 and period = $2 order by accepted_at, customer_id, finding";

/// Writes what was found in a month, unless it says so already.
pub(crate) async fn upsert_findings(tx: &MspTx, customer: CustomerId, period: Period, findings: &Findings) -> Result<(), MeteringError> {
    let found = serde_json::to_value(findings).map_err(|error| MeteringError::Corrupt(error.to_string()))?;
    tx.execute(UPSERT_FINDINGS, &[&customer, &tx.msp().id, &period.to_string(), &found, &tx.now()]).await?;
    Ok(())
}

/// Lists what was found in the months of a period.
pub(crate) async fn list_findings(tx: &MspTx, period: Period) -> Result<Vec<(CustomerId, Findings)>, MeteringError> {
    let rows = tx.query(LIST_FINDINGS, &[&tx.msp().id, &period.to_string()]).await?;
    let corrupt = |error: serde_json::Error| MeteringError::Corrupt(format!("findings of a month: {error}"));
    rows.iter().map(|row| Ok((row.get(0), serde_json::from_value(row.get(1)).map_err(corrupt)?))).collect()
}

/// Writes an acceptance by the acting person; the first one of a finding stays.
pub(crate) async fn insert_acceptance(
    tx: &MspTx,
    customer: CustomerId,
    period: Period,
    (finding, extent): (FindingKind, &str),
    reason: &str,
) -> Result<(), MeteringError> {
    let (period, by, now) = (period.to_string(), tx.actor().to_string(), tx.now());
    let params: [&(dyn ToSql + Sync); 8] = [&customer, &tx.msp().id, &period, &finding.as_str(), &extent, &reason, &by, &now];
    tx.execute(INSERT_ACCEPTANCE, &params).await?;
    Ok(())
}

/// Lists what was accepted in a period.
pub(crate) async fn list_acceptances(tx: &MspTx, period: Period) -> Result<Vec<Acceptance>, MeteringError> {
    let rows = tx.query(LIST_ACCEPTANCES, &[&tx.msp().id, &period.to_string()]).await?;
    let read = |row: &granary_db::Row| {
        Ok(Acceptance {
            customer_id: row.get(0),
            finding: row.get::<_, &str>(1).parse()?,
            extent: row.get(2),
            reason: row.get(3),
            accepted_by: row.get(4),
            accepted_at: row.get(5),
        })
    };
    rows.iter().map(read).collect()
}
