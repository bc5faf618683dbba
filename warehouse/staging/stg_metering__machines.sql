with source as (
    select * from lake.machines
),

final as (
    select
        customer_id,
        customer_code,
        id as machine_id,
        source_system,
        vendor_id,
        name as machine_name,
        os,
        discovered_at,
        protected_on,
        unprotected_on,
        coalesce(replaced_by, id) as surviving_machine_id
    from source
)

select * from final
