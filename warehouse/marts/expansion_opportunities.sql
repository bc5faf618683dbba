with customer_months as (
    select * from customer_months
),

customer_periods as (
    select * from int_customer_periods
),

prices as (
    select * from stg_billing__prices
),

periods as (
    select * from int_periods
),

newest as (
    select max(period) as period from periods where has_lines
),

candidates as (
    select
        customer_months.customer_id,
        customer_months.customer_code,
        customer_months.period,
        customer_months.period_start_on,
        customer_months.is_closed,
        customer_months.as_of_at,
        customer_months.status,
        customer_months.default_tier,
        customer_months.currency,
        customer_months.machines,
        customer_months.machines_backup,
        customer_months.machines_enterprise,
        customer_months.machine_limit,
        customer_periods.has_premium_support,
        customer_periods.has_white_label
    from customer_months
    inner join newest on newest.period = customer_months.period
    inner join customer_periods
        on customer_periods.customer_id = customer_months.customer_id
        and customer_periods.period = customer_months.period
    where customer_months.status in ('trial', 'active')
),

-- the customer's own price, else the MSP's, else the operator's list
offered as (
    select
        candidates.customer_id,
        prices.item,
        prices.unit_price,
        row_number() over (
            partition by candidates.customer_id, prices.item
            order by prices.customer_id is null, not prices.is_own, prices.valid_from desc
        ) as preference
    from candidates
    inner join prices
        on prices.currency = candidates.currency
        and (prices.customer_id = candidates.customer_id or prices.customer_id is null)
    where prices.valid_from <= candidates.period_start_on
),

in_force as (
    select
        customer_id,
        max(unit_price) filter (where item = 'machine_backup') as backup_price,
        max(unit_price) filter (where item = 'machine_enterprise') as enterprise_price,
        max(unit_price) filter (where item = 'machine_replication') as replication_price,
        -- the operator's list is what the MSP pays for these, not what it asks
        max(unit_price) filter (where item = 'premium_support') as premium_support_price,
        max(unit_price) filter (where item = 'white_label') as white_label_price
    from offered
    where preference = 1
    group by customer_id
),

priced as (
    select
        candidates.*,
        in_force.backup_price,
        in_force.enterprise_price,
        in_force.replication_price,
        in_force.premium_support_price,
        in_force.white_label_price,
        case default_tier
            when 'replication' then in_force.replication_price
            when 'enterprise' then in_force.enterprise_price
            else in_force.backup_price
        end as default_price
    from candidates
    inner join in_force on in_force.customer_id = candidates.customer_id
),

opportunities as (
    select customer_id, 'tier_upgrade' as kind, 'machine_enterprise' as item, machines_backup as quantity,
        enterprise_price - backup_price as unit_price
    from priced
    where status = 'active'
    union all
    select customer_id, 'tier_upgrade', 'machine_replication', machines_enterprise, replication_price - enterprise_price
    from priced
    where status = 'active'
    union all
    select customer_id, 'trial_conversion', 'machine_' || default_tier, machines, default_price
    from priced
    where status = 'trial'
    union all
    -- a limit that is nearly reached is worth a tenth more
    select customer_id, 'near_limit', 'machine_' || default_tier, greatest(machine_limit / 10, 1), default_price
    from priced
    where status = 'active' and machines * 10 >= machine_limit * 8
    union all
    select customer_id, 'unused_add_on', 'premium_support', 1, premium_support_price
    from priced
    where status = 'active' and not has_premium_support
    union all
    select customer_id, 'unused_add_on', 'white_label', 1, white_label_price
    from priced
    where status = 'active' and not has_white_label
),

final as (
    select
        priced.customer_id,
        priced.customer_code,
        priced.period,
        priced.period_start_on,
        opportunities.kind,
        opportunities.item,
        opportunities.quantity,
        minor(cast(opportunities.quantity as decimal(18, 4)) * opportunities.unit_price, priced.currency) as monthly_minor,
        major(minor(cast(opportunities.quantity as decimal(18, 4)) * opportunities.unit_price, priced.currency), priced.currency) as monthly,
        priced.currency,
        priced.is_closed,
        priced.as_of_at
    from opportunities
    inner join priced on priced.customer_id = opportunities.customer_id
    where opportunities.quantity > 0 and opportunities.unit_price > 0
)

select * from final
