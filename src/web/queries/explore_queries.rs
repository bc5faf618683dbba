//! The catalogue's queries. Each takes the month; those that name it take one customer or, when it is empty, all that the
//! grant shows.

pub(crate) const ACTIVE_CUSTOMERS: &str = "
    select customer_code, customer_name, machines, mrr_minor, currency
    from customer_months
    where period = {period} and status = 'active' and mrr_minor > 0
    order by customer_code";

pub(crate) const MRR: &str = "
    select customer_code, customer_name, status, mrr_minor, usage_revenue_minor, net_minor, currency
    from customer_months
    where period = {period} and ({customer} = '' or customer_code = {customer})
    order by mrr_minor desc, customer_code";

pub(crate) const MRR_MOVEMENTS: &str = "
    select m.customer_code, c.customer_name, m.movement, m.reason, m.amount_minor, m.currency
    from mrr_movements m
    join stg_tenants__customers c on c.customer_id = m.customer_id
    where m.period = {period} and ({customer} = '' or m.customer_code = {customer})
    order by m.movement, m.customer_code";

pub(crate) const RUN_RATE: &str = "
    select c.customer_code, c.customer_name, r.period, r.amount_minor, r.currency
    from stg_billing__run_rates r
    join stg_tenants__customers c on c.customer_id = r.customer_id
    where r.period = {period} and ({customer} = '' or c.customer_code = {customer})
    order by r.amount_minor desc, c.customer_code";

pub(crate) const MACHINES: &str = "
    select customer_code, machine_name, tier, first_on, last_on, runs_completed + runs_with_warning + runs_failed as runs_total, runs_failed,
        cycles_completed, last_good_at
    from machine_months
    where period = {period} and is_billed
        and ({customer} = '' or customer_code = {customer})
        and ({word} = '' or tier = {word})
    order by customer_code, machine_name";

pub(crate) const MACHINE_LINES: &str = "
    select customer_code, description, quantity, unit_price, amount_minor, currency
    from invoice_lines
    where period = {period} and item in ('machine_backup', 'machine_enterprise', 'machine_replication')
        and ({customer} = '' or customer_code = {customer})
    order by customer_code, position";

pub(crate) const OTHER_LINES: &str = "
    select customer_code, description, quantity, unit_price, amount_minor, currency
    from invoice_lines
    where period = {period} and item not like 'machine_%' and ({customer} = '' or customer_code = {customer})
    order by customer_code, position";

pub(crate) const CHARGES: &str = "
    select customer_code, description, quantity, unit_price, amount_minor, currency
    from invoice_lines
    where period = {period} and ({customer} = '' or customer_code = {customer})
    order by customer_code, position";

pub(crate) const INVOICES: &str = "
    select c.customer_code, i.number, i.state,
        case i.kind when 'credit_note' then -i.net_minor else i.net_minor end as net_minor,
        case i.kind when 'credit_note' then -i.tax_minor else i.tax_minor end as tax_minor,
        case i.kind when 'credit_note' then -i.total_minor else i.total_minor end as total_minor, i.paid_minor,
        case i.kind when 'credit_note' then -i.total_minor else i.total_minor end - i.paid_minor as open_minor, i.due_on, i.currency
    from stg_billing__invoices i
    join stg_tenants__customers c on c.customer_id = i.customer_id
    where i.period = {period} and ({customer} = '' or c.customer_code = {customer})
    order by c.customer_code";

pub(crate) const WHOLESALE_LINES: &str = "
    select c.customer_code, l.item as description, l.quantity, l.unit_price, l.amount_minor, l.currency
    from stg_billing__statement_lines l
    join stg_billing__statements s on s.statement_id = l.statement_id
    left join stg_tenants__customers c on c.customer_id = l.customer_id
    where s.period = {period} and l.item in ('machine_backup', 'machine_enterprise', 'machine_replication')
    order by c.customer_code, l.item";

pub(crate) const PLATFORM_FEE: &str = "
    select '' as customer_code, l.item as description, l.quantity, l.unit_price, l.amount_minor, l.currency
    from stg_billing__statement_lines l
    join stg_billing__statements s on s.statement_id = l.statement_id
    where s.period = {period} and l.customer_id is null";

pub(crate) const STATEMENT: &str = "
    select coalesce(c.customer_code, '') as customer_code, l.item as description, l.quantity, l.unit_price, l.amount_minor, l.currency
    from stg_billing__statement_lines l
    join stg_billing__statements s on s.statement_id = l.statement_id
    left join stg_tenants__customers c on c.customer_id = l.customer_id
    where s.period = {period}
    order by customer_code, l.item";

pub(crate) const MARGIN: &str = "
    select customer_code, item, retail_minor, wholesale_minor, margin_minor, currency
    from margin
    where period = {period} and item like 'machine_%'
    union all
    select '' as customer_code, 'platform_fee' as item, 0 as retail_minor, platform_fee_minor as wholesale_minor,
        -platform_fee_minor as margin_minor, currency
    from margin_by_month
    where period = {period}
    order by customer_code, item";

pub(crate) const SERVICE_LEVELS: &str = "
    select customer_code, machine_days_met, machine_days_scheduled,
        case when machine_days_scheduled > 0 then machine_days_met * 10000 / machine_days_scheduled end as backup_percent,
        runs_succeeded, runs_total, restores_completed, cast(round(restore_median_minutes) as bigint) as restore_median_minutes,
        tickets_opened, tickets_in_target
    from service_levels
    where period = {period} and ({customer} = '' or customer_code = {customer})
    order by customer_code";

pub(crate) const HEALTH: &str = "
    select h.customer_code, m.customer_name, h.score, h.state, m.mrr_minor, m.currency
    from health_scores h
    join customer_months m on m.customer_id = h.customer_id and m.period = h.period
    where h.period = {period} and ({customer} = '' or h.customer_code = {customer}) and ({word} = '' or h.state = {word})
    order by h.score, h.customer_code";

pub(crate) const CHURN: &str = "
    select s.customer_code, m.customer_name, cast(round(s.probability * 10000) as bigint) as risk_percent, s.risk, s.top_reason,
        m.mrr_minor, m.currency
    from churn_scores s
    join customer_months m on m.customer_id = s.customer_id and m.period = s.period
    where s.period = {period} and ({customer} = '' or s.customer_code = {customer})
    order by s.probability desc, s.customer_code";

pub(crate) const EXPANSION: &str = "
    select e.customer_code, c.customer_name, e.period, e.kind, e.item, e.quantity, e.monthly_minor, e.currency
    from expansion_opportunities e
    join stg_tenants__customers c on c.customer_id = e.customer_id
    order by e.monthly_minor desc, e.customer_code, e.kind, e.item";

pub(crate) const STORAGE: &str = "
    select customer_code, stored_bytes_average, limit_bytes, overage_gib, amount_minor, currency
    from storage_overage
    where period = {period} and ({customer} = '' or customer_code = {customer})
    order by stored_bytes_average desc, customer_code";

pub(crate) const USAGE: &str = "
    select customer_code, machines, runs_completed, runs_with_warning, runs_failed, stored_bytes_average, transferred_bytes, tickets_opened
    from usage_by_customer_month
    where period = {period} and ({customer} = '' or customer_code = {customer})
    order by customer_code";

pub(crate) const REVENUE: &str = "
    select period, sum(mrr_minor) as mrr_minor, sum(usage_revenue_minor) as usage_revenue_minor
    from customer_months
    where period between {since} and {period} and ({customer} = '' or customer_code = {customer})
    group by period
    order by period";
