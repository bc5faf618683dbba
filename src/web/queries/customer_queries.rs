//! The queries of one customer's page and of the API.

/// The documents of a customer.
pub(crate) const INVOICES: &str = "
    select
        c.customer_code, c.customer_name, i.period, i.number, i.state, i.currency,
        case i.kind when 'credit_note' then -i.net_minor else i.net_minor end as net_minor,
        case i.kind when 'credit_note' then -i.tax_minor else i.tax_minor end as tax_minor,
        case i.kind when 'credit_note' then -i.total_minor else i.total_minor end as total_minor, i.paid_minor, i.due_on
    from stg_billing__invoices i
    join stg_tenants__customers c on c.customer_id = i.customer_id
    where c.customer_code = {customer}
    order by i.period desc, i.number
    limit 12";

/// The months since the customer is known, the latest first, and whether anything happened in them.
pub(crate) const PERIODS: &str = "
    select period, is_closed,
        machines > 0 or runs_completed + runs_with_warning + runs_failed > 0 or stored_bytes_average > 0 or net_minor <> 0 as has_data
    from customer_months
    where customer_code = {customer}
    order by period desc";

/// What the open month would bill if it ended now.
pub(crate) const RUN_RATE: &str = "
    select r.amount_minor
    from stg_billing__run_rates r
    join stg_tenants__customers c on c.customer_id = r.customer_id
    where c.customer_code = {customer} and r.period = {period}";

/// Where the customer stood at the month's end.
pub(crate) const STATUS: &str = "
    select status from customer_months where customer_code = {customer} and period = {period}";

/// The currency of the customer's contract.
pub(crate) const CURRENCY: &str = "
    select currency from customer_months where customer_code = {customer} and period = {period}";

/// The health of a month, factor by factor.
pub(crate) const HEALTH: &str = "
    select
        score, state, previous_score, backup_points, payment_points, tickets_points, adoption_points, utilisation_points,
        cap_points, explanation, overdue_minor, overdue_days
    from health_scores
    where customer_code = {customer} and period = {period}";

/// The health of 18 months.
pub(crate) const HEALTH_TREND: &str = "
    select period, score from health_scores
    where customer_code = {customer} and period between {since} and {period}
    order by period";

/// The churn risk of a month.
pub(crate) const CHURN: &str = "
    select
        cast(round(probability * 10000) as bigint) as risk_percent, risk, reasons, model, state, departures,
        challenger_model, challenger_auc, challenger_auc_low, challenger_auc_high
    from churn_scores
    where customer_code = {customer} and period = {period}";

/// The revenue of 18 months.
pub(crate) const REVENUE: &str = "
    select period, mrr_minor, usage_revenue_minor from customer_months
    where customer_code = {customer} and period between {since} and {period}
    order by period";
