with erased_totals as (
    select * from stg_billing__erased_totals
),

final as (
    select
        period,
        period_start_on,
        currency,
        coalesce(sum(amount_minor) filter (where is_recurring), 0) as recurring_minor,
        coalesce(sum(amount_minor) filter (where not is_recurring), 0) as usage_revenue_minor
    from erased_totals
    group by 1, 2, 3
)

select * from final
