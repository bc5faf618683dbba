with source as (
    select * from lake.statements
),

final as (
    select
        id as statement_id,
        period,
        currency,
        total_minor
    from source
)

select * from final
