with source as (
    select * from lake.customers
),

final as (
    select
        id as customer_id,
        code as customer_code,
        name as customer_name,
        status,
        time_zone,
        vertical,
        trial_ends_on,
        activated_on,
        created_at
    from source
    where status <> 'erased'
)

select * from final
