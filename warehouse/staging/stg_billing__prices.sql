with source as (
    select * from lake.prices
),

final as (
    select
        id as price_id,
        customer_id,
        msp_id is not null as is_own,
        item,
        unit_price,
        currency,
        valid_from,
        created_at as recorded_at
    from source
)

select * from final
