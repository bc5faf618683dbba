//! The control projections: periods and customer months.

use granary_db::ToSql;
use granary_tenants::MspTx;
use granary_types::{CustomerId, Period};
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::closing::ClosedSeal;
use crate::error::MeteringError;
use crate::period::{CustomerMonth, PeriodProgress, PeriodState};
use crate::recommendation::MonthFacts;
use crate::usage::PeriodUsage;

const FIND_PERIOD: &str = "select state from periods where msp_id = $1 and period = $2";

const UPSERT_PERIOD: &str = "
    insert into periods (msp_id, period, state, closed_at, closed_by) values ($1, $2, $3, $4, $5)
    on conflict (msp_id, period) do update set state = excluded.state, closed_at = excluded.closed_at, closed_by = excluded.closed_by
        where periods.state <> 'closed'";

const MARK_DRAFTED: &str = "
    insert into periods (msp_id, period, state, drafted_at, drafted_by) values ($1, $2, 'drafted', $3, $4)
    on conflict (msp_id, period) do update set state = 'drafted', drafted_at = excluded.drafted_at,
        -- the house drafts what somebody edited: that stays somebody's work
        drafted_by = case when excluded.drafted_by like 'system:%' then coalesce(periods.drafted_by, excluded.drafted_by)
            else excluded.drafted_by end
        where periods.state <> 'closed'";

const MARK_APPROVED: &str = "update periods set approved_at = $3, approved_by = $4 where msp_id = $1 and period = $2 and state = 'drafted'";

const FIND_PROGRESS: &str = "
    select state, drafted_at, drafted_by, approved_at, approved_by, closed_at, closed_by from periods where msp_id = $1 and period = $2";

const LIST_CLOSED: &str = "select customer_id from customer_months where msp_id = $1 and period = $2 and is_closed";

/// A row is one process's sum of a day: it only becomes larger. Whoever was erased meanwhile has no calls any more.
const UPSERT_API_CALLS: &str = "
    insert into api_calls (customer_id, msp_id, billing_on, process_id, calls)
    select c.id, $1, given.billing_on, $2, given.calls
    from unnest($3::uuid[], $4::date[], $5::bigint[]) as given (customer_id, billing_on, calls)
    join customers c on c.id = given.customer_id and c.status <> 'erased'
    on conflict (customer_id, billing_on, process_id) do update set calls = greatest(api_calls.calls, excluded.calls)";

/// Closed months of a customer, the latest first.
const LIST_CLOSED_MONTHS: &str = "
    select period, closed_usage from customer_months
    where customer_id = $1 and is_closed and closed_usage is not null order by period desc limit $2";

const FIND_CLOSED: &str = "
    select closed_usage, events_hash, updated_at from customer_months
    where customer_id = $1 and period = $2 and is_closed and closed_usage is not null";

const COUNT_API_CALLS: &str =
    "select coalesce(sum(calls), 0)::bigint from api_calls where customer_id = $1 and billing_on between $2 and $3";

const LOCK_PERIOD: &str = "select state from periods where msp_id = $1 and period = $2 for update";

const UPSERT_MONTH: &str = "
    insert into customer_months (msp_id, customer_id, period, machines_backup, machines_enterprise, machines_replication, runs_completed,
        runs_with_warning, runs_failed, transferred_bytes, stored_bytes_average, restores_completed, tickets_opened, api_calls,
        is_estimated, is_closed, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, false, $16)
    on conflict (customer_id, period) do update set machines_backup = excluded.machines_backup,
        machines_enterprise = excluded.machines_enterprise, machines_replication = excluded.machines_replication,
        runs_completed = excluded.runs_completed, runs_with_warning = excluded.runs_with_warning, runs_failed = excluded.runs_failed,
        transferred_bytes = excluded.transferred_bytes, stored_bytes_average = excluded.stored_bytes_average,
        restores_completed = excluded.restores_completed, tickets_opened = excluded.tickets_opened, api_calls = excluded.api_calls,
        is_estimated = excluded.is_estimated, updated_at = excluded.updated_at
        where not customer_months.is_closed
            and (customer_months.machines_backup, customer_months.machines_enterprise, customer_months.machines_replication,
                    customer_months.runs_completed, customer_months.runs_with_warning, customer_months.runs_failed,
                    customer_months.transferred_bytes, customer_months.stored_bytes_average, customer_months.restores_completed,
                    customer_months.tickets_opened, customer_months.api_calls, customer_months.is_estimated)
                is distinct from (excluded.machines_backup, excluded.machines_enterprise, excluded.machines_replication,
                    excluded.runs_completed, excluded.runs_with_warning, excluded.runs_failed, excluded.transferred_bytes,
                    excluded.stored_bytes_average, excluded.restores_completed, excluded.tickets_opened, excluded.api_calls,
                    excluded.is_estimated)";

