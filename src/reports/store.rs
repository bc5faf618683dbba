//! Every query of the room, and the one function that asks them.
//!
//! The warehouse takes no parameters: what is put into a query is a period, a day or an instant of ours, never text from
//! outside. Nothing names a customer, because the session sees only those that its grant names.

use granary_types::{CustomerId, Period};
use granary_warehouse::{Session, WarehouseError};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;

use crate::monthly::{
    FactsByCustomer, InvoiceFact, LevelFact, LineFact, MONTHS_BACK, MachineFact, MonthFact, NightFact, RestoreFact, TicketFact,
};

const MONTHS: &str = "
select
    customer_id, period, machines_backup, machines_enterprise, machines_replication, runs_completed, runs_with_warning, runs_failed,
    stored_bytes_average, storage_limit_bytes, machine_limit, transferred_bytes, tickets_opened
from customer_months
where period between '{first_period}' and '{period}'
order by customer_id, period";

const LEVELS: &str = "
select
    customer_id, machine_days_met, machine_days_scheduled, restores_completed, restores_failed,
    cast(ceil(restore_median_minutes) as bigint) as restore_median_minutes, cast(ceil(restore_p95_minutes) as bigint) as restore_p95_minutes,
    is_restore_met, tickets_in_target, tickets_missed, cast(ceil(support_median_minutes) as bigint) as answer_median_minutes,
    heartbeats_received, heartbeats_expected
from service_levels
where period = '{period}'";

const NIGHTS: &str = "
select customer_id, service_on, machine_days_met, machine_days_scheduled
from service_nights
where service_on between date '{first_day}' and date '{last_day}'
order by customer_id, service_on";

/// A machine's last good restore point may be older than the period; its failed runs since then are those of the period.
const MACHINES: &str = "
with good as (
    select customer_id, machine_id, max(last_good_at) as last_good_at
    from machine_months
    where period <= '{period}'
    group by customer_id, machine_id
),

held as (
    select customer_id, machine_id, max(tier) as tier
    from stg_metering__tier_assignments
    where valid_from <= date '{as_of_day}' and (valid_to is null or valid_to > date '{as_of_day}')
    group by customer_id, machine_id
),

failed as (
    select runs.customer_id, runs.machine_id, count(*) as runs_failed
    from stg_metering__backup_runs as runs
    left join good on good.customer_id = runs.customer_id and good.machine_id = runs.machine_id
    where
        runs.state = 'failed'
        and runs.ended_at >= timestamp '{start_at}' and runs.ended_at < timestamp '{as_of}'
        and (good.last_good_at is null or runs.ended_at > good.last_good_at)
    group by runs.customer_id, runs.machine_id
),

used as (
    select customer_id, machine_id, tier, first_on, last_on, runs_completed, runs_with_warning, runs_failed
    from machine_months
    where period = '{period}'
)

select
    machines.customer_id,
    machines.machine_name as name,
    used.tier,
    used.first_on,
    used.last_on,
    coalesce(used.runs_completed, 0) as runs_completed,
    coalesce(used.runs_with_warning, 0) as runs_with_warning,
    coalesce(used.runs_failed, 0) as runs_failed,
    good.last_good_at,
    held.tier as tier_at_end,
    coalesce(failed.runs_failed, 0) as runs_failed_since,
    machines.protected_on is null as is_discovered_only
from stg_metering__machines as machines
left join used on used.customer_id = machines.customer_id and used.machine_id = machines.machine_id
left join good on good.customer_id = machines.customer_id and good.machine_id = machines.machine_id
left join failed on failed.customer_id = machines.customer_id and failed.machine_id = machines.machine_id
left join held
    on held.customer_id = machines.customer_id and held.machine_id = machines.machine_id
    and (machines.unprotected_on is null or machines.unprotected_on > date '{as_of_day}')
where
    machines.machine_id = machines.surviving_machine_id
    and (
        used.machine_id is not null or held.machine_id is not null
        or (machines.protected_on is null and machines.discovered_at < timestamp '{as_of}')
    )
order by machines.customer_id, machines.machine_name";

