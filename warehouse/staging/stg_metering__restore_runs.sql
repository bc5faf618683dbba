with source as (
    select * from lake.restore_runs
),

final as (
    select
        customer_id,
        customer_code,
        month,
        id as restore_id,
        machine_id,
        kind,
        state,
        requested_at,
        ended_at,
        duration_ms,
        restored_bytes
    from source
)

select * from final
