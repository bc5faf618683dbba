with source as (
    select * from lake.contracts
),

final as (
    select
        customer_id,
        id as contract_id,
        starts_on,
        months,
        renews,
        notice_days,
        notice_given_on,
        ends_on,
        end_reason,
        currency,
        default_tier,
        contracted_machines,
        machine_limit,
        storage_limit_gib,
        minimum_minor,
        discount_percent,
        payment_terms_days,
        billing_channel,
        has_premium_support,
        has_white_label,
        rpo_hours,
        backup_sla_percent,
        restore_target_minutes,
        support_target_minutes
    from source
)

select * from final
