with rated_lines as (
    select * from stg_billing__rated_lines
),

invoices as (
    select * from stg_billing__invoices
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
        rated_lines.is_recurring
    from rated_lines
    left join invoices on invoices.invoice_id = rated_lines.invoice_id
)

select * from final
