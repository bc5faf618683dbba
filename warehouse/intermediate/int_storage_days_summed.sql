with storage_days as (
    select * from stg_metering__storage_days
),

final as (
    select
        customer_id,
        period,
        sum(used_bytes) as byte_days,
        max(billing_on) as last_on,
        count(*) filter (where is_carried) as days_carried
    from storage_days
    group by customer_id, period
)

select * from final
