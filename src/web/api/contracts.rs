//! `…/customers/{code}/contracts`: the terms of a customer.

use axum::Json;
use axum::http::StatusCode;
use axum::response::Response;
use granary_tenants::{Contract, NewContract, agree_contract, list_contracts_of};
use granary_types::{BillingChannel, ContractId, EndReason, Tier};
use jiff::civil::Date;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::exchange::{At, Once};
use crate::http::Problem;
use crate::openapi::words;

/// Terms to be agreed; what is left out is as in a year that renews.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ContractIn {
    /// The first of a month, later than the terms in force.
    #[schema(value_type = words::FirstOfMonth)]
    starts_on: Date,
    #[schema(minimum = 1, maximum = 120)]
    months: Option<i32>,
    renews: Option<bool>,
    #[schema(minimum = 0, maximum = 365)]
    notice_days: Option<i32>,
    /// The MSP's unless told; ISO 4217.
    #[schema(value_type = Option<words::Currency>)]
    currency: Option<String>,
    #[schema(value_type = Option<words::Tier>)]
    plan_tier: Option<Tier>,
    #[schema(minimum = 0, maximum = 10_000_000)]
    contracted_vms: Option<i32>,
    #[schema(minimum = 0, maximum = 10_000_000)]
    max_vms: Option<i32>,
    #[schema(minimum = 0, maximum = 2_147_483_647)]
    storage_gb: i64,
    /// The least that a month is billed at, in minor units.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    minimum_minor: Option<i64>,
    #[schema(value_type = Option<words::Percent>)]
    discount_percent: Option<Decimal>,
    #[schema(value_type = Option<words::TaxPercent>)]
    tax_percent: Option<Decimal>,
    #[schema(minimum = 0, maximum = 365)]
    payment_terms_days: Option<i32>,
    #[schema(value_type = Option<words::BillingChannel>)]
    billing_channel: Option<BillingChannel>,
    premium_support: Option<bool>,
    white_label: Option<bool>,
    #[schema(minimum = 1)]
    rpo_hours: Option<i32>,
    #[schema(value_type = Option<words::Percent>)]
    backup_sla_percent: Option<Decimal>,
    #[schema(minimum = 1)]
    restore_target_minutes: Option<i32>,
    #[schema(minimum = 1)]
    support_target_minutes: Option<i32>,
}

/// The terms of a customer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContractOut {
    #[schema(value_type = Uuid)]
    id: ContractId,
    starts_on: Date,
    months: i32,
    renews: bool,
    notice_days: i32,
    notice_given_on: Option<Date>,
    /// The last day, once it is known.
    ends_on: Option<Date>,
    #[schema(value_type = Option<words::EndReason>)]
    end_reason: Option<EndReason>,
    currency: String,
    #[schema(value_type = words::Tier)]
    plan_tier: Tier,
    contracted_vms: Option<i32>,
    max_vms: Option<i32>,
    storage_gb: i64,
    minimum_minor: i64,
    #[schema(value_type = words::Percent)]
    discount_percent: Decimal,
    #[schema(value_type = words::TaxPercent)]
    tax_percent: Decimal,
    payment_terms_days: i32,
    #[schema(value_type = words::BillingChannel)]
    billing_channel: BillingChannel,
    premium_support: bool,
    white_label: bool,
    rpo_hours: i32,
    #[schema(value_type = words::Percent)]
    backup_sla_percent: Decimal,
    restore_target_minutes: i32,
    support_target_minutes: i32,
}

/// All terms of a customer, by start.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ContractsOut {
    contracts: Vec<ContractOut>,
}

impl From<Contract> for ContractOut {
    fn from(contract: Contract) -> Self {
        Self {
            id: contract.id,
            starts_on: contract.starts_on,
            months: contract.months,
            renews: contract.renews,
            notice_days: contract.notice_days,
            notice_given_on: contract.notice_given_on,
            ends_on: contract.ends_on,
            end_reason: contract.end_reason,
            currency: contract.currency.code().to_owned(),
            plan_tier: contract.default_tier,
            contracted_vms: contract.contracted_machines,
            max_vms: contract.machine_limit,
            storage_gb: contract.storage_limit_gib,
            minimum_minor: contract.minimum_minor,
            discount_percent: contract.discount_percent,
            tax_percent: contract.tax_percent,
            payment_terms_days: contract.payment_terms_days,
            billing_channel: contract.billing_channel,
            premium_support: contract.has_premium_support,
            white_label: contract.has_white_label,
            rpo_hours: contract.rpo_hours,
            backup_sla_percent: contract.backup_sla_percent,
            restore_target_minutes: contract.restore_target_minutes,
            support_target_minutes: contract.support_target_minutes,
        }
    }
}

impl ContractIn {
    fn into_contract(self, msp: &granary_tenants::Msp) -> Result<NewContract, Problem> {
        let currency = match &self.currency {
            Some(code) => code.parse().map_err(|error: granary_types::MoneyError| Problem::invalid(error.to_string()))?,
            None => msp.currency,
        };
        let new = NewContract::new(self.starts_on, currency, self.plan_tier.unwrap_or(Tier::Backup), self.storage_gb);
        Ok(NewContract {
            months: self.months.unwrap_or(new.months),
            renews: self.renews.unwrap_or(new.renews),
            notice_days: self.notice_days.unwrap_or(new.notice_days),
            contracted_machines: self.contracted_vms,
            machine_limit: self.max_vms,
            minimum_minor: self.minimum_minor.unwrap_or(new.minimum_minor),
            discount_percent: self.discount_percent.unwrap_or(new.discount_percent),
            tax_percent: self.tax_percent.unwrap_or(new.tax_percent),
            payment_terms_days: self.payment_terms_days.unwrap_or(new.payment_terms_days),
            billing_channel: self.billing_channel.unwrap_or(new.billing_channel),
            has_premium_support: self.premium_support.unwrap_or(new.has_premium_support),
            has_white_label: self.white_label.unwrap_or(new.has_white_label),
            rpo_hours: self.rpo_hours.unwrap_or(new.rpo_hours),
            backup_sla_percent: self.backup_sla_percent.unwrap_or(new.backup_sla_percent),
            restore_target_minutes: self.restore_target_minutes.unwrap_or(new.restore_target_minutes),
            support_target_minutes: self.support_target_minutes.unwrap_or(new.support_target_minutes),
            ..new
        })
    }
}

/// Lists a customer's contracts.
pub(crate) async fn list(at: At) -> Result<Json<ContractsOut>, Problem> {
    let contracts = list_contracts_of(&at.tx, &at.customer).await?;
    at.show(ContractsOut { contracts: contracts.into_iter().map(ContractOut::from).collect() }).await
}

/// Agrees on terms that follow those in force.
pub(crate) async fn agree(Once { at, wanted, sent }: Once<ContractIn>) -> Result<Response, Problem> {
    let new = wanted.into_contract(at.tx.msp())?;
    let agreed = agree_contract(&at.tx, &at.customer, &new).await?;
    sent.done(at, StatusCode::CREATED, &ContractOut::from(agreed)).await
}
