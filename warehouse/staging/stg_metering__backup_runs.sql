with source as (
    select * from lake.backup_runs
),

final as (
    select
        customer_id,
        customer_code,
        month,
        id as run_id,
        machine_id,
        kind,
        state,
        state in ('completed', 'completed_with_warning') as is_success,
        started_at,
        ended_at,
        service_on,
        billing_on,
        attempt_count,
        transferred_bytes,
        protected_bytes,
        duration_ms,
        error
    from source
)

select * from final
