with customer_periods as (
    select * from int_customer_periods
),

machine_months as (
    select * from machine_months
),

storage as (
    select * from int_storage_days_summed
),

restore_runs as (
    select * from stg_metering__restore_runs
),

tickets as (
    select * from stg_metering__tickets
),

activity as (
    select * from stg_metering__activity
),

projected as (
    select * from stg_metering__customer_months where is_closed
),

msps as (
    select * from stg_tenants__msps
),

machines_summed as (
    select
        customer_id,
        period,
        count(*) filter (where is_billed) as machines,
        count(*) filter (where tier = 'backup') as machines_backup,
        count(*) filter (where tier = 'enterprise') as machines_enterprise,
        count(*) filter (where tier = 'replication') as machines_replication,
        sum(days_in_protection) as machine_days_protected,
        sum(runs_completed) as runs_completed,
        sum(runs_with_warning) as runs_with_warning,
        sum(runs_failed) as runs_failed,
        sum(transferred_bytes) as transferred_bytes
    from machine_months
    group by customer_id, period
),

restores_summed as (
    select
        restore_runs.customer_id,
        to_char(day_in_zone(restore_runs.ended_at, msps.time_zone), '%Y-%m') as period,
        count(*) filter (where restore_runs.state = 'completed') as restores_completed,
        count(*) filter (where restore_runs.state = 'failed') as restores_failed
    from restore_runs
    cross join msps
    group by 1, 2
),

tickets_summed as (
    select
        tickets.customer_id,
        to_char(day_in_zone(tickets.opened_at, msps.time_zone), '%Y-%m') as period,
        count(*) as tickets_opened
    from tickets
    cross join msps
    group by 1, 2
),

activity_summed as (
    select
        customer_id,
        to_char(service_on, '%Y-%m') as period,
        sum(amount) filter (where kind = 'api_call') as api_calls,
        sum(amount) filter (where kind = 'portal_login') as portal_logins,
        count(distinct kind) filter (where kind like 'feature:%') as features_used
    from activity
    group by 1, 2
),

final as (
    select
        customer_periods.customer_id,
        customer_periods.customer_code,
        customer_periods.period,
        customer_periods.period_start_on,
        coalesce(machines_summed.machines, 0) as machines,
        coalesce(machines_summed.machines_backup, 0) as machines_backup,
        coalesce(machines_summed.machines_enterprise, 0) as machines_enterprise,
        coalesce(machines_summed.machines_replication, 0) as machines_replication,
        coalesce(machines_summed.machine_days_protected, 0) as machine_days_protected,
        coalesce(machines_summed.runs_completed, 0) as runs_completed,
        coalesce(machines_summed.runs_with_warning, 0) as runs_with_warning,
        coalesce(machines_summed.runs_failed, 0) as runs_failed,
        cast(machines_summed.runs_completed + machines_summed.runs_with_warning as double)
            / nullif(machines_summed.runs_completed + machines_summed.runs_with_warning + machines_summed.runs_failed, 0) as run_success,
        coalesce(machines_summed.transferred_bytes, 0) as transferred_bytes,
        -- an open month is averaged over the days that it has had so far
        coalesce(cast(storage.byte_days / (
            least(customer_periods.next_start_on - interval '1 day', case
                when customer_periods.is_closed then customer_periods.next_start_on - interval '1 day'
                else greatest(customer_periods.seen_through_on, storage.last_on)
            end)::date - customer_periods.period_start_on + 1
        ) as bigint), 0) as stored_bytes_average,
        -- what was counted when the month was closed stays, also when a rule of retention lets the rows go
        greatest(coalesce(restores_summed.restores_completed, 0), coalesce(projected.restores_completed, 0)) as restores_completed,
        coalesce(restores_summed.restores_failed, 0) as restores_failed,
        greatest(coalesce(tickets_summed.tickets_opened, 0), coalesce(projected.tickets_opened, 0)) as tickets_opened,
        greatest(coalesce(activity_summed.api_calls, 0), coalesce(projected.api_calls, 0)) as api_calls,
        coalesce(activity_summed.portal_logins, 0) as portal_logins,
        coalesce(activity_summed.features_used, 0) as features_used
    from customer_periods
    left join machines_summed
        on machines_summed.customer_id = customer_periods.customer_id and machines_summed.period = customer_periods.period
    left join storage
        on storage.customer_id = customer_periods.customer_id and storage.period = customer_periods.period
    left join restores_summed
        on restores_summed.customer_id = customer_periods.customer_id and restores_summed.period = customer_periods.period
    left join tickets_summed
        on tickets_summed.customer_id = customer_periods.customer_id and tickets_summed.period = customer_periods.period
    left join activity_summed
        on activity_summed.customer_id = customer_periods.customer_id and activity_summed.period = customer_periods.period
    left join projected
        on projected.customer_id = customer_periods.customer_id and projected.period = customer_periods.period
)

select * from final
