with source as (
    select * from lake.msps
),

final as (
    select
        id as msp_id,
        code as msp_code,
        name as msp_name,
        time_zone,
        currency,
        counting_rule
    from source
)

select * from final
