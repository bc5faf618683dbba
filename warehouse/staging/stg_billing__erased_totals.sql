with source as (
    select * from lake.erased_totals
),

final as (
    select
        period,
        period_start_on,
        item,
        is_recurring,
        currency,
        amount_minor
    from source
)

select * from final
