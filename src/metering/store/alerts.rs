//! The control projection of alerts, and when each customer is looked at next.

use granary_db::{Row, ToSql};
use granary_tenants::MspTx;
use granary_types::{AlertId, AlertSeverity, AlertState, CustomerId};
use jiff::Timestamp;

use crate::alert::{Alert, AlertFilter, ListedAlert};
use crate::error::MeteringError;

const LIST_LIVE: &str = "
    select id, customer_id, kind, subject, name, severity, state, words, raised_at, changed_at, changed_by, reason, snoozed_until, clear_since,
        resolved_at, muted_until
    from alerts
    where customer_id = $1 and (state <> 'resolved' or muted_until > $2)
    order by state = 'resolved', raised_at
    for update";

const INSERT: &str = "
    insert into alerts (id, msp_id, customer_id, kind, subject, name, severity, state, words, raised_at, changed_at, changed_by)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const UNMUTE: &str = "
    update alerts set muted_until = null where customer_id = $1 and kind = $2 and subject = $3 and muted_until is not null";

const UPDATE: &str = "
    update alerts
    set name = $2, severity = $3, state = $4, words = $5, changed_at = $6, changed_by = $7, reason = $8, snoozed_until = $9,
        clear_since = $10, resolved_at = $11, muted_until = $12
    where id = $1";

/// The most urgent first, and of those the latest; `$6` to `$8` are the place of the last one seen.
const LIST: &str = "
    select alerts.id, alerts.customer_id, alerts.kind, alerts.subject, alerts.name, alerts.severity, alerts.state, alerts.words,
        alerts.raised_at, alerts.changed_at, alerts.changed_by, alerts.reason, alerts.snoozed_until, alerts.clear_since, alerts.resolved_at,
        alerts.muted_until, customers.code, customers.name
    from alerts join customers on customers.id = alerts.customer_id
    where alerts.msp_id = $1 and alerts.state = any($2) and ($3::text is null or alerts.severity = $3)
        and ($4::uuid[] is null or alerts.customer_id = any($4)) and ($5::uuid is null or alerts.id = $5)
        and ($6::int is null or (array_position(array['info', 'warning', 'critical'], alerts.severity), alerts.raised_at, alerts.id) < ($6, $7, $8))
    order by array_position(array['info', 'warning', 'critical'], alerts.severity) desc, alerts.raised_at desc, alerts.id desc
    limit $9";

const LOCK: &str = "select from alerts where msp_id = $1 and id = $2 for update";

const COUNT: &str = "
    select severity, count(*) from alerts
    where msp_id = $1 and state in ('open', 'escalated') and ($2::uuid[] is null or customer_id = any($2))
    group by severity";

const RESOLVE_LEFT: &str = "
    update alerts
    set state = 'resolved', changed_at = $2, changed_by = 'system:alerts', reason = 'the customer has left', snoozed_until = null,
        resolved_at = $2
    from customers
    where alerts.msp_id = $1 and alerts.state <> 'resolved' and customers.id = alerts.customer_id and customers.status in ('closed', 'erased')";

const LIST_DUE: &str = "
    select customers.id
    from customers left join alert_watches as watches on watches.customer_id = customers.id
    where customers.msp_id = $1 and customers.status in ('trial', 'active', 'suspended') and coalesce(watches.due_at, '-infinity') <= $2
    order by watches.due_at nulls first, customers.id
    limit $3";

const UPSERT_WATCH: &str = "
    insert into alert_watches (customer_id, msp_id, due_at, looked_at) values ($1, $2, $3, $4)
    on conflict (customer_id) do update set due_at = excluded.due_at, looked_at = coalesce(excluded.looked_at, alert_watches.looked_at)";

/// The most of the last minutes, and whoever uses much is looked at at once.
const UPSERT_API_USE: &str = "
    insert into alert_watches (customer_id, msp_id, due_at, api_percent, api_at) values ($1, $2, $4, $3, $4)
    on conflict (customer_id) do update
    set api_percent = greatest(excluded.api_percent, case when alert_watches.api_at > $5 then alert_watches.api_percent end),
        api_at = excluded.api_at, due_at = least(alert_watches.due_at, excluded.due_at)";

const FIND_API_PERCENT: &str = "select api_percent from alert_watches where customer_id = $1 and api_at > $2";

const BRING_FORWARD: &str = "update alert_watches set due_at = $2 where customer_id = $1 and due_at > $2";

fn read(row: &Row) -> Result<Alert, MeteringError> {
    let get = |error: granary_db::RowError| MeteringError::Corrupt(error.to_string());
    Ok(Alert {
        id: row.get(0),
        customer_id: row.get(1),
        kind: row.try_get(2).map_err(get)?,
        subject: row.get(3),
        name: row.get(4),
        severity: row.try_get(5).map_err(get)?,
        state: row.try_get(6).map_err(get)?,
        words: row.get(7),
        raised_at: row.get(8),
        changed_at: row.get(9),
        changed_by: row.get(10),
        reason: row.get(11),
        snoozed_until: row.get(12),
        clear_since: row.get(13),
        resolved_at: row.get(14),
        muted_until: row.get(15),
    })
}

/// Locks and returns a customer's alerts that are not resolved, then those that are muted.
pub(crate) async fn lock_live(tx: &MspTx, customer: CustomerId) -> Result<Vec<Alert>, MeteringError> {
    tx.query(LIST_LIVE, &[&customer, &tx.now()]).await?.iter().map(read).collect()
}

