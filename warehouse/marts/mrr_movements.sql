with mrr as (
    select * from int_mrr_states
),

causes as (
    select * from int_mrr_causes
),

-- a step is over one closed period; most come to nothing
steps as (
    select *, mrr_minor - start_minor as change_minor
    from mrr
),

arrivals as (
    select
        customer_id,
        period,
        case previous_state when 'never' then 'new' when 'paused' then 'resume' else 'reactivation' end as movement,
        case previous_state when 'never' then 'first_billing' when 'paused' then 'suspension_lifted' else 'returned' end as reason,
        change_minor as amount_minor
    from steps
    where state = 'paying' and previous_state <> 'paying'
),

losses as (
    select
        customer_id,
        period,
        case state when 'paused' then 'pause' else 'churn' end as movement,
        loss_reason as reason,
        change_minor as amount_minor
    from steps
    where state <> 'paying' and previous_state = 'paying'
),

-- a pause that grows older than 30 days was a loss: the pause is taken back and counted as churn
expired as (
    select customer_id, period, 'pause' as movement, 'older_than_30_days' as reason, held_minor as amount_minor
    from steps
    where state = 'lost' and previous_state = 'paused'
    union all
    select customer_id, period, 'churn', loss_reason, -held_minor
    from steps
    where state = 'lost' and previous_state = 'paused'
),

explained as (
    select
        steps.customer_id,
        steps.period,
        case when steps.change_minor > 0 then 'expansion' else 'contraction' end as movement,
        steps.change_minor,
        causes.quantity_minor,
        causes.price_minor,
        causes.tier_minor,
        causes.add_on_minor,
        causes.minimum_minor
    from steps
    inner join causes
        on causes.customer_id = steps.customer_id
        and causes.closed_position = steps.closed_position
    where steps.state = 'paying' and steps.previous_state = 'paying' and steps.change_minor <> 0
),

changes as (
    select customer_id, period, movement, 'quantity' as reason, quantity_minor as amount_minor from explained
    union all
    select customer_id, period, movement, 'price', price_minor from explained
    union all
    select customer_id, period, movement, 'tier', tier_minor from explained
    union all
    select customer_id, period, movement, 'add_on', add_on_minor from explained
    union all
    select customer_id, period, movement, 'minimum', minimum_minor from explained
),

movements as (
    select * from arrivals
    union all
    select * from losses
    union all
    select * from expired
    union all
    select * from changes
),

final as (
    select
        mrr.customer_id,
        mrr.customer_code,
        mrr.period,
        mrr.period_start_on,
        movements.movement,
        movements.reason,
        movements.amount_minor,
        major(movements.amount_minor, mrr.currency) as amount,
        mrr.currency,
        true as is_closed,
        mrr.as_of_at
    from movements
    inner join mrr on mrr.customer_id = movements.customer_id and mrr.period = movements.period
    where movements.amount_minor <> 0
)

select * from final
