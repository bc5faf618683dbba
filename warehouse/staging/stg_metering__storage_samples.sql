with source as (
    select * from lake.storage_samples
),

final as (
    select
        customer_id,
        customer_code,
        month,
        repository_id,
        sampled_at,
        billing_on,
        used_bytes
    from source
)

select * from final
