-- To the cent, for every customer and closed period, so that any segment and interval adds up, too.
with mrr as (
    select * from mrr_by_customer_month
),

final as (
    select customer_code, period
    from mrr
    where start_minor + new_minor + reactivation_minor + resume_minor + expansion_minor
        - contraction_minor - pause_minor - churn_minor <> amount_minor
)

select * from final
