with rated_lines as (
    select * from stg_billing__rated_lines
),

final as (
    select
        customer_id,
        period,
        coalesce(sum(amount_minor) filter (where is_recurring), 0) as recurring_minor,
        coalesce(sum(amount_minor) filter (where not is_recurring), 0) as usage_minor,
        coalesce(sum(amount_minor) filter (where item = 'discount'), 0) as discount_minor,
        sum(amount_minor) as net_minor,
        max(currency) as currency
    from rated_lines
    group by customer_id, period
)

select * from final
