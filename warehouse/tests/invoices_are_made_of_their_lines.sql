-- An invoice's net is the sum of its lines.
with invoice_lines as (
    select * from invoice_lines
),

invoices as (
    select * from stg_billing__invoices
),

summed as (
    select invoice_id, sum(amount_minor) as net_minor
    from invoice_lines
    group by invoice_id
),

final as (
    select invoices.invoice_id, invoices.net_minor, summed.net_minor as lines_minor
    from invoices
    left join summed on summed.invoice_id = invoices.invoice_id
    where invoices.kind = 'invoice' and invoices.net_minor <> coalesce(summed.net_minor, 0)
)

select * from final
