with customer_periods as (
    select * from int_customer_periods
),

schedules as (
    select * from stg_metering__schedules
),

machines as (
    select * from stg_metering__machines
),

skipped_runs as (
    select * from stg_metering__skipped_runs
),

backup_runs as (
    select * from int_backup_runs_summed
),

replication_cycles as (
    select * from int_replication_cycles_summed
),

due as (
    select
        schedules.customer_id,
        machines.surviving_machine_id as machine_id,
        customer_periods.period,
        customer_periods.period_start_on,
        customer_periods.rpo_hours,
        bit_or(day_bits(
            customer_periods.period_start_on,
            schedules.starts_on,
            least(coalesce(schedules.ends_on, customer_periods.seen_through_on), customer_periods.seen_through_on)
        )) as due_days
    from schedules
    inner join machines on machines.machine_id = schedules.machine_id
    inner join customer_periods on customer_periods.customer_id = schedules.customer_id
    group by 1, 2, 3, 4, 5
),

excused as (
    select
        machines.surviving_machine_id as machine_id,
        cast(date_trunc('month', skipped_runs.service_on) as date) as service_start_on,
        bit_or(day_bit(skipped_runs.service_on)) as excused_days
    from skipped_runs
    inner join machines on machines.machine_id = skipped_runs.machine_id
    where skipped_runs.is_excused
    group by 1, 2
),

successes as (
    select machine_id, service_start_on, success_days from backup_runs
    union all
    select machine_id, service_start_on, success_days from replication_cycles
),

successful as (
    select
        machines.surviving_machine_id as machine_id,
        successes.service_start_on,
        bit_or(successes.success_days) as success_days
    from successes
    inner join machines on machines.machine_id = successes.machine_id
    group by 1, 2
),

joined as (
    select
        due.customer_id,
        due.machine_id,
        due.period,
        due.period_start_on,
        due.rpo_hours,
        due.due_days,
        coalesce(excused.excused_days, 0) as excused_days,
        coalesce(successful.success_days, 0) as success_days
    from due
    left join excused
        on excused.machine_id = due.machine_id
        and excused.service_start_on = due.period_start_on
    left join successful
        on successful.machine_id = due.machine_id
        and successful.service_start_on = due.period_start_on
),

covered as (
    select
        customer_id,
        machine_id,
        period,
        period_start_on,
        due_days,
        due_days & excused_days as days_excused,
        covered_days(
            success_days,
            lag(success_days) over (partition by machine_id order by period),
            period_start_on,
            rpo_hours
        ) as covered_days
    from joined
),

final as (
    select
        customer_id,
        machine_id,
        period,
        period_start_on,
        due_days - days_excused as days_scheduled,
        days_excused,
        (due_days - days_excused) & covered_days as days_met
    from covered
    where due_days > 0
)

select * from final
