with margin as (
    select * from margin where item like 'machine_%'
),

machine_months as (
    select * from machine_months where is_billed
),

msps as (
    select * from stg_tenants__msps
),

-- a machine weighs as much as the counting rule lets it count
weighed as (
    select
        machine_months.customer_id,
        machine_months.period,
        'machine_' || machine_months.tier as item,
        machine_months.machine_id,
        machine_months.machine_name,
        cast(case when msps.counting_rule = 'average_daily' then machine_months.days_in_protection else 1 end as bigint) as weight
    from machine_months
    cross join msps
),

running as (
    select
        weighed.*,
        sum(weight) over (partition by customer_id, period, item) as weight_total,
        sum(weight) over (
            partition by customer_id, period, item order by machine_id
            rows between unbounded preceding and current row
        ) as weight_upto
    from weighed
    where weight > 0
),

-- each takes what the sum up to it comes to less what those before it took, so that the parts add up to the cent
shared as (
    select
        margin.customer_id,
        margin.customer_code,
        margin.period,
        margin.period_start_on,
        margin.item,
        running.machine_id,
        running.machine_name,
        case when running.machine_id is null then margin.retail_minor
            else margin.retail_minor * running.weight_upto / running.weight_total
                - margin.retail_minor * (running.weight_upto - running.weight) / running.weight_total
        end as retail_minor,
        case when running.machine_id is null then margin.wholesale_minor
            else margin.wholesale_minor * running.weight_upto / running.weight_total
                - margin.wholesale_minor * (running.weight_upto - running.weight) / running.weight_total
        end as wholesale_minor,
        margin.currency,
        margin.is_closed,
        margin.as_of_at
    from margin
    left join running
        on running.customer_id = margin.customer_id and running.period = margin.period and running.item = margin.item
),

final as (
    select
        customer_id,
        customer_code,
        period,
        period_start_on,
        item,
        machine_id,
        machine_name,
        retail_minor,
        wholesale_minor,
        retail_minor - wholesale_minor as margin_minor,
        major(retail_minor - wholesale_minor, currency) as margin,
        currency,
        is_closed,
        as_of_at
    from shared
)

select * from final
