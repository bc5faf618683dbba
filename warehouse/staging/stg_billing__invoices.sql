with source as (
    select * from lake.invoices
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
)

select * from final
