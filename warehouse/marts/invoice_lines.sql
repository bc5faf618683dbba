with rated_lines as (
    select * from stg_billing__rated_lines
),

invoices as (
    select * from stg_billing__invoices
),

periods as (
    select * from stg_metering__periods
),

sealed as (
    select customer_id, period, events_hash
    from stg_metering__customer_months
    where is_closed
),

final as (
    select
        rated_lines.customer_id,
        rated_lines.customer_code,
        rated_lines.period,
        rated_lines.period_start_on,
        rated_lines.invoice_id,
        invoices.number as invoice_number,
        invoices.state as invoice_state,
        rated_lines.line_id,
        rated_lines.position,
        rated_lines.item,
        rated_lines.description,
        rated_lines.quantity,
        rated_lines.unit_price,
        rated_lines.amount_minor,
        major(rated_lines.amount_minor, rated_lines.currency) as amount,
        rated_lines.currency,
        rated_lines.is_recurring,
        coalesce(periods.is_closed, false) as is_closed,
        coalesce(periods.closed_at, rated_lines.rated_at) as as_of_at,
        sealed.events_hash
    from rated_lines
    left join invoices on invoices.invoice_id = rated_lines.invoice_id
    left join periods on periods.period = rated_lines.period
    left join sealed on sealed.customer_id = rated_lines.customer_id and sealed.period = rated_lines.period
)

select * from final
