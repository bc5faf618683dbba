with source as (
    select * from lake.payments
),

final as (
    select
        customer_id,
        id as payment_id,
        invoice_id,
        amount_minor,
        currency,
        method,
        received_on
    from source
)

select * from final
