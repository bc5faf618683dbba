//! Making the rows of a customer anew from its log.

use granary_foundation::{Boxed, SharedProgress};
use granary_tenants::TenantTx;
use serde::Serialize;

use crate::apply::apply;
use crate::counting::{Corrected, corrections_of, names_of};
use crate::error::MeteringError;
use crate::projection::Projection;
use crate::store;
use crate::store::rebuilding::TABLES;

/// Events that are read at once.
const CHUNK: i64 = 5_000;

/// What a rebuild made of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RebuiltTable {
    pub table: &'static str,
    pub rows_before: i64,
    pub rows: i64,
    /// Whether every row is what it was.
    pub is_same: bool,
}

/// Makes every row that events are projected to anew from the log, within the caller's transaction: the tables come out as they were,
/// or as they should have been. Daily usage is made of them by [`crate::rebuild_days`]. No events are taken meanwhile.
///
/// # Errors
/// When bodies of events went by a rule of retention, so that the log alone does not say what the rows should be; or when Postgres
/// refuses.
pub fn rebuild<'a>(tx: &'a TenantTx, progress: &'a SharedProgress) -> Boxed<'a, Result<Vec<RebuiltTable>, MeteringError>> {
    Box::pin(async move {
        store::events::lock(tx).await?;
        let emptied = store::rebuilding::count_emptied(tx).await?;
        if emptied > 0 {
            return Err(MeteringError::LogEmptied { events: emptied });
        }
        let mut before = Vec::with_capacity(TABLES.len());
        for table in TABLES {
            before.push(store::rebuilding::fingerprint(tx, table).await?);
        }
        for table in TABLES {
            store::rebuilding::delete_all(tx, table).await?;
        }
        project_log(tx, progress).await?;
        let mut report = Vec::with_capacity(TABLES.len());
        for (table, before) in TABLES.iter().zip(before) {
            let after = store::rebuilding::fingerprint(tx, table).await?;
            report.push(RebuiltTable { table: table.name, rows_before: before.0, rows: after.0, is_same: after == before });
        }
        Ok(report)
    })
}

async fn project_log(tx: &TenantTx, progress: &SharedProgress) -> Result<(), MeteringError> {
    let total = store::rebuilding::count_events(tx).await?;
    progress.begin("counting events", total.cast_unsigned());
    let mut after = (String::new(), String::new());
    loop {
        let chunk = store::rebuilding::list_after(tx, (&after.0, &after.1), CHUNK).await?;
        let Some(last) = chunk.last() else { break };
        after = (last.source.clone(), last.id.clone());
        let corrections = corrections_of(tx, &names_of(&chunk)).await?;
        let mut projection = Projection::new(tx.customer().id, tx.customer().time_zone.clone());
        for event in &chunk {
            projection.mention(event.occurred_at, &event.fact()?);
            if let Some(counted) = corrections.counted_logged(event)? {
                projection.add(counted.source, counted.occurred_at, &counted.fact);
            }
        }
        apply(tx, projection, Corrected::Something).await?;
        progress.advance(chunk.len() as u64);
    }
    progress.end();
    Ok(())
}
