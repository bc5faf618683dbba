with machine_days as (
    select * from stg_metering__machine_days
),

machines as (
    select * from stg_metering__machines
),

final as (
    select
        machine_days.customer_id,
        machine_days.customer_code,
        machine_days.period,
        cast(machine_days.period || '-01' as date) as period_start_on,
        machine_days.billing_on,
        machine_days.machine_id,
        machines.machine_name,
        machine_days.tier,
        machine_days.is_in_protection,
        machine_days.runs_completed,
        machine_days.runs_failed,
        machine_days.cycles_completed,
        machine_days.transferred_bytes
    from machine_days
    left join machines on machines.machine_id = machine_days.machine_id
)

select * from final
