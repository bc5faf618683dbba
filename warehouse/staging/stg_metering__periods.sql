with source as (
    select * from lake.periods
),

final as (
    select
        period,
        cast(period || '-01' as date) as period_start_on,
        state,
        state = 'closed' as is_closed,
        closed_at
    from source
)

select * from final
