-- The warehouse counts runs and machines of closed months from the facts; the platform's own projection has counted the same.
with usage as (
    select * from usage_by_customer_month
),

projected as (
    select * from stg_metering__customer_months
),

msps as (
    select * from stg_tenants__msps
),

final as (
    select usage.customer_code, usage.period
    from usage
    inner join projected on projected.customer_id = usage.customer_id and projected.period = usage.period
    cross join msps
    where projected.is_closed
        and (
            usage.runs_completed <> projected.runs_completed
            or usage.runs_with_warning <> projected.runs_with_warning
            or usage.runs_failed <> projected.runs_failed
            or (msps.counting_rule = 'distinct_in_period' and (
                usage.machines_backup <> projected.machines_backup
                or usage.machines_enterprise <> projected.machines_enterprise
                or usage.machines_replication <> projected.machines_replication
            ))
        )
)

select * from final
