with source as (
    select * from lake.status_changes
),

erased as (
    select id from lake.customers where status = 'erased'
),

final as (
    select
        customer_id,
        status,
        reason,
        changed_at
    from source
    where customer_id not in (select id from erased)
)

select * from final
