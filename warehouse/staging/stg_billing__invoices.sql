with source as (
    select * from lake.invoices
),

erased as (
    select id from lake.customers where status = 'erased'
),

final as (
    select
        customer_id,
        id as invoice_id,
        period,
        kind,
        state,
        number,
        currency,
        net_minor,
        tax_minor,
        total_minor,
        paid_minor,
        issued_on,
        due_on
    from source
    where customer_id not in (select id from erased)
)

select * from final
