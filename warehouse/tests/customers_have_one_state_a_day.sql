-- Versions of a customer follow one another without a gap, and one of them holds now.
with dim_customers as (
    select * from dim_customers
),

final as (
    select
        customer_id,
        count(*) filter (where is_current) as current_versions,
        count(*) filter (where valid_to <= valid_from) as broken_versions
    from dim_customers
    group by customer_id
    having count(*) filter (where is_current) <> 1 or count(*) filter (where valid_to <= valid_from) > 0
)

select * from final
