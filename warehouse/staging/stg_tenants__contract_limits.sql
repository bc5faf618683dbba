with source as (
    select * from lake.contract_limits
),

final as (
    select
        customer_id,
        contract_id,
        valid_from,
        lead(valid_from) over (partition by contract_id order by valid_from) as valid_to,
        row_number() over (partition by contract_id order by valid_from) = 1 as is_first,
        machine_limit,
        storage_limit_gib
    from source
)

select * from final
