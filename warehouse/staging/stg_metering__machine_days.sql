with source as (
    select * from lake.machine_days
),

final as (
    select
        customer_id,
        customer_code,
        month as period,
        machine_id,
        billing_on,
        tier,
        runs_completed,
        runs_failed,
        cycles_completed,
        is_in_protection,
        transferred_bytes
    from source
)

select * from final
