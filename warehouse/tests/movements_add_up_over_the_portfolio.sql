-- The same identity for the MSP, month by month.
with revenue_by_month as (
    select * from revenue_by_month
),

final as (
    select period, currency
    from revenue_by_month
    where start_minor + new_minor + reactivation_minor + resume_minor + expansion_minor
        - contraction_minor - pause_minor - churn_minor <> mrr_minor
)

select * from final
