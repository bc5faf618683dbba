with customers as (
    select * from stg_tenants__customers
),

msps as (
    select * from stg_tenants__msps
),

contracts as (
    select * from stg_tenants__contracts
),

contract_limits as (
    select * from stg_tenants__contract_limits
),

status_changes as (
    select * from stg_tenants__status_changes
),

machine_months as (
    select * from int_machine_days_summed
),

periods as (
    select * from int_periods
),

first_use as (
    select customer_id, min(cast(period || '-01' as date)) as first_start_on
    from machine_months
    group by customer_id
),

spine as (
    select
        customers.customer_id,
        customers.customer_code,
        customers.customer_name,
        customers.status as status_now,
        customers.activated_on,
        customers.time_zone,
        customers.vertical,
        msps.time_zone as msp_time_zone,
        msps.currency as msp_currency,
        periods.period,
        periods.period_start_on,
        periods.next_start_on,
        periods.is_closed,
        periods.closed_position,
        periods.seen_through_on,
        periods.as_of_at
    from customers
    cross join msps
    cross join periods
    left join first_use on first_use.customer_id = customers.customer_id
    where periods.next_start_on > least(day_in_zone(customers.created_at, msps.time_zone), coalesce(first_use.first_start_on, date '9999-01-01'))
),

changes as (
    select
        spine.customer_id,
        spine.period,
        status_changes.status,
        status_changes.reason,
        day_in_zone(status_changes.changed_at, spine.msp_time_zone) as changed_on,
        row_number() over (
            partition by spine.customer_id, spine.period
            order by status_changes.changed_at desc
        ) as recency
    from spine
    inner join status_changes on status_changes.customer_id = spine.customer_id
    where day_in_zone(status_changes.changed_at, spine.msp_time_zone) < spine.next_start_on
),

terms as (
    select
        spine.customer_id,
        spine.period,
        spine.period_start_on,
        spine.next_start_on,
        -- an open month is averaged over the days that it has had so far
        case
            when not spine.is_closed and spine.seen_through_on >= spine.period_start_on
                then least(cast(spine.seen_through_on + interval '1 day' as date), spine.next_start_on)
            else spine.next_start_on
        end as counted_to,
        contracts.contract_id,
        contracts.currency,
        contracts.default_tier,
        contracts.contracted_machines,
        contracts.machine_limit,
        contracts.storage_limit_gib,
        contracts.has_premium_support,
        contracts.has_white_label,
        contracts.end_reason,
        contracts.rpo_hours,
        contracts.backup_sla_percent,
        contracts.restore_target_minutes,
        contracts.support_target_minutes,
        row_number() over (
            partition by spine.customer_id, spine.period
            order by contracts.starts_on desc, contracts.contract_id
        ) as recency
    from spine
    inner join contracts on contracts.customer_id = spine.customer_id
    where contracts.starts_on < spine.next_start_on
),

limits_averaged as (
    select
        terms.customer_id,
        terms.period,
        sum(count_bits(day_bits(
            terms.period_start_on,
            case when contract_limits.is_first then terms.period_start_on else contract_limits.valid_from end,
            least(coalesce(contract_limits.valid_to, terms.counted_to), terms.counted_to)
        )) * contract_limits.storage_limit_gib) as gib_days,
        max(terms.counted_to - terms.period_start_on) as days,
        max(contract_limits.machine_limit) filter (
            where coalesce(contract_limits.valid_to, terms.next_start_on) >= terms.next_start_on
        ) as machine_limit
    from terms
    inner join contract_limits on contract_limits.contract_id = terms.contract_id
    where terms.recency = 1 and (contract_limits.is_first or contract_limits.valid_from < terms.next_start_on)
    group by terms.customer_id, terms.period
),

final as (
    select
        spine.customer_id,
        spine.customer_code,
        spine.customer_name,
        spine.period,
        spine.period_start_on,
        spine.next_start_on,
        spine.is_closed,
        spine.closed_position,
        spine.seen_through_on,
        spine.as_of_at,
        spine.vertical,
        coalesce(changes.status, spine.status_now) as status,
        changes.changed_on as status_since_on,
        changes.reason as status_reason,
        spine.activated_on,
        spine.time_zone,
        spine.msp_time_zone,
        coalesce(terms.currency, spine.msp_currency) as currency,
        terms.default_tier,
        terms.contracted_machines,
        case when limits_averaged.days is null then terms.machine_limit else limits_averaged.machine_limit end as machine_limit,
        -- rounded once to whole bytes, as invoices have it
        coalesce(
            cast(cast(cast(limits_averaged.gib_days as decimal(20, 0)) * 1073741824 / limits_averaged.days as decimal(20, 0)) as bigint),
            terms.storage_limit_gib * 1073741824
        ) as storage_limit_bytes,
        coalesce(terms.has_premium_support, false) as has_premium_support,
        coalesce(terms.has_white_label, false) as has_white_label,
        terms.end_reason,
        coalesce(terms.rpo_hours, 24) as rpo_hours,
        coalesce(terms.backup_sla_percent, 99.50) as backup_sla_percent,
        coalesce(terms.restore_target_minutes, 240) as restore_target_minutes,
        coalesce(terms.support_target_minutes, 240) as support_target_minutes
    from spine
    left join changes
        on changes.customer_id = spine.customer_id
        and changes.period = spine.period
        and changes.recency = 1
    left join terms
        on terms.customer_id = spine.customer_id
        and terms.period = spine.period
        and terms.recency = 1
    left join limits_averaged
        on limits_averaged.customer_id = spine.customer_id
        and limits_averaged.period = spine.period
)

select * from final
