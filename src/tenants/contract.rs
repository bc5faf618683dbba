//! The terms of a customer.

use granary_types::{BillingChannel, ContractId, Currency, CustomerId, EndReason, MspId, Tier};
use jiff::Timestamp;
use jiff::civil::Date;
use rust_decimal::Decimal;

/// A customer's terms.
#[derive(Debug, Clone)]
pub struct Contract {
    pub id: ContractId,
    pub msp_id: MspId,
    pub customer_id: CustomerId,
    pub starts_on: Date,
    pub months: i32,
    pub renews: bool,
    pub notice_days: i32,
    pub notice_given_on: Option<Date>,
    /// The last day, once it is known.
    pub ends_on: Option<Date>,
    pub end_reason: Option<EndReason>,
    pub currency: Currency,
    pub default_tier: Tier,
    /// The quantity the customer committed to; none when none was agreed.
    pub contracted_machines: Option<i32>,
    /// The limits as they were set last; a day's are told by [`ContractLimits`].
    pub machine_limit: Option<i32>,
    pub storage_limit_gib: i64,
    /// The least that a period is billed at, in minor units.
    pub minimum_minor: i64,
    /// Off the document.
    pub discount_percent: Decimal,
    pub tax_percent: Decimal,
    pub payment_terms_days: i32,
    pub billing_channel: BillingChannel,
    pub has_premium_support: bool,
    pub has_white_label: bool,
    pub rpo_hours: i32,
    pub backup_sla_percent: Decimal,
    pub restore_target_minutes: i32,
    pub support_target_minutes: i32,
    pub created_at: Timestamp,
}

/// A contract's limits from a billing day on, until its next ones. The first also speak for the days before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContractLimits {
    pub contract_id: ContractId,
    pub valid_from: Date,
    pub machine_limit: Option<i32>,
    pub storage_limit_gib: i64,
}

/// Terms to be agreed.
#[derive(Debug, Clone)]
pub struct NewContract {
    pub starts_on: Date,
    pub months: i32,
    pub renews: bool,
    pub notice_days: i32,
    pub currency: Currency,
    pub default_tier: Tier,
    pub contracted_machines: Option<i32>,
    pub machine_limit: Option<i32>,
    pub storage_limit_gib: i64,
    pub minimum_minor: i64,
    pub discount_percent: Decimal,
    pub tax_percent: Decimal,
    pub payment_terms_days: i32,
    pub billing_channel: BillingChannel,
    pub has_premium_support: bool,
    pub has_white_label: bool,
    pub rpo_hours: i32,
    pub backup_sla_percent: Decimal,
    pub restore_target_minutes: i32,
    pub support_target_minutes: i32,
}

impl NewContract {
    /// Describes a year that renews, without minimum, discount, tax or add-ons, and with the house's service targets.
    pub fn new(starts_on: Date, currency: Currency, default_tier: Tier, storage_limit_gib: i64) -> Self {
        Self {
            starts_on,
            months: 12,
            renews: true,
            notice_days: 30,
            currency,
            default_tier,
            contracted_machines: None,
            machine_limit: None,
            storage_limit_gib,
            minimum_minor: 0,
            discount_percent: Decimal::ZERO,
            tax_percent: Decimal::ZERO,
            payment_terms_days: 30,
            billing_channel: BillingChannel::Manual,
            has_premium_support: false,
            has_white_label: false,
            rpo_hours: 24,
            backup_sla_percent: Decimal::new(9950, 2),
            restore_target_minutes: 240,
            support_target_minutes: 240,
        }
    }
}
