with source as (
    select * from lake.customer_months
),

final as (
    select
        customer_id,
        period,
        machines_backup,
        machines_enterprise,
        machines_replication,
        runs_completed,
        runs_with_warning,
        runs_failed,
        transferred_bytes,
        stored_bytes_average,
        restores_completed,
        tickets_opened,
        api_calls,
        is_estimated,
        is_closed,
        events_hash
    from source
)

select * from final
