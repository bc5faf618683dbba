with customer_periods as (
    select * from int_customer_periods
),

machines_served as (
    select * from int_machines_served
),

backup_runs as (
    select * from int_backup_runs_summed
),

restore_runs as (
    select * from stg_metering__restore_runs
),

tickets as (
    select * from stg_metering__tickets
),

heartbeats as (
    select * from stg_metering__heartbeats
),

customers as (
    select * from stg_tenants__customers
),

served as (
    select
        customer_id,
        period,
        sum(count_bits(days_scheduled)) as machine_days_scheduled,
        sum(count_bits(days_met)) as machine_days_met,
        sum(count_bits(days_excused)) as machine_days_excused
    from machines_served
    group by customer_id, period
),

runs as (
    select
        customer_id,
        to_char(service_start_on, '%Y-%m') as period,
        sum(runs_completed + runs_with_warning) as runs_succeeded,
        sum(runs_completed + runs_with_warning + runs_failed) as runs_total
    from backup_runs
    group by 1, 2
),

restores as (
    select
        restore_runs.customer_id,
        to_char(day_in_zone(restore_runs.ended_at, customers.time_zone), '%Y-%m') as period,
        count(*) filter (where restore_runs.state = 'completed') as restores_completed,
        count(*) filter (where restore_runs.state = 'failed') as restores_failed,
        median(cast(restore_runs.duration_ms as double) / 60000) filter (where restore_runs.state = 'completed') as restore_median_minutes,
        percentile_cont(cast(restore_runs.duration_ms as double) / 60000, 0.95)
            filter (where restore_runs.state = 'completed') as restore_p95_minutes
    from restore_runs
    inner join customers on customers.customer_id = restore_runs.customer_id
    group by 1, 2
),

heard as (
    select max(last_at) as last_at from heartbeats
),

answers as (
    select
        tickets.customer_id,
        to_char(day_in_zone(tickets.opened_at, customers.time_zone), '%Y-%m') as period,
        tickets.opened_at,
        tickets.answered_at,
        date_part('epoch', tickets.answered_at - tickets.opened_at) / 60 as minutes,
        date_part('epoch', heard.last_at - tickets.opened_at) / 60 as minutes_since
    from tickets
    inner join customers on customers.customer_id = tickets.customer_id
    cross join heard
),

support as (
    select
        answers.customer_id,
        answers.period,
        count(*) as tickets_opened,
        count(*) filter (where answers.minutes <= customer_periods.support_target_minutes) as tickets_in_target,
        count(*) filter (where answers.minutes > customer_periods.support_target_minutes
            or (answers.answered_at is null
                and coalesce(answers.minutes_since, 0) > customer_periods.support_target_minutes)) as tickets_missed,
        median(answers.minutes) as support_median_minutes
    from answers
    inner join customer_periods
        on customer_periods.customer_id = answers.customer_id and customer_periods.period = answers.period
    group by 1, 2
),

alive as (
    select
        customer_id,
        to_char(service_on, '%Y-%m') as period,
        sum(received) as heartbeats_received,
        sum(expected) as heartbeats_expected
    from heartbeats
    group by 1, 2
),

final as (
    select
        customer_periods.customer_id,
        customer_periods.customer_code,
        customer_periods.period,
        customer_periods.period_start_on,
        coalesce(served.machine_days_scheduled, 0) as machine_days_scheduled,
        coalesce(served.machine_days_met, 0) as machine_days_met,
        coalesce(served.machine_days_excused, 0) as machine_days_excused,
        cast(served.machine_days_met as double) / nullif(served.machine_days_scheduled, 0) as backup_sla,
        cast(customer_periods.backup_sla_percent as double) / 100 as backup_sla_target,
        case
            when served.machine_days_scheduled > 0
                then served.machine_days_met * 100 >= served.machine_days_scheduled * customer_periods.backup_sla_percent
        end as is_backup_sla_met,
        coalesce(runs.runs_succeeded, 0) as runs_succeeded,
        coalesce(runs.runs_total, 0) as runs_total,
        cast(runs.runs_succeeded as double) / nullif(runs.runs_total, 0) as run_success,
        coalesce(restores.restores_completed, 0) as restores_completed,
        coalesce(restores.restores_failed, 0) as restores_failed,
        restores.restore_median_minutes,
        restores.restore_p95_minutes,
        customer_periods.restore_target_minutes,
        restores.restores_failed = 0 and restores.restore_p95_minutes <= customer_periods.restore_target_minutes as is_restore_met,
        coalesce(support.tickets_opened, 0) as tickets_opened,
        coalesce(support.tickets_in_target, 0) as tickets_in_target,
        coalesce(support.tickets_missed, 0) as tickets_missed,
        cast(support.tickets_in_target as double)
            / nullif(support.tickets_in_target + support.tickets_missed, 0) as support_share,
        support.support_median_minutes,
        customer_periods.support_target_minutes,
        coalesce(alive.heartbeats_received, 0) as heartbeats_received,
        coalesce(alive.heartbeats_expected, 0) as heartbeats_expected,
        cast(alive.heartbeats_received as double) / nullif(alive.heartbeats_expected, 0) as uptime
    from customer_periods
    left join served on served.customer_id = customer_periods.customer_id and served.period = customer_periods.period
    left join runs on runs.customer_id = customer_periods.customer_id and runs.period = customer_periods.period
    left join restores on restores.customer_id = customer_periods.customer_id and restores.period = customer_periods.period
    left join support on support.customer_id = customer_periods.customer_id and support.period = customer_periods.period
    left join alive on alive.customer_id = customer_periods.customer_id and alive.period = customer_periods.period
)

select * from final
