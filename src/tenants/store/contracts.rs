//! Contracts.

use granary_db::{Row, Tx};
use granary_types::{ContractId, CustomerId, EndReason, MspId};
use jiff::Timestamp;
use jiff::civil::Date;

use crate::contract::{Contract, ContractLimits, NewContract};
use crate::error::TenantsError;

const INSERT: &str = "
    insert into contracts (
        id, msp_id, customer_id, starts_on, months, renews, notice_days, currency, default_tier, contracted_machines, machine_limit,
        storage_limit_gib, minimum_minor, discount_percent, tax_percent, payment_terms_days, billing_channel, has_premium_support,
        has_white_label, rpo_hours, backup_sla_percent, restore_target_minutes, support_target_minutes, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24)";
/// The contract that is in force on a day: the last that has begun, or the first when none has.
const FIND_ON: &str = "
    select id, msp_id, customer_id, starts_on, months, renews, notice_days, notice_given_on, ends_on, end_reason, currency, default_tier,
        contracted_machines, machine_limit, storage_limit_gib, minimum_minor, discount_percent, tax_percent, payment_terms_days,
        billing_channel, has_premium_support, has_white_label, rpo_hours, backup_sla_percent, restore_target_minutes,
        support_target_minutes, created_at
    from contracts where customer_id = $1
    order by starts_on <= $2 desc, case when starts_on <= $2 then starts_on end desc, starts_on limit 1";
const LIST: &str = "
    select id, msp_id, customer_id, starts_on, months, renews, notice_days, notice_given_on, ends_on, end_reason, currency, default_tier,
        contracted_machines, machine_limit, storage_limit_gib, minimum_minor, discount_percent, tax_percent, payment_terms_days,
        billing_channel, has_premium_support, has_white_label, rpo_hours, backup_sla_percent, restore_target_minutes,
        support_target_minutes, created_at
    from contracts where msp_id = $1 order by customer_id, starts_on";
const LIST_OF: &str = "
    select id, msp_id, customer_id, starts_on, months, renews, notice_days, notice_given_on, ends_on, end_reason, currency, default_tier,
        contracted_machines, machine_limit, storage_limit_gib, minimum_minor, discount_percent, tax_percent, payment_terms_days,
        billing_channel, has_premium_support, has_white_label, rpo_hours, backup_sla_percent, restore_target_minutes,
        support_target_minutes, created_at
    from contracts where customer_id = $1 order by starts_on";
pub(super) const UPDATE_LIMITS: &str = "
    update contracts set machine_limit = $3, storage_limit_gib = $4
    where id = (
        select id from contracts where customer_id = $1
        order by starts_on <= $2 desc, case when starts_on <= $2 then starts_on end desc, starts_on limit 1)";
/// What the contract in force says now, it says from the day on, or from its own first when it has not begun.
pub(super) const KEEP_LIMITS: &str = "
    insert into contract_limits (contract_id, msp_id, customer_id, valid_from, machine_limit, storage_limit_gib, created_at)
    select id, msp_id, customer_id, greatest(starts_on, $2), machine_limit, storage_limit_gib, $3
    from contracts where customer_id = $1
    order by starts_on <= $2 desc, case when starts_on <= $2 then starts_on end desc, starts_on limit 1
    on conflict (contract_id, valid_from) do update
    set machine_limit = excluded.machine_limit, storage_limit_gib = excluded.storage_limit_gib";
const LIST_LIMITS: &str = "
    select contract_id, valid_from, machine_limit, storage_limit_gib from contract_limits where msp_id = $1
    order by customer_id, contract_id, valid_from";
const GIVE_NOTICE: &str = "
    update contracts set notice_given_on = $2, ends_on = $3, end_reason = $4
    where id = (select id from contracts where customer_id = $1 and starts_on <= $3 order by starts_on desc limit 1)";
/// The last day of the contract in force, unless one that is earlier is known already.
const UPDATE_END: &str = "
    update contracts set ends_on = greatest($2, starts_on), end_reason = coalesce(end_reason, $3)
    where id = (select id from contracts where customer_id = $1 order by starts_on <= $2 desc, case when starts_on <= $2 then starts_on end desc limit 1)
        and (ends_on is null or ends_on > $2)";

#[cfg(test)]
pub(super) const STATEMENTS: &[&str] = &[INSERT, FIND_ON, LIST, LIST_OF, UPDATE_LIMITS, KEEP_LIMITS, LIST_LIMITS, GIVE_NOTICE, UPDATE_END];

