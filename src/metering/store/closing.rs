//! What is asked before and after a month is closed.

use granary_db::Row;
use granary_tenants::{MspTx, TenantTx};
use granary_types::{CustomerId, Period};
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

use crate::closing::{SuspectedPair, UsageCorrection};
use crate::error::MeteringError;
use crate::log::RefusedEvent;

/// When each source was heard last: what it said, and heartbeats.
const LIST_HEARD: &str = "
    select source, max(at) as at
    from (
        select source, max(last_at) as at from heartbeats where last_at <= $2 group by source
        union all
        select source, max(occurred_at) from usage_events where occurred_at between $1 and $2 group by source
    ) as heard
    group by source order by source";

const HOLDS_TIERS: &str = "
    select exists (select from tier_assignments where valid_from <= $2 and coalesce(valid_to, 'infinity') > $1)";

/// Open events of the month by the time that they give themselves, in any zone; without a usable time by when they came.
macro_rules! quarantined_of_month {
    ($columns:literal, $rest:literal) => {
        concat!(
            "select ",
            $columns,
            " from quarantined_events
            where accepted_at is null
                and case when event ->> 'time' ~ '^\\d{4}-\\d{2}-\\d{2}T' then left(event ->> 'time', 10) between $1 and $2
                    else received_at >= $3 and received_at < $4 end",
            $rest
        )
    };
}

const COUNT_QUARANTINED: &str = quarantined_of_month!("count(*)", "");
const LIST_QUARANTINED: &str =
    quarantined_of_month!("received_at, source, id, reason, event", " order by received_at, source, id, content_hash limit $5");

const LIST_PAIRS: &str = "
    with counted as (
        select machines.name, machines.source_system, machines.vendor_id
        from machines
        where replaced_by is null and exists (
            select from machine_days as days
            where days.machine_id = machines.id and days.billing_on between $1 and $2 and days.runs_completed + days.cycles_completed > 0)
    )
    select one.name, one.source_system, one.vendor_id, other.source_system, other.vendor_id
    from counted as one
    join counted as other on lower(other.name) = lower(one.name)
        and (other.source_system, other.vendor_id) > (one.source_system, one.vendor_id)
    order by 1, 2, 3, 4, 5
    limit 200";

/// A cursor, so that of a month of any size a few thousand events are in memory.
const OPEN_EVENTS: &str = "
    declare month_events no scroll cursor for
    select source, id, content_hash
    from usage_events
    where occurred_at >= $1 and occurred_at < $2 and received_at <= $3
    order by source collate \"C\", id collate \"C\"";
const FETCH_EVENTS: &str = "fetch 5000 from month_events";
const CLOSE_EVENTS: &str = "close month_events";

const DELETE_CORRECTIONS: &str = "delete from usage_corrections where customer_id = $1 and period = $2 and meter <> all ($3)";

const UPSERT_CORRECTION: &str = "
    insert into usage_corrections (customer_id, msp_id, period, meter, closed_quantity, now_quantity, found_at)
    select $1, $2, $3, given.meter, given.closed, given.now, $4
    from unnest($5::text[], $6::numeric[], $7::numeric[]) as given (meter, closed, now)
    on conflict (customer_id, period, meter) do update set now_quantity = excluded.now_quantity, found_at = excluded.found_at
        where usage_corrections.now_quantity <> excluded.now_quantity";

const LIST_CORRECTIONS: &str = "
    select k.customer_id, c.code, k.meter, k.closed_quantity, k.now_quantity, k.found_at
    from usage_corrections k join customers c on c.id = k.customer_id
    where k.msp_id = $1 and k.period = $2
    order by c.code, k.meter";

