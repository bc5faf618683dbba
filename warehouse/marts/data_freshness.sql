with customers as (
    select * from stg_tenants__customers
),

files as (
    select * from lake.files
),

heartbeats as (
    select * from stg_metering__heartbeats
),

machine_months as (
    select * from machine_months
),

months as (
    select * from stg_metering__customer_months
),

exported as (
    select
        customer_id,
        max(written_at) as exported_at,
        max(month) filter (where month <> 'all') as newest_month,
        count(*) as files,
        cast(sum(row_count) as bigint) as rows
    from files
    group by customer_id
),

heard as (
    select customer_id, max(last_at) as heard_at from heartbeats group by customer_id
),

restorable as (
    select customer_id, max(last_good_at) as last_good_at from machine_months group by customer_id
),

closed as (
    select
        customer_id,
        count(*) filter (where is_closed) as months_closed,
        max(period) filter (where is_closed) as closed_through
    from months
    group by customer_id
),

signs as (
    select
        customers.customer_id,
        customers.customer_code,
        customers.status,
        greatest(heard.heard_at, restorable.last_good_at) as last_event_at,
        exported.exported_at,
        exported.newest_month,
        coalesce(exported.files, 0) as files,
        coalesce(exported.rows, 0) as rows,
        coalesce(closed.months_closed, 0) as months_closed,
        closed.closed_through
    from customers
    left join exported on exported.customer_id = customers.customer_id
    left join heard on heard.customer_id = customers.customer_id
    left join restorable on restorable.customer_id = customers.customer_id
    left join closed on closed.customer_id = customers.customer_id
),

final as (
    select
        signs.*,
        -- against the customer that was heard last, so that a question about an old version is answered as of then
        date_part('epoch', max(last_event_at) over () - last_event_at) / 3600 as hours_behind
    from signs
)

select * from final
