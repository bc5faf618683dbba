with source as (
    select * from lake.heartbeats
),

final as (
    select
        customer_id,
        customer_code,
        source,
        service_on,
        received,
        expected,
        last_at
    from source
)

select * from final