/// Returns when each source was heard last; events are looked for from an instant on, and nothing counts that lies ahead of another.
pub(crate) async fn list_heard(tx: &TenantTx, since: Timestamp, until: Timestamp) -> Result<Vec<(String, Timestamp)>, MeteringError> {
    Ok(tx.query(LIST_HEARD, &[&since, &until]).await?.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Tells whether a machine held a tier on one of the days.
pub(crate) async fn holds_tiers(tx: &TenantTx, first: Date, last: Date) -> Result<bool, MeteringError> {
    Ok(tx.query_one(HOLDS_TIERS, &[&first, &last]).await?.get(0))
}

/// Counts quarantined events that nobody has decided on.
pub(crate) async fn count_quarantined(
    tx: &TenantTx,
    (first, last): (Date, Date),
    (start, end): (Timestamp, Timestamp),
) -> Result<i64, MeteringError> {
    let (first, last) = (first.to_string(), last.to_string());
    Ok(tx.query_one(COUNT_QUARANTINED, &[&first, &last, &start, &end]).await?.get(0))
}

/// Lists quarantined events that nobody has decided on, as they came.
pub(crate) async fn list_quarantined(
    tx: &TenantTx,
    (first, last): (Date, Date),
    (start, end): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<RefusedEvent>, MeteringError> {
    let (first, last) = (first.to_string(), last.to_string());
    let read =
        |row: &Row| RefusedEvent { received_at: row.get(0), source: row.get(1), id: row.get(2), reason: row.get(3), event: row.get(4) };
    Ok(tx.query(LIST_QUARANTINED, &[&first, &last, &start, &end, &limit]).await?.iter().map(read).collect())
}

/// Lists pairs of counted machines with one name.
pub(crate) async fn list_pairs(tx: &TenantTx, first: Date, last: Date) -> Result<Vec<SuspectedPair>, MeteringError> {
    let read = |row: &Row| SuspectedPair { name: row.get(0), one: (row.get(1), row.get(2)), other: (row.get(3), row.get(4)) };
    Ok(tx.query(LIST_PAIRS, &[&first, &last]).await?.iter().map(read).collect())
}

/// Opens the cursor over a month's events that were here at an instant.
pub(crate) async fn open_events(tx: &TenantTx, span: (Timestamp, Timestamp), until: Timestamp) -> Result<(), MeteringError> {
    tx.execute(OPEN_EVENTS, &[&span.0, &span.1, &until]).await?;
    Ok(())
}

/// Returns the cursor's next events: source, id, content hash; none at the end.
pub(crate) async fn fetch_events(tx: &TenantTx) -> Result<Vec<Row>, MeteringError> {
    Ok(tx.query(FETCH_EVENTS, &[]).await?)
}

/// Closes the cursor.
pub(crate) async fn close_events(tx: &TenantTx) -> Result<(), MeteringError> {
    tx.execute(CLOSE_EVENTS, &[]).await?;
    Ok(())
}

/// Makes the differences of a customer's closed month these and no others.
pub(crate) async fn replace_corrections(
    tx: &MspTx,
    customer: CustomerId,
    period: Period,
    differing: &[(&str, Decimal, Decimal)],
) -> Result<(), MeteringError> {
    let period = period.to_string();
    let names: Vec<&str> = differing.iter().map(|(meter, _, _)| *meter).collect();
    let closed: Vec<Decimal> = differing.iter().map(|(_, closed, _)| *closed).collect();
    let now: Vec<Decimal> = differing.iter().map(|(_, _, now)| *now).collect();
    tx.execute(DELETE_CORRECTIONS, &[&customer, &period, &names]).await?;
    if !names.is_empty() {
        tx.execute(UPSERT_CORRECTION, &[&customer, &tx.msp().id, &period, &tx.now(), &names, &closed, &now]).await?;
    }
    Ok(())
}

/// Lists the differences of a closed period.
pub(crate) async fn list_corrections(tx: &MspTx, period: Period) -> Result<Vec<UsageCorrection>, MeteringError> {
    let read = |row: &Row| UsageCorrection {
        customer_id: row.get(0),
        customer_code: row.get(1),
        period,
        meter: row.get(2),
        closed: row.get::<_, Decimal>(3).normalize(),
        now: row.get::<_, Decimal>(4).normalize(),
        found_at: row.get(5),
    };
    Ok(tx.query(LIST_CORRECTIONS, &[&tx.msp().id, &period.to_string()]).await?.iter().map(read).collect())
}
