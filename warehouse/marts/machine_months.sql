with machine_days as (
    select * from int_machine_days_summed
),

backup_runs as (
    select * from int_backup_runs_summed
),

replication_cycles as (
    select * from int_replication_cycles_summed
),

machines_served as (
    select * from int_machines_served
),

machines as (
    select * from stg_metering__machines
),

customers as (
    select * from stg_tenants__customers
),

runs as (
    select
        backup_runs.customer_id,
        machines.surviving_machine_id as machine_id,
        to_char(backup_runs.billing_start_on, '%Y-%m') as period,
        sum(backup_runs.runs_completed) as runs_completed,
        sum(backup_runs.runs_with_warning) as runs_with_warning,
        sum(backup_runs.runs_failed) as runs_failed,
        max(backup_runs.last_good_at) as last_good_at
    from backup_runs
    inner join machines on machines.machine_id = backup_runs.machine_id
    group by 1, 2, 3
),

cycles as (
    select
        replication_cycles.customer_id,
        machines.surviving_machine_id as machine_id,
        to_char(replication_cycles.service_start_on, '%Y-%m') as period,
        max(replication_cycles.last_good_at) as last_good_at
    from replication_cycles
    inner join machines on machines.machine_id = replication_cycles.machine_id
    group by 1, 2, 3
),

known as (
    select customer_id, machine_id, period from machine_days
    union
    select customer_id, machine_id, period from runs
    union
    select customer_id, machine_id, period from machines_served
),

joined as (
    select
        known.customer_id,
        known.machine_id,
        known.period,
        case machine_days.tier_rank when 3 then 'replication' when 2 then 'enterprise' when 1 then 'backup' end as tier,
        machine_days.first_on,
        machine_days.last_on,
        coalesce(machine_days.days_in_protection, 0) as days_in_protection,
        count_bits(coalesce(machines_served.days_scheduled, 0)) as days_scheduled,
        count_bits(coalesce(machines_served.days_met, 0)) as days_met,
        count_bits(coalesce(machines_served.days_excused, 0)) as days_excused,
        coalesce(runs.runs_completed, 0) as runs_completed,
        coalesce(runs.runs_with_warning, 0) as runs_with_warning,
        coalesce(runs.runs_failed, 0) as runs_failed,
        coalesce(machine_days.cycles_completed, 0) as cycles_completed,
        coalesce(machine_days.transferred_bytes, 0) as transferred_bytes,
        greatest(runs.last_good_at, cycles.last_good_at) as last_good_at
    from known
    left join machine_days on machine_days.machine_id = known.machine_id and machine_days.period = known.period
    left join runs on runs.machine_id = known.machine_id and runs.period = known.period
    left join cycles on cycles.machine_id = known.machine_id and cycles.period = known.period
    left join machines_served on machines_served.machine_id = known.machine_id and machines_served.period = known.period
),

final as (
    select
        joined.customer_id,
        customers.customer_code,
        joined.period,
        cast(joined.period || '-01' as date) as period_start_on,
        joined.machine_id,
        machines.machine_name,
        machines.source_system,
        machines.vendor_id,
        machines.os,
        joined.tier,
        joined.tier is not null as is_billed,
        joined.first_on,
        joined.last_on,
        joined.days_in_protection,
        joined.days_scheduled,
        joined.days_met,
        joined.days_excused,
        joined.runs_completed,
        joined.runs_with_warning,
        joined.runs_failed,
        joined.cycles_completed,
        joined.transferred_bytes,
        max(joined.last_good_at) over (
            partition by joined.machine_id order by joined.period
            rows between unbounded preceding and current row
        ) as last_good_at
    from joined
    inner join customers on customers.customer_id = joined.customer_id
    left join machines on machines.machine_id = joined.machine_id
)

select * from final
