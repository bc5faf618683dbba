with customers as (
    select * from dim_customers where is_current
),

customer_months as (
    select * from customer_months
),

service_levels as (
    select * from service_levels
),

health_scores as (
    select * from health_scores
),

churn_scores as (
    select * from churn_scores
),

expansion as (
    select customer_id, sum(monthly_minor) as expansion_minor
    from expansion_opportunities
    group by customer_id
),

run_rates as (
    select * from stg_billing__run_rates
),

mrr as (
    select
        customer_id,
        max(cohort_start_on) as cohort_start_on,
        sum(amount_minor) as lifetime_mrr_minor
    from mrr_by_customer_month
    group by customer_id
),

newest as (
    select customer_id, max(period) as period
    from customer_months
    where is_closed
    group by customer_id
),

months as (
    select customer_months.*
    from customer_months
    inner join newest on newest.customer_id = customer_months.customer_id and newest.period = customer_months.period
),

invoiced as (
    select
        customer_id,
        sum(total_minor) as invoiced_minor,
        sum(total_minor - paid_minor) filter (where total_minor > paid_minor) as outstanding_minor,
        min(due_on) filter (where total_minor > paid_minor) as oldest_due_on
    from stg_billing__invoices
    where state = 'finalised' and kind = 'invoice'
    group by customer_id
),

paid as (
    select customer_id, max(received_on) as last_paid_on
    from stg_billing__payments
    group by customer_id
),

final as (
    select
        customers.customer_id,
        customers.customer_code,
        customers.customer_name,
        customers.status,
        customers.valid_from as status_terms_since_on,
        customers.vertical,
        customers.time_zone,
        customers.activated_on,
        mrr.cohort_start_on,
        customers.contract_starts_on,
        customers.contract_ends_on,
        customers.default_tier,
        months.period,
        months.period_start_on,
        months.machines,
        customers.contracted_machines,
        customers.machine_limit,
        months.stored_bytes_average,
        months.storage_limit_bytes,
        months.run_success,
        service_levels.backup_sla,
        service_levels.is_backup_sla_met,
        months.tickets_opened,
        coalesce(months.mrr_minor, 0) as amount_minor,
        major(coalesce(months.mrr_minor, 0), coalesce(months.currency, customers.currency)) as amount,
        coalesce(months.usage_revenue_minor, 0) as usage_revenue_minor,
        coalesce(mrr.lifetime_mrr_minor, 0) as lifetime_mrr_minor,
        run_rates.amount_minor as run_rate_minor,
        coalesce(invoiced.invoiced_minor, 0) as invoiced_minor,
        coalesce(invoiced.outstanding_minor, 0) as outstanding_minor,
        invoiced.oldest_due_on,
        paid.last_paid_on,
        health_scores.score as health_score,
        health_scores.state as health_state,
        churn_scores.probability as churn_probability,
        churn_scores.risk as churn_risk,
        churn_scores.top_reason as churn_reason,
        coalesce(expansion.expansion_minor, 0) as expansion_minor,
        coalesce(months.currency, customers.currency) as currency,
        months.is_closed,
        months.as_of_at
    from customers
    left join months on months.customer_id = customers.customer_id
    left join service_levels
        on service_levels.customer_id = months.customer_id and service_levels.period = months.period
    left join health_scores
        on health_scores.customer_id = months.customer_id and health_scores.period = months.period
    left join churn_scores
        on churn_scores.customer_id = months.customer_id and churn_scores.period = months.period
    left join expansion on expansion.customer_id = customers.customer_id
    left join run_rates on run_rates.customer_id = customers.customer_id
    left join mrr on mrr.customer_id = customers.customer_id
    left join invoiced on invoiced.customer_id = customers.customer_id
    left join paid on paid.customer_id = customers.customer_id
)

select * from final