/// Inserts a new alert; what was muted of its subject counts no longer.
pub(crate) async fn insert(tx: &MspTx, alert: &Alert) -> Result<(), MeteringError> {
    tx.execute(UNMUTE, &[&alert.customer_id, &alert.kind, &alert.subject]).await?;
    let params: [&(dyn ToSql + Sync); 12] = [
        &alert.id,
        &tx.msp().id,
        &alert.customer_id,
        &alert.kind,
        &alert.subject,
        &alert.name,
        &alert.severity,
        &alert.state,
        &alert.words,
        &alert.raised_at,
        &alert.changed_at,
        &alert.changed_by,
    ];
    tx.execute(INSERT, &params).await?;
    Ok(())
}

/// Writes what may change of an alert.
pub(crate) async fn update(tx: &MspTx, alert: &Alert) -> Result<(), MeteringError> {
    let params: [&(dyn ToSql + Sync); 12] = [
        &alert.id,
        &alert.name,
        &alert.severity,
        &alert.state,
        &alert.words,
        &alert.changed_at,
        &alert.changed_by,
        &alert.reason,
        &alert.snoozed_until,
        &alert.clear_since,
        &alert.resolved_at,
        &alert.muted_until,
    ];
    tx.execute(UPDATE, &params).await?;
    Ok(())
}

/// Lists alerts of some customers, or of all.
pub(crate) async fn list(
    tx: &MspTx,
    customers: Option<&[CustomerId]>,
    filter: &AlertFilter,
    limit: i64,
) -> Result<Vec<ListedAlert>, MeteringError> {
    let states: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
    let rank = filter.after.map(|place| place.severity as i32 + 1);
    let (raised_at, id) = (filter.after.map(|place| place.raised_at), filter.after.map(|place| place.id));
    let params: [&(dyn ToSql + Sync); 9] =
        [&tx.msp().id, &states, &filter.severity, &customers, &filter.id, &rank, &raised_at, &id, &limit];
    let listed = |row: &Row| {
        let code: &str = row.get(16);
        let customer_code = code.parse().map_err(|_| MeteringError::Corrupt(format!("'{code}' is not a customer's code")))?;
        Ok(ListedAlert { alert: read(row)?, customer_code, customer_name: row.get(17) })
    };
    tx.query(LIST, &params).await?.iter().map(listed).collect()
}

/// Locks an alert until the transaction ends.
pub(crate) async fn lock(tx: &MspTx, id: AlertId) -> Result<(), MeteringError> {
    tx.query(LOCK, &[&tx.msp().id, &id]).await?;
    Ok(())
}

/// Counts what nobody has taken, by severity.
pub(crate) async fn count(tx: &MspTx, customers: Option<&[CustomerId]>) -> Result<Vec<(AlertSeverity, i64)>, MeteringError> {
    let rows = tx.query(COUNT, &[&tx.msp().id, &customers]).await?;
    let get = |error: granary_db::RowError| MeteringError::Corrupt(error.to_string());
    rows.iter().map(|row| Ok((row.try_get(0).map_err(get)?, row.get(1)))).collect()
}

/// Resolves the alerts of customers that have left.
pub(crate) async fn resolve_left(tx: &MspTx) -> Result<u64, MeteringError> {
    Ok(tx.execute(RESOLVE_LEFT, &[&tx.msp().id, &tx.now()]).await?)
}

/// Returns customers that are to be looked at by an instant, those first that wait longest.
pub(crate) async fn list_due(tx: &MspTx, by: Timestamp, limit: i64) -> Result<Vec<CustomerId>, MeteringError> {
    Ok(tx.query(LIST_DUE, &[&tx.msp().id, &by, &limit]).await?.iter().map(|row| row.get(0)).collect())
}

/// Says when a customer is looked at next, and when it was.
pub(crate) async fn upsert_watch(
    tx: &MspTx,
    customer: CustomerId,
    due_at: Timestamp,
    looked_at: Option<Timestamp>,
) -> Result<(), MeteringError> {
    tx.execute(UPSERT_WATCH, &[&customer, &tx.msp().id, &due_at, &looked_at]).await?;
    Ok(())
}

/// Writes down how much of its rate a customer used; what was seen before `since` counts no longer.
pub(crate) async fn upsert_api_use(tx: &MspTx, customer: CustomerId, percent: i32, since: Timestamp) -> Result<(), MeteringError> {
    tx.execute(UPSERT_API_USE, &[&customer, &tx.msp().id, &percent, &tx.now(), &since]).await?;
    Ok(())
}

/// Returns how much of its rate a customer used at most since an instant.
pub(crate) async fn find_api_percent(tx: &MspTx, customer: CustomerId, since: Timestamp) -> Result<Option<i64>, MeteringError> {
    let row = tx.query_opt(FIND_API_PERCENT, &[&customer, &since]).await?;
    Ok(row.and_then(|row| row.get::<_, Option<i32>>(0)).map(Into::into))
}

/// Has a customer looked at by an instant, if it was to be later.
pub(crate) async fn bring_forward(tx: &MspTx, customer: CustomerId, due_at: Timestamp) -> Result<(), MeteringError> {
    tx.execute(BRING_FORWARD, &[&customer, &due_at]).await?;
    Ok(())
}

/// The states in which an alert still asks for something.
pub(crate) const LIVE: [AlertState; 4] = [AlertState::Open, AlertState::Acknowledged, AlertState::Snoozed, AlertState::Escalated];
