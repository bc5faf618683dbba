//! Skipped runs, restores, tickets, heartbeats and activity.

use std::borrow::Cow;

use granary_tenants::TenantTx;
use jiff::Timestamp;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::row::{Activity, ActivityKey, Heard, HeartbeatKey, HeartbeatSummary, Heartbeats, Restore, Skipped, SkippedKey, Ticket};

const LIST_SKIPPED: &str = "
    select stored.machine_id, stored.service_on, stored.reason, stored.is_excused
    from unnest($1::uuid[], $2::date[], $3::text[]) as given (machine_id, service_on, reason)
    join skipped_runs as stored
        on stored.machine_id = given.machine_id and stored.service_on = given.service_on and stored.reason = given.reason";

const UPSERT_SKIPPED: &str = "
    insert into skipped_runs (machine_id, service_on, reason, is_excused)
    select machine_id, service_on, reason, is_excused
    from unnest($1::uuid[], $2::date[], $3::text[], $4::boolean[]) as given (machine_id, service_on, reason, is_excused)
    on conflict (machine_id, service_on, reason) do update set is_excused = excluded.is_excused";

const LIST_RESTORES: &str = "
    select id, source, vendor_id, machine_id, kind, state, requested_at, ended_at, restored_bytes from restore_runs where id = any($1)";

const UPSERT_RESTORES: &str = "
    insert into restore_runs (id, source, vendor_id, machine_id, kind, state, requested_at, ended_at, duration_ms, restored_bytes)
    select id, source, vendor_id, machine_id, kind, state, requested_at, ended_at,
        greatest(0, extract(epoch from ended_at - requested_at) * 1000)::bigint, restored_bytes
    from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[], $9::bigint[])
        as given (id, source, vendor_id, machine_id, kind, state, requested_at, ended_at, restored_bytes)
    on conflict (id) do update set machine_id = excluded.machine_id, kind = excluded.kind, state = excluded.state,
        requested_at = excluded.requested_at, ended_at = excluded.ended_at, duration_ms = excluded.duration_ms,
        restored_bytes = excluded.restored_bytes";

const LIST_TICKETS: &str = "
    select id, source, vendor_id, priority, opened_at, answered_at, closed_at, rated_at, rating from tickets where id = any($1)";

const UPSERT_TICKETS: &str = "
    insert into tickets (id, source, vendor_id, priority, opened_at, answered_at, closed_at, rated_at, rating)
    select id, source, vendor_id, priority, opened_at, answered_at, closed_at, rated_at, rating
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
        $9::int[])
        as given (id, source, vendor_id, priority, opened_at, answered_at, closed_at, rated_at, rating)
    on conflict (id) do update set priority = excluded.priority, opened_at = excluded.opened_at, answered_at = excluded.answered_at,
        closed_at = excluded.closed_at, rated_at = excluded.rated_at, rating = excluded.rating";

const LIST_HEARTBEATS: &str = "
    select stored.source, stored.service_on, stored.last_at, stored.received, stored.expected, stored.heard, stored.heard_at, stored.summary_at
    from unnest($1::text[], $2::date[]) as given (source, service_on)
    join heartbeats as stored on stored.source = given.source and stored.service_on = given.service_on";

const UPSERT_HEARTBEATS: &str = "
    insert into heartbeats (source, service_on, last_at, received, expected, heard, heard_at, summary_at)
    select source, service_on, last_at, received, expected, heard, heard_at, summary_at
    from unnest($1::text[], $2::date[], $3::timestamptz[], $4::int[], $5::int[], $6::bytea[], $7::timestamptz[], $8::timestamptz[])
        as given (source, service_on, last_at, received, expected, heard, heard_at, summary_at)
    on conflict (source, service_on) do update set last_at = excluded.last_at, received = excluded.received, expected = excluded.expected,
        heard = excluded.heard, heard_at = excluded.heard_at, summary_at = excluded.summary_at";

const LIST_ACTIVITY: &str = "
    select stored.source, stored.service_on, stored.kind, stored.amount, coalesce(stored.single_amount, 0)
    from unnest($1::text[], $2::date[], $3::text[]) as given (source, service_on, kind)
    join activity as stored on stored.source = given.source and stored.service_on = given.service_on and stored.kind = given.kind";

