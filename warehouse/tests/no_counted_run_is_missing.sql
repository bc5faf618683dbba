-- What the platform counted when it closed a month lies in the lake. Facts that came later may have added to it; they change
-- no charge of that month. Of a month whose runs were let go nothing is asked.
with usage as (
    select * from usage_by_customer_month
),

projected as (
    select * from stg_metering__customer_months
),

let_go as (
    select customer_id, max(kept_from) as kept_from
    from stg_tenants__retention_marks
    where dataset in ('backup_runs', 'machine_days', 'replication_cycles')
    group by customer_id
),

msps as (
    select * from stg_tenants__msps
),

final as (
    select usage.customer_code, usage.period
    from usage
    inner join projected on projected.customer_id = usage.customer_id and projected.period = usage.period
    cross join msps
    left join let_go on let_go.customer_id = usage.customer_id
    where projected.is_closed
        and (let_go.kept_from is null or let_go.kept_from <= usage.period_start_on)
        and (
            usage.runs_completed + usage.runs_with_warning + usage.runs_failed
            < projected.runs_completed + projected.runs_with_warning + projected.runs_failed
            or (
                msps.counting_rule = 'distinct_in_period'
                and usage.machines < projected.machines_backup + projected.machines_enterprise + projected.machines_replication
            )
        )
)

select * from final
