with source as (
    select * from lake.schedules
),

final as (
    select
        customer_id,
        customer_code,
        machine_id,
        runs_per_day,
        starts_on,
        ends_on
    from source
)

select * from final
