//! Looking into the log of usage events.

use granary_db::ToSql;
use granary_tenants::TenantTx;
use jiff::Timestamp;

use crate::error::MeteringError;
use crate::evidence::{EventCursor, Wanted};
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

/// Events by when they count, amendments by what they say. What counts in a month was hardly said long before it, and said any time
/// later. A run counts when it ended as a whole, with all of its events. Instants are written in more ways than Postgres reads.
const LIST_EVIDENCE: &str = "
    with told as not materialized (
        select occurred_at, source, id, type, data, type as says, data as said
        from usage_events
        where occurred_at >= $1::timestamptz - interval '31 days' and type = any ($3)
        union all
        select occurred_at, source, id, type, data, data ->> 'type', data -> 'data'
        from usage_events
        where type like 'event.%' and type = 'event.amended' and data ->> 'type' = any ($3)
    ),
    runs as (
        select source, vendor_id, ended_at
        from backup_runs
        where billing_on between $9 and $10 and state = any ($11) and (not $12 or transferred_bytes > 0)
    ),
    counted as (
        select runs.ended_at as at, told.occurred_at, told.source, told.id, told.type, told.data, told.said
        from told join runs on runs.source = told.source and runs.vendor_id = told.said ->> 'run_id'
        where told.says like 'backup.%'
        union all
        select case when counts_at ~* '^[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]+)?(z|[+-][0-9]{2}:[0-9]{2})$'
            then counts_at::timestamptz else occurred_at end, occurred_at, source, id, type, data, said
        from (
            select told.*, coalesce(said ->> 'ended_at', said ->> 'sampled_at', said ->> 'last_cycle_at', said ->> 'opened_at') as counts_at
            from told where says not like 'backup.%'
        ) as others
        where not (says = 'replication.summary' and said ->> 'cycles_completed' = '0')
    )
    select occurred_at, source, id, type, data, at
    from counted
    where at >= $1 and at < $2
        and ($4::text is null or $4 in (said ->> 'vendor_id', said -> 'machine' ->> 'vendor_id'))
        and ($5::timestamptz is null or (at, source, id) > ($5, $6, $7))
    order by at, source, id
    limit $8";

/// Returns the events that may be behind a number, each with when it counts; from where a page before ended.
pub(crate) async fn list_evidence(
    tx: &TenantTx,
    wanted: &Wanted<'_>,
    after: Option<&EventCursor>,
) -> Result<Vec<(Timestamp, LoggedEvent)>, MeteringError> {
    let (at, source, id) = (after.map(|after| after.at), after.map(|after| &after.source), after.map(|after| &after.id));
    let Wanted { span, days, types, run_states, has_bytes, machine, limit } = wanted;
    let params: [&(dyn ToSql + Sync); 12] =
        [&span.0, &span.1, types, machine, &at, &source, &id, limit, &days.0, &days.1, run_states, has_bytes];
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
