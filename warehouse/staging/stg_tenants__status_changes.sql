with source as (
    select * from lake.status_changes
),

final as (
    select
        customer_id,
        status,
        reason,
        changed_at
    from source
)

select * from final
