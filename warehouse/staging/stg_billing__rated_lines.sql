with source as (
    select * from lake.rated_lines
),

final as (
    select
        customer_id,
        customer_code,
        period,
        period_start_on,
        id as line_id,
        invoice_id,
        position,
        item,
        description,
        quantity,
        unit_price,
        amount_minor,
        currency,
        is_recurring,
        created_at as rated_at
    from source
)

select * from final
