with source as (
    select * from lake.statement_lines
),

final as (
    select
        id as line_id,
        statement_id,
        customer_id,
        item,
        quantity,
        unit_price,
        amount_minor,
        currency
    from source
)

select * from final
