with source as (
    select * from lake.statement_lines
),

erased as (
    select id from lake.customers where status = 'erased'
),

final as (
    select
        source.id as line_id,
        source.statement_id,
        case when erased.id is null then source.customer_id end as customer_id,
        source.item,
        source.quantity,
        source.unit_price,
        source.amount_minor,
        source.currency
    from source
    left join erased on erased.id = source.customer_id
)

select * from final
