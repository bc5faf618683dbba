with machines_served as (
    select * from int_machines_served
),

customers as (
    select * from stg_tenants__customers
),

spread as (
    select
        customer_id,
        period,
        period_start_on,
        days_scheduled,
        days_met,
        unnest(range(0, 31)) as position
    from machines_served
),

summed as (
    select
        customer_id,
        period,
        period_start_on,
        position,
        sum((days_scheduled >> position) & 1) as machine_days_scheduled,
        sum((days_met >> position) & 1) as machine_days_met
    from spread
    group by customer_id, period, period_start_on, position
),

final as (
    select
        summed.customer_id,
        customers.customer_code,
        summed.period,
        cast(cast(summed.period_start_on as int) + cast(summed.position as int) as date) as service_on,
        summed.machine_days_scheduled,
        summed.machine_days_met
    from summed
    inner join customers on customers.customer_id = summed.customer_id
    where summed.machine_days_scheduled > 0
)

select * from final
