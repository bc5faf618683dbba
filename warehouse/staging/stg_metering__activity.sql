with source as (
    select * from lake.activity
),

final as (
    select
        customer_id,
        customer_code,
        source,
        service_on,
        kind,
        amount
    from source
)

select * from final
