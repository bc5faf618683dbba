with rated_lines as (
    select * from stg_billing__rated_lines
),

periods as (
    select * from int_periods
),

recurring as (
    select
        rated_lines.customer_id,
        periods.closed_position,
        rated_lines.item,
        rated_lines.currency,
        sum(rated_lines.quantity) as quantity,
        max(rated_lines.unit_price) as unit_price,
        sum(rated_lines.amount_minor) as amount_minor
    from rated_lines
    inner join periods on periods.period = rated_lines.period
    where rated_lines.is_recurring and periods.is_closed
    group by 1, 2, 3, 4
),

-- every item with its line before and its line now, in the period of the latter
sides as (
    select
        customer_id,
        closed_position,
        item,
        currency,
        quantity as quantity_now,
        unit_price as price_now,
        amount_minor as amount_now,
        cast(0 as decimal(18, 4)) as quantity_before,
        cast(null as decimal(18, 8)) as price_before,
        0 as amount_before
    from recurring
    union all
    select
        customer_id,
        closed_position + 1,
        item,
        currency,
        cast(0 as decimal(18, 4)),
        cast(null as decimal(18, 8)),
        0,
        quantity,
        unit_price,
        amount_minor
    from recurring
),

pairs as (
    select
        customer_id,
        closed_position,
        item,
        currency,
        sum(quantity_now) - sum(quantity_before) as quantity_change,
        sum(quantity_now) as quantity_now,
        coalesce(max(price_before), max(price_now)) as price_before,
        sum(amount_now) as amount_now,
        sum(amount_before) as amount_before
    from sides
    group by 1, 2, 3, 4
),

-- the quantity at the old price, then the rest is price
machines as (
    select
        customer_id,
        closed_position,
        quantity_change,
        minor(quantity_now * price_before, currency) - amount_before as quantity_minor,
        amount_now - minor(quantity_now * price_before, currency) as price_minor
    from pairs
    where item like 'machine_%'
),

machine_causes as (
    select
        customer_id,
        closed_position,
        sum(quantity_minor) as quantity_minor,
        sum(price_minor) as price_minor,
        cast(coalesce(sum(quantity_change) filter (where quantity_change > 0), 0) as double) as gained,
        cast(coalesce(sum(quantity_minor) filter (where quantity_change > 0), 0) as double) as gained_minor,
        cast(coalesce(-sum(quantity_change) filter (where quantity_change < 0), 0) as double) as lost,
        cast(coalesce(-sum(quantity_minor) filter (where quantity_change < 0), 0) as double) as lost_minor
    from machines
    group by customer_id, closed_position
),

-- as many machines as one tier lost and another gained have moved; what they cost more or less is the tier's
tier_causes as (
    select
        customer_id,
        closed_position,
        quantity_minor,
        price_minor,
        case
            when gained > 0 and lost > 0
                then cast(round(least(gained, lost) * (gained_minor / gained - lost_minor / lost)) as bigint)
            else 0
        end as tier_minor
    from machine_causes
),

-- the discount grows with what it is taken from; the rest of its change is another discount
others as (
    select
        customer_id,
        closed_position,
        sum(amount_now) filter (where item not in ('discount', 'minimum_top_up')) as gross_now,
        sum(amount_before) filter (where item not in ('discount', 'minimum_top_up')) as gross_before,
        coalesce(sum(amount_now) filter (where item = 'discount'), 0) as discount_now,
        coalesce(sum(amount_before) filter (where item = 'discount'), 0) as discount_before,
        coalesce(sum(amount_now - amount_before) filter (where item = 'minimum_top_up'), 0) as minimum_minor,
        coalesce(sum(amount_now - amount_before) filter (
            where item not like 'machine_%' and item not in ('discount', 'minimum_top_up')
        ), 0) as add_on_minor
    from pairs
    group by customer_id, closed_position
),

discounts as (
    select
        others.*,
        case
            when gross_before <> 0
                then cast(round(cast(discount_before as double) * gross_now / gross_before) as bigint)
            else discount_now
        end as discount_expected
    from others
),

final as (
    select
        discounts.customer_id,
        discounts.closed_position,
        coalesce(tier_causes.quantity_minor - tier_causes.tier_minor, 0)
            + discounts.discount_expected - discounts.discount_before as quantity_minor,
        coalesce(tier_causes.price_minor, 0) + discounts.discount_now - discounts.discount_expected as price_minor,
        coalesce(tier_causes.tier_minor, 0) as tier_minor,
        discounts.add_on_minor,
        discounts.minimum_minor
    from discounts
    left join tier_causes
        on tier_causes.customer_id = discounts.customer_id
        and tier_causes.closed_position = discounts.closed_position
)

select * from final
