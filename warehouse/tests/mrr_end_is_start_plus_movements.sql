-- To the cent, for every customer and closed period: end = start + new + reactivation + resume + expansion − contraction − pause − churn.
with customer_months as (
    select * from customer_months
),

mrr_movements as (
    select * from mrr_movements
),

moved as (
    select customer_id, period, sum(amount_minor) as moved_minor
    from mrr_movements
    group by customer_id, period
),

final as (
    select
        customer_months.customer_code,
        customer_months.period,
        customer_months.mrr_start_minor,
        coalesce(moved.moved_minor, 0) as moved_minor,
        customer_months.mrr_minor
    from customer_months
    left join moved on moved.customer_id = customer_months.customer_id and moved.period = customer_months.period
    where customer_months.is_closed
        and customer_months.mrr_start_minor + coalesce(moved.moved_minor, 0) <> customer_months.mrr_minor
)

select * from final
