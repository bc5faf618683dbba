with margin as (
    select * from margin
),

statements as (
    select * from stg_billing__statements
),

statement_lines as (
    select * from stg_billing__statement_lines
),

fees as (
    select statements.period, statement_lines.currency, sum(statement_lines.amount_minor) as platform_fee_minor
    from statement_lines
    inner join statements on statements.statement_id = statement_lines.statement_id
    where statement_lines.item = 'platform_fee'
    group by 1, 2
),

summed as (
    select
        period,
        period_start_on,
        currency,
        sum(retail_minor) as retail_minor,
        sum(wholesale_minor) as wholesale_minor,
        coalesce(sum(retail_minor) filter (where item like 'machine_%'), 0) as machine_retail_minor,
        coalesce(sum(wholesale_minor) filter (where item like 'machine_%'), 0) as machine_wholesale_minor
    from margin
    group by 1, 2, 3
),

joined as (
    select summed.*, coalesce(fees.platform_fee_minor, 0) as platform_fee_minor
    from summed
    left join fees on fees.period = summed.period and fees.currency = summed.currency
),

final as (
    select
        period,
        period_start_on,
        currency,
        retail_minor,
        wholesale_minor,
        platform_fee_minor,
        retail_minor - wholesale_minor - platform_fee_minor as margin_minor,
        cast(retail_minor - wholesale_minor - platform_fee_minor as double) / nullif(retail_minor, 0) as margin_share,
        machine_retail_minor,
        machine_wholesale_minor,
        machine_retail_minor - machine_wholesale_minor - platform_fee_minor as machine_margin_minor,
        cast(machine_retail_minor - machine_wholesale_minor - platform_fee_minor as double)
            / nullif(machine_retail_minor, 0) as machine_margin_share
    from joined
)

select * from final
