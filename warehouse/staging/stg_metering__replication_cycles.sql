with source as (
    select * from lake.replication_cycles
),

final as (
    select
        customer_id,
        customer_code,
        month,
        machine_id,
        service_on,
        billing_on,
        cycles_completed,
        cycles_failed,
        transferred_bytes,
        lag_seconds_max,
        last_cycle_at
    from source
)

select * from final
