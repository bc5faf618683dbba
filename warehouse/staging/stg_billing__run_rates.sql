with source as (
    select * from lake.run_rates
),

final as (
    select
        customer_id,
        period,
        amount_minor,
        currency,
        computed_at
    from source
)

select * from final