const CLOSE_MONTH: &str = "
    update customer_months set is_closed = true, events_hash = $3, events_count = $4, closed_usage = $5, updated_at = $6
    where customer_id = $1 and period = $2 and not is_closed";

const LIST_MONTHS: &str = "
    select customer_id, period, machines_backup, machines_enterprise, machines_replication, runs_completed, runs_with_warning, runs_failed,
        transferred_bytes, stored_bytes_average, restores_completed, tickets_opened, api_calls, is_estimated, is_closed, events_hash, events_count
    from customer_months where msp_id = $1 and period = $2 order by customer_id";

/// Months beside the limits that held on their last day, of customers whose contract covers the month.
const LIST_MONTHS_WITH_LIMITS: &str = "
    select customers.code, customers.name, months.machines_backup + months.machines_enterprise + months.machines_replication,
        months.stored_bytes_average, months.is_estimated, limits.machine_limit, limits.storage_limit_gib
    from customer_months as months
    join customers on customers.id = months.customer_id and customers.status in ('active', 'suspended')
    join contracts on contracts.customer_id = months.customer_id and contracts.starts_on <= $3
        and (contracts.ends_on is null or contracts.ends_on >= $4)
    cross join lateral (
        select machine_limit, storage_limit_gib from contract_limits
        where contract_id = contracts.id
        order by valid_from <= $4 desc, case when valid_from <= $4 then valid_from end desc, valid_from
        limit 1
    ) as limits
    where months.msp_id = $1 and months.period = $2 and ($5::uuid[] is null or months.customer_id = any($5))
    order by customers.code";

/// Every period that was ever written, or in which a customer has a month.
const LIST_KNOWN_PERIODS: &str = "
    select period, coalesce(bool_or(state = 'closed'), false)
    from (
        select period, state from periods where msp_id = $1
        union all
        select distinct period, null from customer_months where msp_id = $1
    ) as known
    group by period";

fn state(row: &granary_db::Row) -> Result<PeriodState, MeteringError> {
    let text: &str = row.get(0);
    text.parse()
}

/// Returns the state of a period, if it was ever written.
pub(crate) async fn find_period(tx: &MspTx, period: Period) -> Result<Option<PeriodState>, MeteringError> {
    let row = tx.query_opt(FIND_PERIOD, &[&tx.msp().id, &period.to_string()]).await?;
    row.as_ref().map(state).transpose()
}

/// Locks a period until the transaction ends, and returns its state.
pub(crate) async fn lock_period(tx: &MspTx, period: Period) -> Result<Option<PeriodState>, MeteringError> {
    let row = tx.query_opt(LOCK_PERIOD, &[&tx.msp().id, &period.to_string()]).await?;
    row.as_ref().map(state).transpose()
}

/// Lists the periods that are known, and which of them are closed.
pub(crate) async fn list_known_periods(tx: &MspTx) -> Result<Vec<(Period, bool)>, MeteringError> {
    let rows = tx.query(LIST_KNOWN_PERIODS, &[&tx.msp().id]).await?;
    let read = |row: &granary_db::Row| {
        let text: &str = row.get(0);
        let period = text.parse().map_err(|_| MeteringError::Corrupt(format!("'{text}' is not a period")))?;
        Ok((period, row.get(1)))
    };
    rows.iter().map(read).collect()
}

