//! What commands ask the warehouse.

/// Every customer's score in the newest scored period, the likeliest first.
pub(crate) const CHURN_SCORES: &str = "
select customer_code, period, probability, risk, model, state, top_reason
from churn_scores
where period = (select max(period) from churn_scores)
order by probability desc, customer_code";

/// The same with everything that explains it.
pub(crate) const CHURN_EXPLANATIONS: &str = "
select
    customer_code, period, probability, risk, log_odds, base_log_odds, reasons, top_reason, model, state, departures,
    challenger_model, challenger_probability, challenger_auc, challenger_auc_low, challenger_auc_high
from churn_scores
where period = (select max(period) from churn_scores)";