const RESTORES: &str = "
select
    restores.customer_id, restores.ended_at, machines.machine_name as machine, restores.kind, restores.state = 'completed' as has_succeeded,
    restores.duration_ms, restores.restored_bytes
from stg_metering__restore_runs as restores
left join stg_metering__machines as machines
    on machines.customer_id = restores.customer_id and machines.machine_id = restores.machine_id
where restores.ended_at >= timestamp '{start_at}' and restores.ended_at < timestamp '{as_of}'
order by restores.customer_id, restores.ended_at";

const TICKETS: &str = "
select
    customer_id, count(*) as opened, count(answered_at) as answered, count(closed_at) as closed, count(rating) as rated,
    coalesce(sum(rating), 0) as rating_sum
from stg_metering__tickets
where opened_at >= timestamp '{start_at}' and opened_at < timestamp '{as_of}'
group by customer_id";

const INVOICES: &str = "
select customer_id, period, number, due_on, net_minor, tax_minor, total_minor
from stg_billing__invoices
where kind = 'invoice' and period between '{first_period}' and '{period}'
order by customer_id, period";

const LINES: &str = "
select customer_id, period, item, description, quantity, unit_price, amount_minor
from stg_billing__rated_lines
where period in ('{previous_period}', '{period}')
order by customer_id, period, position";

/// What the queries are about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) period: Period,
    pub(crate) start_at: Timestamp,
    /// The end of the period, or now while it is open.
    pub(crate) as_of: Timestamp,
    /// The last billing day that counts.
    pub(crate) as_of_day: Date,
}

impl Window {
    fn fill(self, sql: &str) -> String {
        sql.replace("{period}", &self.period.to_string())
            .replace("{previous_period}", &self.period.previous().to_string())
            .replace("{first_period}", &self.period.plus_months(-MONTHS_BACK).to_string())
            .replace("{first_day}", &self.period.first_day().to_string())
            .replace("{last_day}", &self.period.last_day().to_string())
            .replace("{as_of_day}", &self.as_of_day.to_string())
            .replace("{start_at}", &self.start_at.to_string())
            .replace("{as_of}", &self.as_of.to_string())
    }
}

#[derive(Debug, Deserialize)]
struct TicketRow {
    customer_id: CustomerId,
    #[serde(flatten)]
    tickets: TicketFact,
}

/// Lists the facts of every customer that the session sees.
pub(crate) async fn list_facts(session: &Session, window: Window) -> Result<FactsByCustomer, WarehouseError> {
    // All at once: most of the time goes into planning, which keeps one core busy a query.
    let months = session.begin_rows::<MonthFact>(window.fill(MONTHS));
    let levels = session.begin_rows::<LevelFact>(window.fill(LEVELS));
    let nights = session.begin_rows::<NightFact>(window.fill(NIGHTS));
    let machines = session.begin_rows::<MachineFact>(window.fill(MACHINES));
    let restores = session.begin_rows::<RestoreFact>(window.fill(RESTORES));
    let tickets = session.begin_rows::<TicketRow>(window.fill(TICKETS));
    let invoices = session.begin_rows::<InvoiceFact>(window.fill(INVOICES));
    let lines = session.begin_rows::<LineFact>(window.fill(LINES));
    let mut facts = FactsByCustomer::default();
    for row in months.await? {
        facts.entry(row.customer_id).months.push(row);
    }
    for row in levels.await? {
        let customer = row.customer_id;
        facts.entry(customer).level = Some(row);
    }
    for row in nights.await? {
        facts.entry(row.customer_id).nights.push(row);
    }
    for row in machines.await? {
        facts.entry(row.customer_id).machines.push(row);
    }
    for row in restores.await? {
        facts.entry(row.customer_id).restores.push(row);
    }
    for row in tickets.await? {
        facts.entry(row.customer_id).tickets = row.tickets;
    }
    for row in invoices.await? {
        facts.entry(row.customer_id).invoices.push(row);
    }
    for row in lines.await? {
        facts.entry(row.customer_id).lines.push(row);
    }
    Ok(facts)
}
