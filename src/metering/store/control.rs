//! The control projections: periods and customer months.

use granary_db::ToSql;
use granary_tenants::MspTx;
use granary_types::{CustomerId, Period};
use jiff::Timestamp;

use crate::error::MeteringError;
use crate::period::{CustomerMonth, PeriodState};
use crate::recommendation::MonthFacts;
use crate::usage::PeriodUsage;

const FIND_PERIOD: &str = "select state from periods where msp_id = $1 and period = $2";

const UPSERT_PERIOD: &str = "
    insert into periods (msp_id, period, state, closed_at, closed_by) values ($1, $2, $3, $4, $5)
    on conflict (msp_id, period) do update set state = excluded.state, closed_at = excluded.closed_at, closed_by = excluded.closed_by
        where periods.state <> 'closed'";

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
    update customer_months set is_closed = true, events_hash = $3, updated_at = $4 where customer_id = $1 and period = $2 and not is_closed";

const LIST_MONTHS: &str = "
    select customer_id, period, machines_backup, machines_enterprise, machines_replication, runs_completed, runs_with_warning, runs_failed,
        transferred_bytes, stored_bytes_average, restores_completed, tickets_opened, api_calls, is_estimated, is_closed, events_hash
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

/// Closes a customer's month with the hash of what it counted.
pub(crate) async fn close_month(tx: &MspTx, customer: CustomerId, period: Period, events_hash: &str) -> Result<(), MeteringError> {
    tx.execute(CLOSE_MONTH, &[&customer, &period.to_string(), &events_hash, &tx.now()]).await?;
    Ok(())
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
