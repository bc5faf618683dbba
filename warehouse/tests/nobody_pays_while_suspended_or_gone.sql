-- MRR belongs to customers that were active at the period's end.
with customer_months as (
    select * from customer_months
),

final as (
    select customer_code, period
    from customer_months
    where mrr_minor <> 0 and (status <> 'active' or not is_closed)
)

select * from final
