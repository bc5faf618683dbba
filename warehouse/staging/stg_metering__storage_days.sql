with source as (
    select * from lake.storage_days
),

final as (
    select
        customer_id,
        customer_code,
        month as period,
        repository_id,
        billing_on,
        used_bytes,
        is_carried
    from source
)

select * from final
