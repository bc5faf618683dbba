with mrr as (
    select * from mrr_by_customer_month where cohort_start_on is not null
),

customers_started as (
    select * from int_customers_started
),

sizes as (
    select
        customers_started.cohort_start_on,
        currencies.currency,
        count(*) as customers,
        sum(customers_started.first_mrr_minor) as first_minor
    from customers_started
    inner join (select customer_id, max(currency) as currency from mrr group by customer_id) as currencies
        on currencies.customer_id = customers_started.customer_id
    group by 1, 2
),

summed as (
    select
        cohort_start_on,
        currency,
        period,
        period_start_on,
        count(*) filter (where amount_minor > 0) as customers_active,
        sum(amount_minor) as amount_minor,
        max(as_of_at) as as_of_at
    from mrr
    where period_start_on >= cohort_start_on
    group by 1, 2, 3, 4
),

final as (
    select
        to_char(summed.cohort_start_on, '%Y-%m') as cohort,
        summed.cohort_start_on,
        summed.period,
        summed.period_start_on,
        cast(
            (date_part('year', summed.period_start_on) - date_part('year', summed.cohort_start_on)) * 12
            + date_part('month', summed.period_start_on) - date_part('month', summed.cohort_start_on) as bigint
        ) as age_months,
        summed.currency,
        sizes.customers,
        summed.customers_active,
        cast(summed.customers_active as double) / nullif(sizes.customers, 0) as customers_kept,
        sizes.first_minor,
        summed.amount_minor,
        major(summed.amount_minor, summed.currency) as amount,
        cast(summed.amount_minor as double) / nullif(sizes.first_minor, 0) as revenue_kept,
        true as is_closed,
        summed.as_of_at
    from summed
    inner join sizes on sizes.cohort_start_on = summed.cohort_start_on and sizes.currency = summed.currency
)

select * from final
