with replication_cycles as (
    select * from stg_metering__replication_cycles
),

final as (
    select
        customer_id,
        machine_id,
        month as source_month,
        cast(date_trunc('month', service_on) as date) as service_start_on,
        bit_or(day_bit(service_on)) filter (where cycles_completed > 0) as success_days,
        max(last_cycle_at) filter (where cycles_completed > 0) as last_good_at
    from replication_cycles
    group by 1, 2, 3, 4
)

select * from final