const UPSERT_ACTIVITY: &str = "
    insert into activity (source, service_on, kind, amount, single_amount)
    select source, service_on, kind, amount, single_amount
    from unnest($1::text[], $2::date[], $3::text[], $4::bigint[], $5::bigint[]) as given (source, service_on, kind, amount, single_amount)
    on conflict (service_on, kind, source) do update set amount = excluded.amount, single_amount = excluded.single_amount";

/// Returns the stored rows of skipped runs.
pub(crate) async fn list_skipped(tx: &TenantTx, keys: &[&SkippedKey<'_>]) -> Result<Vec<(SkippedKey<'static>, Skipped)>, MeteringError> {
    let machines = column(keys, |(machine, ..)| *machine);
    let days = column(keys, |(_, day, _)| *day);
    let reasons = column(keys, |(.., reason)| &**reason);
    let rows = tx.query(LIST_SKIPPED, &[&machines, &days, &reasons]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1), Cow::Owned(row.get(2))), Skipped { is_excused: row.get(3) })).collect())
}

/// Writes skipped runs.
pub(crate) async fn upsert_skipped(tx: &TenantTx, rows: &[(&SkippedKey<'_>, &Skipped)]) -> Result<(), MeteringError> {
    let machines = column(rows, |((machine, ..), _)| *machine);
    let days = column(rows, |((_, day, _), _)| *day);
    let reasons = column(rows, |((.., reason), _)| &**reason);
    let excused = column(rows, |(_, row)| row.is_excused);
    tx.execute(UPSERT_SKIPPED, &[&machines, &days, &reasons, &excused]).await?;
    Ok(())
}

/// Returns the stored rows of restores.
pub(crate) async fn list_restores(tx: &TenantTx, ids: &[&Uuid]) -> Result<Vec<(Uuid, Restore<'static>)>, MeteringError> {
    let rows = tx.query(LIST_RESTORES, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let restore = Restore {
            source: Cow::Owned(row.get(1)),
            vendor_id: Cow::Owned(row.get(2)),
            machine_id: row.get(3),
            kind: Cow::Owned(row.get(4)),
            state: Cow::Owned(row.get(5)),
            requested_at: row.get(6),
            ended_at: row.get(7),
            restored_bytes: row.get(8),
        };
        (row.get(0), restore)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes restores.
pub(crate) async fn upsert_restores(tx: &TenantTx, rows: &[(&Uuid, &Restore<'_>)]) -> Result<(), MeteringError> {
    let ids = column(rows, |(id, _)| **id);
    let sources = column(rows, |(_, row)| &*row.source);
    let vendor_ids = column(rows, |(_, row)| &*row.vendor_id);
    let machines = column(rows, |(_, row)| row.machine_id);
    let kinds = column(rows, |(_, row)| &*row.kind);
    let states = column(rows, |(_, row)| &*row.state);
    let requested_at = column(rows, |(_, row)| row.requested_at);
    let ended_at = column(rows, |(_, row)| row.ended_at);
    let restored = column(rows, |(_, row)| row.restored_bytes);
    tx.execute(UPSERT_RESTORES, &[&ids, &sources, &vendor_ids, &machines, &kinds, &states, &requested_at, &ended_at, &restored]).await?;
    Ok(())
}

/// Returns the stored rows of tickets.
pub(crate) async fn list_tickets(tx: &TenantTx, ids: &[&Uuid]) -> Result<Vec<(Uuid, Ticket<'static>)>, MeteringError> {
    let rows = tx.query(LIST_TICKETS, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let ticket = Ticket {
            source: Cow::Owned(row.get(1)),
            vendor_id: Cow::Owned(row.get(2)),
            priority: Cow::Owned(row.get(3)),
            opened_at: row.get(4),
            answered_at: row.get(5),
            closed_at: row.get(6),
            rated_at: row.get(7),
            rating: row.get(8),
        };
        (row.get(0), ticket)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes tickets.
pub(crate) async fn upsert_tickets(tx: &TenantTx, rows: &[(&Uuid, &Ticket<'_>)]) -> Result<(), MeteringError> {
    let ids = column(rows, |(id, _)| **id);
    let sources = column(rows, |(_, row)| &*row.source);
    let vendor_ids = column(rows, |(_, row)| &*row.vendor_id);
    let priorities = column(rows, |(_, row)| &*row.priority);
    let opened_at = column(rows, |(_, row)| row.opened_at);
    let answered_at = column(rows, |(_, row)| row.answered_at);
    let closed_at = column(rows, |(_, row)| row.closed_at);
    let rated_at = column(rows, |(_, row)| row.rated_at);
    let ratings = column(rows, |(_, row)| row.rating);
    tx.execute(UPSERT_TICKETS, &[&ids, &sources, &vendor_ids, &priorities, &opened_at, &answered_at, &closed_at, &rated_at, &ratings])
        .await?;
    Ok(())
}

/// Returns the stored days of heartbeats.
pub(crate) async fn list_heartbeats(
    tx: &TenantTx,
    keys: &[&HeartbeatKey<'_>],
) -> Result<Vec<(HeartbeatKey<'static>, Heartbeats)>, MeteringError> {
    let sources = column(keys, |(source, _)| &**source);
    let days = column(keys, |(_, day)| *day);
    let rows = tx.query(LIST_HEARTBEATS, &[&sources, &days]).await?;
    rows.iter().map(heartbeats).collect()
}

/// What a source adds up has no quarters, or an instant of its own.
fn heartbeats(row: &granary_db::Row) -> Result<(HeartbeatKey<'static>, Heartbeats), MeteringError> {
    let summary = |last_at| HeartbeatSummary { last_at, received: row.get(3), expected: row.get(4) };
    let heard = match (row.get::<_, Option<&[u8]>>(5), row.get::<_, Option<Timestamp>>(6)) {
        (Some(quarters), Some(last_at)) => {
            let quarters = quarters.try_into().map_err(|_| MeteringError::Corrupt("a day's quarters are not 16 bytes long".to_owned()))?;
            Some(Heard { last_at, quarters: u128::from_be_bytes(quarters) })
        }
        _ => None,
    };
    let summary = if heard.is_none() { Some(summary(row.get(2))) } else { row.get::<_, Option<Timestamp>>(7).map(summary) };
    Ok(((Cow::Owned(row.get(0)), row.get(1)), Heartbeats { summary, heard }))
}

/// Writes days of heartbeats, each with what counts.
pub(crate) async fn upsert_heartbeats(tx: &TenantTx, rows: &[(&HeartbeatKey<'_>, &Heartbeats)]) -> Result<(), MeteringError> {
    let zone = &tx.customer().time_zone;
    let counted = column(rows, |((_, day), row)| row.counted(*day, zone));
    let sources = column(rows, |((source, _), _)| &**source);
    let days = column(rows, |((_, day), _)| *day);
    let last_at = column(&counted, |row| row.last_at);
    let received = column(&counted, |row| row.received);
    let expected = column(&counted, |row| row.expected);
    let heard = column(rows, |(_, row)| row.heard.map(|heard| heard.quarters.to_be_bytes().to_vec()));
    let heard_at = column(rows, |(_, row)| row.heard.map(|heard| heard.last_at));
    let summary_at = column(rows, |(_, row)| row.summary.map(|summary| summary.last_at));
    tx.execute(UPSERT_HEARTBEATS, &[&sources, &days, &last_at, &received, &expected, &heard, &heard_at, &summary_at]).await?;
    Ok(())
}

/// Returns the stored days of activity.
pub(crate) async fn list_activity(
    tx: &TenantTx,
    keys: &[&ActivityKey<'_>],
) -> Result<Vec<(ActivityKey<'static>, Activity)>, MeteringError> {
    let sources = column(keys, |(source, ..)| &**source);
    let days = column(keys, |(_, day, _)| *day);
    let kinds = column(keys, |(.., kind)| &**kind);
    let rows = tx.query(LIST_ACTIVITY, &[&sources, &days, &kinds]).await?;
    let read = |row: &granary_db::Row| {
        ((Cow::Owned(row.get(0)), row.get(1), Cow::Owned(row.get(2))), Activity { amount: row.get(3), single: row.get(4) })
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes days of activity.
pub(crate) async fn upsert_activity(tx: &TenantTx, rows: &[(&ActivityKey<'_>, &Activity)]) -> Result<(), MeteringError> {
    let sources = column(rows, |((source, ..), _)| &**source);
    let days = column(rows, |((_, day, _), _)| *day);
    let kinds = column(rows, |((.., kind), _)| &**kind);
    let amounts = column(rows, |(_, row)| row.amount);
    let single = column(rows, |(_, row)| row.single);
    tx.execute(UPSERT_ACTIVITY, &[&sources, &days, &kinds, &amounts, &single]).await?;
    Ok(())
}
