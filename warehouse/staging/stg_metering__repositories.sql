with source as (
    select * from lake.repositories
),

final as (
    select
        customer_id,
        customer_code,
        id as repository_id,
        vendor_id,
        name as repository_name,
        kind,
        capacity_bytes,
        is_immutable,
        retention_days,
        is_copy
    from source
)

select * from final
