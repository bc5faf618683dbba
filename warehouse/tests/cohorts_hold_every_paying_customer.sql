-- The MRR of a closed month is that of its cohorts.
with cohorts as (
    select period, currency, sum(amount_minor) as amount_minor, sum(customers_active) as customers_active
    from cohorts
    group by period, currency
),

revenue as (
    select * from revenue_by_month
),

final as (
    select revenue.period, revenue.currency
    from revenue
    left join cohorts on cohorts.period = revenue.period and cohorts.currency = revenue.currency
    where revenue.mrr_minor <> coalesce(cohorts.amount_minor, 0)
        or revenue.active_customers <> coalesce(cohorts.customers_active, 0)
)

select * from final
