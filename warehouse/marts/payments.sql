with payments as (
    select * from stg_billing__payments
),

invoices as (
    select * from stg_billing__invoices
),

customers as (
    select * from stg_tenants__customers
),

periods as (
    select * from stg_metering__periods
),

final as (
    select
        payments.customer_id,
        customers.customer_code,
        payments.payment_id,
        payments.received_on,
        payments.method,
        payments.invoice_id,
        invoices.number as invoice_number,
        invoices.period,
        cast(invoices.period || '-01' as date) as period_start_on,
        greatest(cast(payments.received_on as int) - cast(invoices.due_on as int), 0) as days_late,
        payments.amount_minor,
        major(payments.amount_minor, payments.currency) as amount,
        payments.currency,
        coalesce(periods.is_closed, false) as is_closed,
        payments.recorded_at as as_of_at
    from payments
    inner join customers on customers.customer_id = payments.customer_id
    left join invoices on invoices.invoice_id = payments.invoice_id
    left join periods on periods.period = invoices.period
)

select * from final
