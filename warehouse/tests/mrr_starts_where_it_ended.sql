-- What a closed period starts with is what the closed period before ended with.
with customer_months as (
    select * from customer_months
),

followed as (
    select
        customer_code,
        period,
        mrr_start_minor,
        lag(mrr_minor) over (partition by customer_id order by period) as previous_minor
    from customer_months
    where is_closed
),

final as (
    select * from followed
    where previous_minor is not null and previous_minor <> mrr_start_minor
)

select * from final
