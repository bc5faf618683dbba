-- The nights of a month are its service level, spread out.
with nights as (
    select
        customer_id,
        period,
        sum(machine_days_scheduled) as machine_days_scheduled,
        sum(machine_days_met) as machine_days_met
    from service_nights
    group by customer_id, period
),

levels as (
    select * from service_levels
),

final as (
    select
        levels.customer_id,
        levels.period
    from levels
    left join nights on nights.customer_id = levels.customer_id and nights.period = levels.period
    where levels.machine_days_scheduled <> coalesce(nights.machine_days_scheduled, 0)
        or levels.machine_days_met <> coalesce(nights.machine_days_met, 0)
)

select * from final
