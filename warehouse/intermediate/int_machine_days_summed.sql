with machine_days as (
    select * from stg_metering__machine_days
),

marked as (
    select
        customer_id,
        machine_id,
        period,
        billing_on,
        runs_completed + cycles_completed > 0 as has_completed,
        case tier when 'replication' then 3 when 'enterprise' then 2 when 'backup' then 1 end as tier_rank,
        is_in_protection,
        cycles_completed,
        transferred_bytes
    from machine_days
),

final as (
    select
        customer_id,
        machine_id,
        period,
        max(tier_rank) filter (where has_completed) as tier_rank,
        min(billing_on) filter (where has_completed) as first_on,
        max(billing_on) filter (where has_completed) as last_on,
        max(billing_on) as last_seen_on,
        count(*) filter (where is_in_protection) as days_in_protection,
        count(*) as days_seen,
        sum(cycles_completed) as cycles_completed,
        sum(transferred_bytes) as transferred_bytes
    from marked
    group by customer_id, machine_id, period
)

select * from final
