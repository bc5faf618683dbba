//! What this room publishes into the lake.

use granary_types::{Column, ColumnKind, Dataset, Source};

/// Health and churn scores: one row per customer and closed period, with everything that explains the number.
pub const DATASETS: &[Dataset] = &[HEALTH_SCORES, CHURN_SCORES];

pub(crate) const HEALTH_SCORES: Dataset = Dataset {
    name: "health_scores",
    source: Source::Published,
    month_column: Some("period_start_on"),
    columns: &[
        Column::new("customer_id", ColumnKind::Uuid),
        Column::new("customer_code", ColumnKind::Text),
        Column::new("period", ColumnKind::Text),
        Column::new("period_start_on", ColumnKind::Date),
        // 0 to 100; null when too little is known
        Column::nullable("score", ColumnKind::Int32),
        // 'healthy', 'at_risk', 'critical', 'unknown'
        Column::new("state", ColumnKind::Text),
        Column::nullable("previous_score", ColumnKind::Int32),
        // what each factor gives and could have given; null without data; with the cap they add up to the score
        Column::nullable("backup_points", ColumnKind::Int32),
        Column::nullable("payment_points", ColumnKind::Int32),
        Column::nullable("tickets_points", ColumnKind::Int32),
        Column::nullable("adoption_points", ColumnKind::Int32),
        Column::nullable("utilisation_points", ColumnKind::Int32),
        // zero, or what a factor at zero takes away
        Column::new("cap_points", ColumnKind::Int32),
        Column::new("coverage_percent", ColumnKind::Int32),
        Column::nullable("backup_success_percent", ColumnKind::Float64),
        Column::nullable("days_late", ColumnKind::Float64),
        Column::nullable("tickets_ratio", ColumnKind::Float64),
        Column::nullable("adoption_percent", ColumnKind::Float64),
        Column::nullable("utilisation_percent", ColumnKind::Float64),
        // in words: what changed since the month before, factor by factor
        Column::new("explanation", ColumnKind::Text),
        // unpaid and past due at the period's end
        Column::new("overdue_minor", ColumnKind::Int64),
        Column::new("overdue_days", ColumnKind::Int32),
    ],
    sort: &["period", "customer_code"],
};

pub(crate) const CHURN_SCORES: Dataset = Dataset {
    name: "churn_scores",
    source: Source::Published,
    month_column: Some("period_start_on"),
    columns: &[
        Column::new("customer_id", ColumnKind::Uuid),
        Column::new("customer_code", ColumnKind::Text),
        Column::new("period", ColumnKind::Text),
        Column::new("period_start_on", ColumnKind::Date),
        // of notice within 90 days after the period
        Column::new("probability", ColumnKind::Float64),
        // 'high', 'medium', 'low', against the customers' mean
        Column::new("risk", ColumnKind::Text),
        Column::new("log_odds", ColumnKind::Float64),
        Column::new("base_log_odds", ColumnKind::Float64),
        // a JSON array of {"factor", "words", "log_odds"}, heaviest first; with the base they add up to the log-odds
        Column::new("reasons", ColumnKind::Text),
        Column::new("top_reason", ColumnKind::Text),
        // 'rule', 'held', 'learned': the model in charge
        Column::new("model", ColumnKind::Text),
        // in words: "14 departures, too few to learn"
        Column::new("state", ColumnKind::Text),
        Column::new("departures", ColumnKind::Int32),
        // the learned model beside the rule, with the interval of its ROC-AUC
        Column::nullable("challenger_model", ColumnKind::Text),
        Column::nullable("challenger_probability", ColumnKind::Float64),
        Column::nullable("challenger_auc", ColumnKind::Float64),
        Column::nullable("challenger_auc_low", ColumnKind::Float64),
        Column::nullable("challenger_auc_high", ColumnKind::Float64),
    ],
    sort: &["period", "customer_code"],
};
