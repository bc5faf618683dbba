with source as (
    select * from lake.tier_assignments
),

final as (
    select
        customer_id,
        customer_code,
        machine_id,
        tier,
        valid_from,
        valid_to,
        reason
    from source
)

select * from final
