//! Looking into the log of usage events.

use granary_db::ToSql;
use granary_tenants::TenantTx;
use jiff::Timestamp;

use crate::error::MeteringError;
use crate::evidence::EvidenceFilter;
use crate::log::{EventFilter, LoggedEvent, SourceTally};

const LIST_EVENTS: &str = "
    select occurred_at, source, id, type, data
    from usage_events
    where occurred_at >= $1 and occurred_at < $2
        and ($3::text is null or type = $3)
        and ($4::text is null or $4 in (data ->> 'vendor_id', data -> 'machine' ->> 'vendor_id'))
    order by occurred_at, source, id
    limit $5";

/// Machines have no source: they are those of which it spoke.
const GET_TALLY: &str = "
    select
        (select count(*) from usage_events where source = $1) as events,
        (
            select count(*) from machines as machine
            where machine.protected_on is not null and exists (
                select from usage_events as event
                where event.source = $1 and event.type = 'machine.protected'
                    and event.data ->> 'source_system' = machine.source_system and event.data ->> 'vendor_id' = machine.vendor_id
            )
        ) as machines_protected,
        count(*) filter (where run.state in ('completed', 'completed_with_warning')) as runs_completed,
        count(*) filter (where run.state = 'failed') as runs_failed,
        least(coalesce(sum(run.transferred_bytes), 0), 9223372036854775807)::bigint as transferred_bytes
    from backup_runs as run
    where run.source = $1";

/// Returns what came of everything that a source has said.
pub(crate) async fn get_tally(tx: &TenantTx, source: &str) -> Result<SourceTally, MeteringError> {
    let row = tx.query_one(GET_TALLY, &[&source]).await?;
    Ok(SourceTally {
        events: row.get(0),
        machines_protected: row.get(1),
        runs_completed: row.get(2),
        runs_failed: row.get(3),
        transferred_bytes: row.get(4),
    })
}

/// Events by when they count. What counts in a month was hardly said before it, and said any time later; `$7` and the like are where
/// the page before ended.
const LIST_EVIDENCE: &str = "
    with counted as (
        select coalesce(data ->> 'ended_at', data ->> 'sampled_at', data ->> 'last_cycle_at', data ->> 'opened_at')::timestamptz as counts_at,
            occurred_at, source, id, type, data
        from usage_events
        where occurred_at >= $1::timestamptz - interval '1 day' and type = any ($3)
            and ($4::text is null or $4 in (data ->> 'vendor_id', data -> 'machine' ->> 'vendor_id'))
    )
    select occurred_at, source, id, type, data, coalesce(counts_at, occurred_at) as at
    from counted
    where coalesce(counts_at, occurred_at) >= $1 and coalesce(counts_at, occurred_at) < $2
        and ($5::timestamptz is null or (coalesce(counts_at, occurred_at), source, id) > ($5, $6, $7))
    order by at, source, id
    limit $8";

/// Returns a page of the events that count in a span, one more than asked for, each with when it counts.
pub(crate) async fn list_evidence(
    tx: &TenantTx,
    (start, end): (Timestamp, Timestamp),
    types: &[&str],
    filter: &EvidenceFilter,
) -> Result<Vec<(Timestamp, LoggedEvent)>, MeteringError> {
    let after = filter.after.as_ref();
    let (at, source, id) = (after.map(|after| after.at), after.map(|after| &after.source), after.map(|after| &after.id));
    let limit = i64::from(filter.limit) + 1;
    let params: [&(dyn ToSql + Sync); 8] = [&start, &end, &types, &filter.machine, &at, &source, &id, &limit];
    let rows = tx.query(LIST_EVIDENCE, &params).await?;
    let read = |row: &granary_db::Row| {
        let event = LoggedEvent { occurred_at: row.get(0), source: row.get(1), id: row.get(2), event_type: row.get(3), data: row.get(4) };
        (row.get(5), event)
    };
    Ok(rows.iter().map(read).collect())
}

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
