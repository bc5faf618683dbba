with rated_lines as (
    select * from stg_billing__rated_lines
),

statements as (
    select * from stg_billing__statements
),

statement_lines as (
    select * from stg_billing__statement_lines
),

customers as (
    select * from stg_tenants__customers
),

periods as (
    select * from int_periods
),

both_sides as (
    select customer_id, period, item, currency, amount_minor as retail_minor, 0 as wholesale_minor
    from rated_lines
    union all
    select
        statement_lines.customer_id,
        statements.period,
        statement_lines.item,
        statement_lines.currency,
        0,
        statement_lines.amount_minor
    from statement_lines
    inner join statements on statements.statement_id = statement_lines.statement_id
    where statement_lines.customer_id is not null
),

summed as (
    select
        customer_id,
        period,
        item,
        currency,
        sum(retail_minor) as retail_minor,
        sum(wholesale_minor) as wholesale_minor
    from both_sides
    group by 1, 2, 3, 4
),

final as (
    select
        summed.customer_id,
        customers.customer_code,
        summed.period,
        cast(summed.period || '-01' as date) as period_start_on,
        summed.item,
        summed.retail_minor,
        summed.wholesale_minor,
        summed.retail_minor - summed.wholesale_minor as margin_minor,
        major(summed.retail_minor - summed.wholesale_minor, summed.currency) as margin,
        summed.currency,
        periods.is_closed,
        periods.as_of_at
    from summed
    inner join customers on customers.customer_id = summed.customer_id
    left join periods on periods.period = summed.period
)

select * from final
