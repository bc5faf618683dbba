with source as (
    select * from lake.churn_scores
),

final as (
    select
        customer_id,
        customer_code,
        period,
        period_start_on,
        probability,
        risk,
        log_odds,
        base_log_odds,
        reasons,
        top_reason,
        model,
        state,
        departures,
        challenger_model,
        challenger_probability,
        challenger_auc,
        challenger_auc_low,
        challenger_auc_high
    from source
)

select * from final
