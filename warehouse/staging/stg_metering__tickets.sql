with source as (
    select * from lake.tickets
),

final as (
    select
        customer_id,
        customer_code,
        month,
        id as ticket_id,
        priority,
        opened_at,
        answered_at,
        closed_at,
        rating
    from source
)

select * from final
