with customer_months as (
    select * from customer_months
),

rated_lines as (
    select * from stg_billing__rated_lines
),

billed as (
    select
        customer_id,
        period,
        sum(quantity) as billed_gib,
        sum(amount_minor) as amount_minor
    from rated_lines
    where item = 'storage_overage'
    group by customer_id, period
),

final as (
    select
        customer_months.customer_id,
        customer_months.customer_code,
        customer_months.period,
        customer_months.period_start_on,
        customer_months.stored_bytes_average,
        customer_months.storage_limit_bytes as limit_bytes,
        cast(customer_months.stored_bytes_average as double) / nullif(customer_months.storage_limit_bytes, 0) as used_share,
        cast(coalesce(
            cast(greatest(customer_months.stored_bytes_average - customer_months.storage_limit_bytes, 0) as decimal(38, 10)) / 1073741824,
            0
        ) as decimal(18, 3)) as overage_gib,
        coalesce(billed.billed_gib, 0) as billed_gib,
        coalesce(billed.amount_minor, 0) as amount_minor,
        major(coalesce(billed.amount_minor, 0), customer_months.currency) as amount,
        customer_months.currency,
        customer_months.is_closed,
        customer_months.as_of_at
    from customer_months
    left join billed on billed.customer_id = customer_months.customer_id and billed.period = customer_months.period
)

select * from final
