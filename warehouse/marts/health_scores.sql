with source as (
    select * from lake.health_scores
),

final as (
    select
        customer_id,
        customer_code,
        period,
        period_start_on,
        score,
        state,
        previous_score,
        backup_points,
        payment_points,
        tickets_points,
        adoption_points,
        utilisation_points,
        cap_points,
        coverage_percent,
        backup_success_percent,
        days_late,
        tickets_ratio,
        adoption_percent,
        utilisation_percent,
        explanation,
        overdue_minor,
        overdue_days
    from source
)

select * from final