/// Writes the state of a period; a closed one stays closed.
pub(crate) async fn upsert_period(
    tx: &MspTx,
    period: Period,
    state: PeriodState,
    closed: Option<(Timestamp, &str)>,
) -> Result<(), MeteringError> {
    let (closed_at, closed_by) = (closed.map(|(at, _)| at), closed.map(|(_, by)| by));
    tx.execute(UPSERT_PERIOD, &[&tx.msp().id, &period.to_string(), &state.as_str(), &closed_at, &closed_by]).await?;
    Ok(())
}

/// Writes a customer's month, unless it is closed or says so already.
pub(crate) async fn upsert_month(tx: &MspTx, customer: CustomerId, usage: &PeriodUsage) -> Result<(), MeteringError> {
    let (period, now) = (usage.period.to_string(), tx.now());
    let [backup, enterprise, replication] = usage.whole_machines();
    let params: [&(dyn ToSql + Sync); 16] = [
        &tx.msp().id,
        &customer,
        &period,
        &backup,
        &enterprise,
        &replication,
        &usage.runs_completed,
        &usage.runs_with_warning,
        &usage.runs_failed,
        &usage.transferred_bytes,
        &usage.stored_bytes_average,
        &usage.restores_completed,
        &usage.tickets_opened,
        &usage.api_calls,
        &usage.is_estimated,
        &now,
    ];
    tx.execute(UPSERT_MONTH, &params).await?;
    Ok(())
}

/// Closes a customer's month with the hash and the number of its events and all that was measured; false when it was closed.
pub(crate) async fn close_month(
    tx: &MspTx,
    customer: CustomerId,
    period: Period,
    (events_hash, events_count): (&str, i64),
    usage: &serde_json::Value,
) -> Result<bool, MeteringError> {
    let params: [&(dyn ToSql + Sync); 6] = [&customer, &period.to_string(), &events_hash, &events_count, usage, &tx.now()];
    Ok(tx.execute(CLOSE_MONTH, &params).await? == 1)
}

/// Notes who drafted a period; a closed one stays as it is.
pub(crate) async fn mark_drafted(tx: &MspTx, period: Period) -> Result<(), MeteringError> {
    tx.execute(MARK_DRAFTED, &[&tx.msp().id, &period.to_string(), &tx.now(), &tx.actor().to_string()]).await?;
    Ok(())
}

/// Notes who approved a drafted period; false when it is none.
pub(crate) async fn mark_approved(tx: &MspTx, period: Period) -> Result<bool, MeteringError> {
    Ok(tx.execute(MARK_APPROVED, &[&tx.msp().id, &period.to_string(), &tx.now(), &tx.actor().to_string()]).await? == 1)
}

/// Returns how far a period is; an open one when it was never touched.
pub(crate) async fn find_progress(tx: &MspTx, period: Period) -> Result<PeriodProgress, MeteringError> {
    let row = tx.query_opt(FIND_PROGRESS, &[&tx.msp().id, &period.to_string()]).await?;
    row.as_ref().map_or_else(
        || Ok(PeriodProgress::default()),
        |row| {
            Ok(PeriodProgress {
                state: state(row)?,
                drafted_at: row.get(1),
                drafted_by: row.get(2),
                approved_at: row.get(3),
                approved_by: row.get(4),
                closed_at: row.get(5),
                closed_by: row.get(6),
            })
        },
    )
}

/// Returns the customers whose month is closed.
pub(crate) async fn list_closed(tx: &MspTx, period: Period) -> Result<Vec<CustomerId>, MeteringError> {
    Ok(tx.query(LIST_CLOSED, &[&tx.msp().id, &period.to_string()]).await?.iter().map(|row| row.get(0)).collect())
}

