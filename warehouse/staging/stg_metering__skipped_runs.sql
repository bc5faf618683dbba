with source as (
    select * from lake.skipped_runs
),

final as (
    select
        customer_id,
        customer_code,
        machine_id,
        service_on,
        reason,
        is_excused
    from source
)

select * from final
