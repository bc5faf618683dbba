with rated_lines as (
    select * from stg_billing__rated_lines
),

periods as (
    select * from int_periods
),

final as (
    select
        rated_lines.customer_id,
        rated_lines.customer_code,
        rated_lines.period,
        rated_lines.period_start_on,
        replace(rated_lines.item, 'machine_', '') as tier,
        sum(rated_lines.quantity) as machines,
        max(rated_lines.unit_price) as unit_price,
        sum(rated_lines.amount_minor) as amount_minor,
        major(sum(rated_lines.amount_minor), max(rated_lines.currency)) as amount,
        max(rated_lines.currency) as currency,
        bool_or(periods.is_closed) as is_closed,
        max(periods.as_of_at) as as_of_at
    from rated_lines
    inner join periods on periods.period = rated_lines.period
    where rated_lines.item like 'machine_%'
    group by 1, 2, 3, 4, 5
)

select * from final
