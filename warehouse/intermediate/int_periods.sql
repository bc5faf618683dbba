with periods as (
    select * from stg_metering__periods
),

machine_months as (
    select * from int_machine_days_summed
),

rated_lines as (
    select * from stg_billing__rated_lines
),

heartbeats as (
    select max(last_at) as last_at from stg_metering__heartbeats
),

known as (
    select period, is_closed, false as has_lines, cast(null as date) as last_on, closed_at from periods
    union all
    select period, false, false, max(last_seen_on), cast(null as timestamp with time zone) from machine_months group by period
    union all
    select distinct period, false, true, cast(null as date), cast(null as timestamp with time zone) from rated_lines
),

merged as (
    select
        period,
        cast(period || '-01' as date) as period_start_on,
        bool_or(is_closed) as is_closed,
        bool_or(has_lines) as has_lines,
        max(last_on) as last_on,
        max(closed_at) as closed_at
    from known
    group by period
),

final as (
    select
        period,
        period_start_on,
        cast(period_start_on + interval '1 month' as date) as next_start_on,
        is_closed,
        has_lines,
        cast(row_number() over (order by period) as bigint) as position,
        case
            when is_closed then cast(row_number() over (partition by is_closed order by period) as bigint)
        end as closed_position,
        max(last_on) over () as seen_through_on,
        case when is_closed then closed_at else heartbeats.last_at end as as_of_at
    from merged
    cross join heartbeats
)

select * from final
