with source as (
    select * from lake.retention_marks
),

final as (
    select
        customer_id,
        dataset,
        kept_from
    from source
)

select * from final
