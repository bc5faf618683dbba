with backup_runs as (
    select * from stg_metering__backup_runs
),

final as (
    select
        customer_id,
        machine_id,
        month as source_month,
        cast(date_trunc('month', billing_on) as date) as billing_start_on,
        cast(date_trunc('month', service_on) as date) as service_start_on,
        bit_or(day_bit(service_on)) filter (where is_success) as success_days,
        count(*) filter (where state = 'completed') as runs_completed,
        count(*) filter (where state = 'completed_with_warning') as runs_with_warning,
        count(*) filter (where state = 'failed') as runs_failed,
        max(ended_at) filter (where is_success) as last_good_at
    from backup_runs
    group by 1, 2, 3, 4, 5
)

select * from final
