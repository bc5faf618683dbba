with source as (
    select * from lake.payments
),

erased as (
    select id from lake.customers where status = 'erased'
),

final as (
    select
        customer_id,
        id as payment_id,
        invoice_id,
        amount_minor,
        currency,
        method,
        received_on,
        created_at as recorded_at
    from source
    where customer_id not in (select id from erased)
)

select * from final
