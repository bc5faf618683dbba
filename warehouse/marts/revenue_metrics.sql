with revenue_by_month as (
    select * from revenue_by_month
),

final as (
    select
        period,
        period_start_on,
        currency,
        mrr_minor as amount_minor,
        major(mrr_minor, currency) as amount,
        active_customers,
        growth,
        nrr,
        grr,
        quick_ratio,
        logo_churn,
        arpa_minor,
        major(arpa_minor, currency) as arpa,
        ltv_minor,
        major(ltv_minor, currency) as ltv,
        arr_minor,
        major(arr_minor, currency) as arr,
        true as is_closed,
        as_of_at
    from revenue_by_month
)

select * from final
