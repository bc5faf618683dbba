//! Looking into the log of usage events.

use granary_tenants::TenantTx;

use crate::error::MeteringError;
use crate::log::{EventFilter, LoggedEvent};

const LIST_EVENTS: &str = "
    select occurred_at, source, id, type, data
    from usage_events
    where occurred_at >= $1 and occurred_at < $2
        and ($3::text is null or type = $3)
        and ($4::text is null or $4 in (data ->> 'vendor_id', data -> 'machine' ->> 'vendor_id'))
    order by occurred_at, source, id
    limit $5";

/// Returns the events that a filter lets through.
pub(crate) async fn list_events(tx: &TenantTx, filter: &EventFilter) -> Result<Vec<LoggedEvent>, MeteringError> {
    let zone = &tx.msp().time_zone;
    let span = (filter.period.start_at(zone), filter.period.end_at(zone));
    let rows = tx.query(LIST_EVENTS, &[&span.0, &span.1, &filter.event_type, &filter.vendor_id, &filter.limit]).await?;
    Ok(rows
        .iter()
        .map(|row| LoggedEvent { occurred_at: row.get(0), source: row.get(1), id: row.get(2), event_type: row.get(3), data: row.get(4) })
        .collect())
}
