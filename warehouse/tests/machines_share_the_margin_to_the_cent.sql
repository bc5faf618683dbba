-- What machines were given adds up to the lines that were shared out.
with shared as (
    select customer_id, period, item, currency, sum(retail_minor) as retail_minor, sum(wholesale_minor) as wholesale_minor
    from margin_by_machine
    group by 1, 2, 3, 4
),

margin as (
    select * from margin where item like 'machine_%'
),

final as (
    select margin.customer_code, margin.period, margin.item
    from margin
    left join shared
        on shared.customer_id = margin.customer_id
        and shared.period = margin.period
        and shared.item = margin.item
        and shared.currency = margin.currency
    where margin.retail_minor <> coalesce(shared.retail_minor, 0) or margin.wholesale_minor <> coalesce(shared.wholesale_minor, 0)
)

select * from final
