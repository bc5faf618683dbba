with customer_periods as (
    select * from int_customer_periods
),

usage as (
    select * from usage_by_customer_month
),

lines as (
    select * from int_lines_summed
),

mrr as (
    select * from int_mrr_states
),

final as (
    select
        customer_periods.customer_id,
        customer_periods.customer_code,
        customer_periods.customer_name,
        customer_periods.period,
        customer_periods.period_start_on,
        customer_periods.is_closed,
        customer_periods.as_of_at,
        customer_periods.status,
        customer_periods.default_tier,
        usage.machines,
        usage.machines_backup,
        usage.machines_enterprise,
        usage.machines_replication,
        customer_periods.contracted_machines,
        customer_periods.machine_limit,
        usage.runs_completed,
        usage.runs_with_warning,
        usage.runs_failed,
        usage.run_success,
        usage.transferred_bytes,
        usage.stored_bytes_average,
        customer_periods.storage_limit_bytes,
        usage.restores_completed,
        usage.restores_failed,
        usage.tickets_opened,
        usage.api_calls,
        usage.portal_logins,
        coalesce(mrr.start_minor, 0) as mrr_start_minor,
        coalesce(mrr.mrr_minor, 0) as mrr_minor,
        major(coalesce(mrr.mrr_minor, 0), coalesce(lines.currency, customer_periods.currency)) as mrr,
        coalesce(lines.usage_minor, 0) as usage_revenue_minor,
        major(coalesce(lines.usage_minor, 0), coalesce(lines.currency, customer_periods.currency)) as usage_revenue,
        coalesce(lines.discount_minor, 0) as discount_minor,
        coalesce(lines.net_minor, 0) as net_minor,
        major(coalesce(lines.net_minor, 0), coalesce(lines.currency, customer_periods.currency)) as net,
        coalesce(lines.currency, customer_periods.currency) as currency
    from customer_periods
    inner join usage
        on usage.customer_id = customer_periods.customer_id and usage.period = customer_periods.period
    left join lines
        on lines.customer_id = customer_periods.customer_id and lines.period = customer_periods.period
    left join mrr
        on mrr.customer_id = customer_periods.customer_id and mrr.period = customer_periods.period
)

select * from final
