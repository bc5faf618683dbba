with mrr as (
    select * from int_mrr_states
),

mrr_movements as (
    select * from mrr_movements
),

customers_started as (
    select * from int_customers_started
),

moved as (
    select
        customer_id,
        period,
        coalesce(sum(amount_minor) filter (where movement = 'new'), 0) as new_minor,
        coalesce(sum(amount_minor) filter (where movement = 'reactivation'), 0) as reactivation_minor,
        coalesce(sum(amount_minor) filter (where movement = 'resume'), 0) as resume_minor,
        coalesce(sum(amount_minor) filter (where movement = 'expansion'), 0) as expansion_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'contraction'), 0) as contraction_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'pause'), 0) as pause_minor,
        coalesce(-sum(amount_minor) filter (where movement = 'churn'), 0) as churn_minor
    from mrr_movements
    group by customer_id, period
),

final as (
    select
        mrr.customer_id,
        mrr.customer_code,
        mrr.period,
        mrr.period_start_on,
        mrr.default_tier,
        mrr.vertical,
        customers_started.cohort_start_on,
        mrr.state,
        mrr.start_minor,
        coalesce(moved.new_minor, 0) as new_minor,
        coalesce(moved.reactivation_minor, 0) as reactivation_minor,
        coalesce(moved.resume_minor, 0) as resume_minor,
        coalesce(moved.expansion_minor, 0) as expansion_minor,
        coalesce(moved.contraction_minor, 0) as contraction_minor,
        coalesce(moved.pause_minor, 0) as pause_minor,
        coalesce(moved.churn_minor, 0) as churn_minor,
        mrr.mrr_minor as amount_minor,
        major(mrr.mrr_minor, mrr.currency) as amount,
        case when mrr.start_minor > 0 then mrr.mrr_minor else 0 end as retained_minor,
        least(mrr.mrr_minor, mrr.start_minor) as kept_minor,
        mrr.currency,
        true as is_closed,
        mrr.as_of_at
    from mrr
    left join moved on moved.customer_id = mrr.customer_id and moved.period = mrr.period
    left join customers_started on customers_started.customer_id = mrr.customer_id
)

select * from final
