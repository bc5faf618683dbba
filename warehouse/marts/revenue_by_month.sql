with customer_months as (
    select * from customer_months
),

mrr_movements as (
    select * from mrr_movements
),

balances as (
    select
        period,
        period_start_on,
        currency,
        max(as_of_at) as as_of_at,
        sum(mrr_start_minor) as start_minor,
        sum(mrr_minor) as mrr_minor,
        sum(usage_revenue_minor) as usage_revenue_minor,
        count(*) filter (where mrr_start_minor > 0) as customers_at_start,
        count(*) filter (where mrr_minor > 0) as active_customers,
        coalesce(sum(mrr_minor) filter (where mrr_start_minor > 0), 0) as retained_minor,
        coalesce(sum(least(mrr_minor, mrr_start_minor)), 0) as kept_minor
    from customer_months
    where is_closed
    group by 1, 2, 3
),

moved as (
    select
        period,
        currency,
        coalesce(sum(amount_minor) filter (where movement = 'new'), 0) as new_minor,
        coalesce(sum(amount_minor) filter (where movement = 'reactivation'), 0) as reactivation_minor,
        coalesce(sum(amount_minor) filter (where movement = 'resume'), 0) as resume_minor,
        coalesce(sum(amount_minor) filter (where movement = 'expansion'), 0) as expansion_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'contraction'), 0) as contraction_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'pause'), 0) as pause_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'churn'), 0) as churn_minor,
        count(distinct customer_id) filter (where movement in ('new', 'reactivation')) as customers_new,
        count(distinct customer_id) filter (where movement = 'churn') as customers_lost
    from mrr_movements
    group by 1, 2
),

joined as (
    select
        balances.period,
        balances.period_start_on,
        balances.currency,
        balances.as_of_at,
        balances.start_minor,
        coalesce(moved.new_minor, 0) as new_minor,
        coalesce(moved.reactivation_minor, 0) as reactivation_minor,
        coalesce(moved.resume_minor, 0) as resume_minor,
        coalesce(moved.expansion_minor, 0) as expansion_minor,
        coalesce(moved.contraction_minor, 0) as contraction_minor,
        coalesce(moved.pause_minor, 0) as pause_minor,
        coalesce(moved.churn_minor, 0) as churn_minor,
        balances.mrr_minor,
        balances.usage_revenue_minor,
        balances.customers_at_start,
        balances.active_customers,
        coalesce(moved.customers_new, 0) as customers_new,
        coalesce(moved.customers_lost, 0) as customers_lost,
        balances.retained_minor,
        balances.kept_minor
    from balances
    left join moved on moved.period = balances.period and moved.currency = balances.currency
),

trailing as (
    select
        *,
        cast(sum(customers_lost) over half_a_year as double) / nullif(sum(customers_at_start) over half_a_year, 0) as trailing_churn
    from joined
    window half_a_year as (partition by currency order by period rows between 5 preceding and current row)
),

final as (
    select
        period,
        period_start_on,
        currency,
        start_minor,
        new_minor,
        reactivation_minor,
        resume_minor,
        expansion_minor,
        contraction_minor,
        pause_minor,
        churn_minor,
        mrr_minor,
        major(mrr_minor, currency) as mrr,
        usage_revenue_minor,
        customers_at_start,
        active_customers,
        customers_new,
        customers_lost,
        cast(mrr_minor - start_minor as double) / nullif(start_minor, 0) as growth,
        cast(retained_minor as double) / nullif(start_minor, 0) as nrr,
        cast(kept_minor as double) / nullif(start_minor, 0) as grr,
        cast(new_minor + expansion_minor + reactivation_minor + resume_minor as double)
            / nullif(contraction_minor + churn_minor + pause_minor, 0) as quick_ratio,
        cast(customers_lost as double) / nullif(customers_at_start, 0) as logo_churn,
        cast(round(cast(mrr_minor as double) / nullif(active_customers, 0)) as bigint) as arpa_minor,
        cast(round(cast(mrr_minor as double) / nullif(active_customers, 0) / nullif(trailing_churn, 0)) as bigint) as ltv_minor,
        12 * mrr_minor as arr_minor,
        as_of_at
    from trailing
)

select * from final
