with mrr as (
    select * from int_mrr_states
),

paying as (
    select
        customer_id,
        period_start_on,
        activated_on,
        mrr_minor,
        row_number() over (partition by customer_id order by closed_position) as position
    from mrr
    where mrr_minor > 0
),

final as (
    select
        customer_id,
        period_start_on as first_paid_on,
        -- whoever came with an imported past was active before the first period that is known of
        cast(date_trunc('month', least(coalesce(activated_on, period_start_on), period_start_on)) as date) as cohort_start_on,
        mrr_minor as first_mrr_minor
    from paying
    where position = 1
)

select * from final
