//! The queries of the overview, the customer list, the invoices and the reconciliation page.

/// Months that were billed, the latest first.
pub(crate) const BILLED_PERIODS: &str = "
    select period, state from stg_metering__periods where state in ('drafted', 'closed') order by period desc";

/// The month and the one before, in one row each.
pub(crate) const HEADLINE: &str = "
    select
        period,
        sum(case when status = 'active' and mrr_minor > 0 then 1 else 0 end) as active_customers,
        sum(machines_backup) as machines_backup,
        sum(machines_enterprise) as machines_enterprise,
        sum(machines_replication) as machines_replication,
        sum(mrr_minor) as mrr_minor,
        sum(mrr_minor + usage_revenue_minor) as billed_minor
    from customer_months
    where period in ({period}, {before})
    group by period";

/// What the open month would bill if it ended now.
pub(crate) const RUN_RATE: &str = "
    select period, sum(amount_minor) as amount_minor from stg_billing__run_rates group by period order by period desc limit 1";

/// Revenue of 18 months.
pub(crate) const TREND: &str = "
    select period, sum(mrr_minor) as mrr_minor, sum(usage_revenue_minor) as usage_revenue_minor
    from customer_months
    where period between {since} and {period}
    group by period
    order by period";

/// What customers pay for machines, and for everything.
pub(crate) const RETAIL: &str = "
    select
        coalesce(sum(case when item like 'machine_%' then amount_minor else 0 end), 0) as machines_minor,
        coalesce(sum(amount_minor), 0) as all_minor
    from invoice_lines
    where period = {period}";

/// What the MSP pays for machines, and the platform fee.
pub(crate) const MACHINE_COST: &str = "
    select machine_wholesale_minor as wholesale_minor, platform_fee_minor as fee_minor from margin_by_month where period = {period}";

/// The largest customers.
pub(crate) const TOP_CUSTOMERS: &str = "
    select customer_code, customer_name, machines, mrr_minor
    from customer_months
    where period = {period} and mrr_minor > 0
    order by mrr_minor desc, customer_code
    limit 8";

/// Machines and their charges by tier.
pub(crate) const PLAN_MIX: &str = "
    select tier, sum(machines) as machines, sum(amount_minor) as amount_minor
    from plan_mix
    where period = {period}
    group by tier
    order by case tier when 'backup' then 1 when 'enterprise' then 2 else 3 end";

/// Customers most likely to leave.
pub(crate) const CHURN_RISK: &str = "
    select
        s.customer_code, m.customer_name, m.mrr_minor,
        cast(round(s.probability * 10000) as bigint) as risk_percent, s.risk, s.reasons, s.model, s.state, s.departures,
        s.challenger_model, s.challenger_auc, s.challenger_auc_low, s.challenger_auc_high
    from churn_scores s
    join customer_months m on m.customer_id = s.customer_id and m.period = s.period
    where s.period = {period}
    order by s.probability desc, s.customer_code
    limit 5";

/// Customers by health band.
pub(crate) const HEALTH_BANDS: &str = "
    select state as band, count(*) as customers
    from health_scores
    where period = {period}
    group by state
    order by case state when 'healthy' then 1 when 'at_risk' then 2 when 'critical' then 3 else 4 end";

/// Service levels of all customers together.
pub(crate) const SERVICE_LEVELS: &str = "
    select
        coalesce(sum(case when machine_days_scheduled > 0 then 1 else 0 end), 0) as customers,
        coalesce(sum(case when is_backup_sla_met then 1 else 0 end), 0) as customers_met,
        coalesce(sum(machine_days_met), 0) as machine_days_met,
        coalesce(sum(machine_days_scheduled), 0) as machine_days_scheduled,
        coalesce(sum(runs_succeeded), 0) as runs_succeeded,
        coalesce(sum(runs_total), 0) as runs_total,
        coalesce(sum(restores_completed), 0) as restores,
        coalesce(sum(tickets_opened), 0) as tickets,
        coalesce(sum(tickets_in_target), 0) as tickets_in_target
    from service_levels
    where period = {period}";

/// The most valuable opportunities.
pub(crate) const EXPANSION_TOP: &str = "
    select e.customer_code, c.customer_name, e.kind, e.item, cast(e.quantity as bigint) as quantity, e.monthly_minor
    from expansion_opportunities e
    join stg_tenants__customers c on c.customer_id = e.customer_id
    order by e.monthly_minor desc, e.customer_code, e.kind, e.item
    limit 6";

/// All opportunities together.
pub(crate) const EXPANSION_TOTAL: &str = "
    select coalesce(sum(monthly_minor), 0) as amount_minor from expansion_opportunities";

/// Every customer in a month, with what the list shows to all roles of an MSP.
pub(crate) const CUSTOMERS: &str = "
    select
        m.customer_code, m.customer_name, m.status, m.machines, m.machines_backup, m.machines_enterprise, m.machines_replication,
        m.mrr_minor, m.stored_bytes_average,
        coalesce(l.machine_days_met, 0) as machine_days_met,
        coalesce(l.machine_days_scheduled, 0) as machine_days_scheduled
    from customer_months m
    left join service_levels l on l.customer_id = m.customer_id and l.period = m.period
    where m.period = {period}
    order by m.mrr_minor desc, m.customer_code";

/// Health and churn of every customer in a month.
pub(crate) const CUSTOMER_SCORES: &str = "
    select h.customer_code, h.score, h.state as band, cast(round(s.probability * 10000) as bigint) as risk_percent, s.risk
    from health_scores h
    left join churn_scores s on s.customer_id = h.customer_id and s.period = h.period
    where h.period = {period}";

/// The documents of a month, or of one customer for all months when one is named.
pub(crate) const INVOICES: &str = "
    select
        c.customer_code, c.customer_name, i.period, i.number, i.state, i.currency,
        case i.kind when 'credit_note' then -i.net_minor else i.net_minor end as net_minor,
        case i.kind when 'credit_note' then -i.tax_minor else i.tax_minor end as tax_minor,
        case i.kind when 'credit_note' then -i.total_minor else i.total_minor end as total_minor, i.paid_minor, i.due_on
    from stg_billing__invoices i
    join stg_tenants__customers c on c.customer_id = i.customer_id
    where i.period = {period}
    order by c.customer_name";

/// The operator's statement, by item.
pub(crate) const STATEMENT: &str = "
    select l.item, count(*) as lines, sum(l.amount_minor) as amount_minor, min(l.currency) as currency
    from stg_billing__statement_lines l
    join stg_billing__statements s on s.statement_id = l.statement_id
    where s.period = {period}
    group by l.item
    order by amount_minor desc";
