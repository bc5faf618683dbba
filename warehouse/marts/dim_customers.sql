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

came as (
    select customers.*, day_in_zone(customers.created_at, msps.time_zone) as came_on
    from customers
    cross join msps
),

changes as (
    select
        status_changes.customer_id,
        status_changes.status,
        status_changes.reason,
        day_in_zone(status_changes.changed_at, msps.time_zone) as changed_on,
        status_changes.changed_at
    from status_changes
    cross join msps
),

-- what a day ended with is what held on it
statuses as (
    select
        customer_id,
        status,
        reason,
        changed_on,
        row_number() over (partition by customer_id, changed_on order by changed_at desc) as recency
    from changes
),

boundaries as (
    select customer_id, came_on as valid_from from came
    union
    select customer_id, changed_on from statuses
    union
    select contracts.customer_id, greatest(contracts.starts_on, came.came_on)
    from contracts
    inner join came on came.customer_id = contracts.customer_id
    union
    select contract_limits.customer_id, greatest(contract_limits.valid_from, came.came_on)
    from contract_limits
    inner join came on came.customer_id = contract_limits.customer_id
    where not contract_limits.is_first
),

status_then as (
    select
        boundaries.customer_id,
        boundaries.valid_from,
        statuses.status,
        statuses.reason,
        row_number() over (
            partition by boundaries.customer_id, boundaries.valid_from order by statuses.changed_on desc
        ) as recency
    from boundaries
    inner join statuses on statuses.customer_id = boundaries.customer_id
    where statuses.recency = 1 and statuses.changed_on <= boundaries.valid_from
),

contract_then as (
    select
        boundaries.customer_id,
        boundaries.valid_from,
        contracts.contract_id,
        contracts.starts_on,
        contracts.ends_on,
        contracts.currency,
        contracts.default_tier,
        contracts.contracted_machines,
        contracts.minimum_minor,
        contracts.discount_percent,
        contracts.billing_channel,
        contracts.machine_limit,
        contracts.storage_limit_gib,
        row_number() over (
            partition by boundaries.customer_id, boundaries.valid_from
            order by contracts.starts_on desc, contracts.contract_id
        ) as recency
    from boundaries
    inner join contracts on contracts.customer_id = boundaries.customer_id
    where contracts.starts_on <= boundaries.valid_from
),

limit_then as (
    select
        contract_then.customer_id,
        contract_then.valid_from,
        contract_limits.machine_limit,
        contract_limits.storage_limit_gib,
        row_number() over (
            partition by contract_then.customer_id, contract_then.valid_from order by contract_limits.valid_from desc
        ) as recency
    from contract_then
    inner join contract_limits on contract_limits.contract_id = contract_then.contract_id
    where contract_then.recency = 1
        and (contract_limits.is_first or contract_limits.valid_from <= contract_then.valid_from)
),

final as (
    select
        came.customer_id,
        came.customer_code,
        came.customer_name,
        boundaries.valid_from,
        lead(boundaries.valid_from) over (partition by boundaries.customer_id order by boundaries.valid_from) as valid_to,
        row_number() over (partition by boundaries.customer_id order by boundaries.valid_from desc) = 1 as is_current,
        coalesce(status_then.status, came.status) as status,
        status_then.reason as status_reason,
        came.vertical,
        came.time_zone,
        came.activated_on,
        contract_then.contract_id,
        contract_then.starts_on as contract_starts_on,
        contract_then.ends_on as contract_ends_on,
        contract_then.default_tier,
        contract_then.contracted_machines,
        case when limit_then.customer_id is null then contract_then.machine_limit else limit_then.machine_limit end as machine_limit,
        coalesce(limit_then.storage_limit_gib, contract_then.storage_limit_gib) as storage_limit_gib,
        contract_then.discount_percent,
        contract_then.minimum_minor,
        contract_then.currency,
        contract_then.billing_channel
    from boundaries
    inner join came on came.customer_id = boundaries.customer_id
    left join status_then
        on status_then.customer_id = boundaries.customer_id
        and status_then.valid_from = boundaries.valid_from
        and status_then.recency = 1
    left join contract_then
        on contract_then.customer_id = boundaries.customer_id
        and contract_then.valid_from = boundaries.valid_from
        and contract_then.recency = 1
    left join limit_then
        on limit_then.customer_id = boundaries.customer_id
        and limit_then.valid_from = boundaries.valid_from
        and limit_then.recency = 1
)

select * from final
