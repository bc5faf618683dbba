with prices as (
    select * from stg_billing__prices
),

customers as (
    select * from stg_tenants__customers
),

scoped as (
    select
        prices.*,
        case when customer_id is not null then 'contract' when is_own then 'price_book' else 'list' end as scope
    from prices
),

final as (
    select
        scoped.customer_id,
        customers.customer_code,
        scoped.price_id,
        scoped.scope,
        scoped.item,
        scoped.unit_price,
        scoped.currency,
        scoped.valid_from,
        lead(scoped.valid_from) over versions as valid_to,
        row_number() over versions as version,
        scoped.recorded_at
    from scoped
    left join customers on customers.customer_id = scoped.customer_id
    where scoped.customer_id is null or customers.customer_id is not null
    window versions as (
        partition by scoped.scope, scoped.customer_id, scoped.item, scoped.currency
        order by scoped.valid_from, scoped.recorded_at, scoped.price_id
    )
)

select * from final