/// Inserts a contract.
pub(crate) async fn insert_contract(
    tx: &Tx,
    msp: MspId,
    customer: CustomerId,
    contract: &NewContract,
    created_at: Timestamp,
) -> Result<(), TenantsError> {
    let currency = contract.currency.code();
    tx.execute(
        INSERT,
        &[
            &ContractId::new(),
            &msp,
            &customer,
            &contract.starts_on,
            &contract.months,
            &contract.renews,
            &contract.notice_days,
            &currency,
            &contract.default_tier,
            &contract.contracted_machines,
            &contract.machine_limit,
            &contract.storage_limit_gib,
            &contract.minimum_minor,
            &contract.discount_percent,
            &contract.tax_percent,
            &contract.payment_terms_days,
            &contract.billing_channel,
            &contract.has_premium_support,
            &contract.has_white_label,
            &contract.rpo_hours,
            &contract.backup_sla_percent,
            &contract.restore_target_minutes,
            &contract.support_target_minutes,
            &created_at,
        ],
    )
    .await?;
    Ok(())
}

/// Finds the contract in force on a day.
pub(crate) async fn find_contract_on(tx: &Tx, customer: CustomerId, on: Date) -> Result<Option<Contract>, TenantsError> {
    tx.query_opt(FIND_ON, &[&customer, &on]).await?.as_ref().map(contract).transpose()
}

/// Lists the contracts of an MSP by customer and start.
pub(crate) async fn list_contracts(tx: &Tx, msp: MspId) -> Result<Vec<Contract>, TenantsError> {
    tx.query(LIST, &[&msp]).await?.iter().map(contract).collect()
}

/// Lists a customer's contracts by start.
pub(crate) async fn list_contracts_of(tx: &Tx, customer: CustomerId) -> Result<Vec<Contract>, TenantsError> {
    tx.query(LIST_OF, &[&customer]).await?.iter().map(contract).collect()
}

/// Lists the limits of an MSP's contracts, each contract's oldest first.
pub(crate) async fn list_contract_limits(tx: &Tx, msp: MspId) -> Result<Vec<ContractLimits>, TenantsError> {
    let get = TenantsError::column;
    let limits = |row: &Row| {
        Ok(ContractLimits {
            contract_id: row.try_get("contract_id").map_err(get)?,
            valid_from: row.try_get("valid_from").map_err(get)?,
            machine_limit: row.try_get("machine_limit").map_err(get)?,
            storage_limit_gib: row.try_get("storage_limit_gib").map_err(get)?,
        })
    };
    tx.query(LIST_LIMITS, &[&msp]).await?.iter().map(limits).collect()
}

/// Notes a notice; false when the customer has no contract.
pub(crate) async fn update_notice(
    tx: &Tx,
    customer: CustomerId,
    given_on: Date,
    ends_on: Date,
    reason: EndReason,
) -> Result<bool, TenantsError> {
    Ok(tx.execute(GIVE_NOTICE, &[&customer, &given_on, &ends_on, &reason]).await? == 1)
}

/// Ends the contract in force on its last day, unless it has ended before.
pub(crate) async fn update_contract_end(tx: &Tx, customer: CustomerId, last_day: Date, reason: EndReason) -> Result<(), TenantsError> {
    tx.execute(UPDATE_END, &[&customer, &last_day, &reason]).await?;
    Ok(())
}

fn contract(row: &Row) -> Result<Contract, TenantsError> {
    let get = TenantsError::column;
    Ok(Contract {
        id: row.try_get("id").map_err(get)?,
        msp_id: row.try_get("msp_id").map_err(get)?,
        customer_id: row.try_get("customer_id").map_err(get)?,
        starts_on: row.try_get("starts_on").map_err(get)?,
        months: row.try_get("months").map_err(get)?,
        renews: row.try_get("renews").map_err(get)?,
        notice_days: row.try_get("notice_days").map_err(get)?,
        notice_given_on: row.try_get("notice_given_on").map_err(get)?,
        ends_on: row.try_get("ends_on").map_err(get)?,
        end_reason: row.try_get("end_reason").map_err(get)?,
        currency: row.try_get::<_, &str>("currency").map_err(get)?.parse()?,
        default_tier: row.try_get("default_tier").map_err(get)?,
        contracted_machines: row.try_get("contracted_machines").map_err(get)?,
        machine_limit: row.try_get("machine_limit").map_err(get)?,
        storage_limit_gib: row.try_get("storage_limit_gib").map_err(get)?,
        minimum_minor: row.try_get("minimum_minor").map_err(get)?,
        discount_percent: row.try_get("discount_percent").map_err(get)?,
        tax_percent: row.try_get("tax_percent").map_err(get)?,
        payment_terms_days: row.try_get("payment_terms_days").map_err(get)?,
        billing_channel: row.try_get("billing_channel").map_err(get)?,
        has_premium_support: row.try_get("has_premium_support").map_err(get)?,
        has_white_label: row.try_get("has_white_label").map_err(get)?,
        rpo_hours: row.try_get("rpo_hours").map_err(get)?,
        backup_sla_percent: row.try_get("backup_sla_percent").map_err(get)?,
        restore_target_minutes: row.try_get("restore_target_minutes").map_err(get)?,
        support_target_minutes: row.try_get("support_target_minutes").map_err(get)?,
        created_at: row.try_get("created_at").map_err(get)?,
    })
}