fn usage_of(value: serde_json::Value) -> Result<PeriodUsage, MeteringError> {
    serde_json::from_value(value).map_err(|error| MeteringError::Corrupt(format!("a closed month: {error}")))
}

/// Returns the latest closed months of a customer as they were measured.
pub(crate) async fn list_closed_months(tx: &MspTx, customer: CustomerId, most: i64) -> Result<Vec<PeriodUsage>, MeteringError> {
    tx.query(LIST_CLOSED_MONTHS, &[&customer, &most]).await?.iter().map(|row| usage_of(row.get(1))).collect()
}

/// Returns what a closed month was sealed with.
pub(crate) async fn find_closed(tx: &MspTx, customer: CustomerId, period: Period) -> Result<Option<ClosedSeal>, MeteringError> {
    let row = tx.query_opt(FIND_CLOSED, &[&customer, &period.to_string()]).await?;
    row.map(|row| Ok(ClosedSeal { usage: usage_of(row.get(0))?, events_hash: row.get(1), closed_at: row.get(2) })).transpose()
}

/// Writes how many calls a process has counted by day since it began.
pub(crate) async fn upsert_api_calls(tx: &MspTx, process: Uuid, due: &[(CustomerId, Date, i64)]) -> Result<(), MeteringError> {
    let customers = super::column(due, |(customer, _, _)| *customer);
    let days = super::column(due, |(_, day, _)| *day);
    let calls = super::column(due, |(_, _, calls)| *calls);
    tx.execute(UPSERT_API_CALLS, &[&tx.msp().id, &process, &customers, &days, &calls]).await?;
    Ok(())
}

/// Counts the calls of a customer's programs in a period.
pub(crate) async fn count_api_calls(tx: &MspTx, customer: CustomerId, period: Period) -> Result<i64, MeteringError> {
    Ok(tx.query_one(COUNT_API_CALLS, &[&customer, &period.first_day(), &period.last_day()]).await?.get(0))
}

/// Returns the months of all customers of the MSP.
pub(crate) async fn list_months(tx: &MspTx, period: Period) -> Result<Vec<CustomerMonth>, MeteringError> {
    let rows = tx.query(LIST_MONTHS, &[&tx.msp().id, &period.to_string()]).await?;
    let read = |row: &granary_db::Row| CustomerMonth {
        customer_id: row.get(0),
        period,
        machines_backup: row.get(2),
        machines_enterprise: row.get(3),
        machines_replication: row.get(4),
        runs_completed: row.get(5),
        runs_with_warning: row.get(6),
        runs_failed: row.get(7),
        transferred_bytes: row.get(8),
        stored_bytes_average: row.get(9),
        restores_completed: row.get(10),
        tickets_opened: row.get(11),
        api_calls: row.get(12),
        is_estimated: row.get(13),
        is_closed: row.get(14),
        events_hash: row.get(15),
        events_count: row.get(16),
    };
    Ok(rows.iter().map(read).collect())
}

/// Returns the months of some customers, or of all, beside their limits.
pub(crate) async fn list_months_with_limits(
    tx: &MspTx,
    customers: Option<&[CustomerId]>,
    period: Period,
) -> Result<Vec<MonthFacts>, MeteringError> {
    let (first, last) = (period.first_day(), period.last_day());
    let rows = tx.query(LIST_MONTHS_WITH_LIMITS, &[&tx.msp().id, &period.to_string(), &first, &last, &customers]).await?;
    let read = |row: &granary_db::Row| {
        let code: &str = row.get(0);
        Ok(MonthFacts {
            customer_code: code.parse().map_err(|_| MeteringError::Corrupt(format!("'{code}' is not a customer's code")))?,
            customer_name: row.get(1),
            machines: row.get::<_, i32>(2).into(),
            stored_gib: row.get::<_, i64>(3) >> 30,
            is_estimated: row.get(4),
            machine_limit: row.get::<_, Option<i32>>(5).map(Into::into),
            storage_limit_gib: row.get(6),
        })
    };
    rows.iter().map(read).collect()
}
