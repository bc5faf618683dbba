with customer_periods as (
    select * from int_customer_periods
),

lines as (
    select * from int_lines_summed
),

closed as (
    select
        customer_periods.customer_id,
        customer_periods.customer_code,
        customer_periods.period,
        customer_periods.period_start_on,
        customer_periods.closed_position,
        customer_periods.activated_on,
        customer_periods.default_tier,
        customer_periods.vertical,
        customer_periods.as_of_at,
        coalesce(lines.currency, customer_periods.currency) as currency,
        case when customer_periods.status = 'active' then greatest(coalesce(lines.recurring_minor, 0), 0) else 0 end as mrr_minor,
        -- a pause older than 30 days at the period's end is a loss
        customer_periods.status = 'suspended'
            and customer_periods.status_since_on + interval '30 days' >= customer_periods.next_start_on as is_pause,
        case
            when customer_periods.status in ('closed', 'erased') then coalesce(customer_periods.end_reason, 'closed')
            when customer_periods.status = 'suspended' then 'non_payment'
            else 'no_usage'
        end as loss_reason
    from customer_periods
    left join lines
        on lines.customer_id = customer_periods.customer_id
        and lines.period = customer_periods.period
    where customer_periods.is_closed
),

counted as (
    select
        closed.*,
        sum(case when mrr_minor > 0 then 1 else 0 end) over (
            partition by customer_id order by closed_position
            rows between unbounded preceding and current row
        ) as paying_periods
    from closed
),

-- a paying period and the ones without MRR that follow it share a number
held as (
    select
        counted.*,
        max(mrr_minor) over (partition by customer_id, paying_periods) as held_minor,
        sum(case when mrr_minor = 0 and not is_pause then 1 else 0 end) over (
            partition by customer_id, paying_periods order by closed_position
            rows between unbounded preceding and current row
        ) as lost_periods
    from counted
),

named as (
    select
        held.*,
        case
            when mrr_minor > 0 then 'paying'
            when paying_periods = 0 then 'never'
            when lost_periods > 0 then 'lost'
            else 'paused'
        end as state
    from held
),

final as (
    select
        customer_id,
        customer_code,
        period,
        period_start_on,
        closed_position,
        activated_on,
        default_tier,
        vertical,
        as_of_at,
        currency,
        -- whoever paid before the first period that is known of is not new in it
        case
            when closed_position = 1 and activated_on < period_start_on then mrr_minor
            else coalesce(lag(mrr_minor) over (partition by customer_id order by closed_position), 0)
        end as start_minor,
        mrr_minor,
        held_minor,
        state,
        case
            when closed_position = 1 and activated_on < period_start_on then state
            else coalesce(lag(state) over (partition by customer_id order by closed_position), 'never')
        end as previous_state,
        case when state = 'paused' then 'suspension' when state = 'lost' then loss_reason end as loss_reason
    from named
)

select * from final
