//! A customer of the portfolio, as the books of its MSP would know it.

use granary_types::{CustomerCode, CustomerStatus, EndReason, Period, Tier};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use rust_decimal::Decimal;

use crate::life::Life;
use crate::machine::Machine;

/// A customer with its terms, its past and, inside, its hidden life and its machines.
#[derive(Debug, Clone)]
pub struct SimCustomer {
    /// Its place in the portfolio, from 0.
    pub index: usize,
    pub code: CustomerCode,
    pub name: String,
    /// `office`, `education`, `retail` or `construction`.
    pub vertical: &'static str,
    pub time_zone: TimeZone,
    /// The CloudEvents source of its one control plane.
    pub source: String,
    /// The day it came; may lie before the first event.
    pub created_on: Date,
    pub trial_ends_on: Option<Date>,
    /// The first day after any trial; none while on trial, or when the trial came to nothing.
    pub activated_on: Option<Date>,
    /// Every status it held, in order, up to the portfolio's end.
    pub statuses: Vec<StatusChange>,
    pub contract: SimContract,
    /// Prices of its own; the versions of an item in order of time.
    pub price_overrides: Vec<PriceOverride>,
    /// Notice that was given before the portfolio's end.
    pub notice: Option<Notice>,
    /// How each month's invoice is paid, for the closed months in which it was a paying customer.
    pub payments: Vec<PaymentHabit>,
    pub(crate) first_event_on: Date,
    pub(crate) machines: Vec<Machine>,
    pub(crate) life: Life,
    /// The features of its tier that it can use.
    pub(crate) features: &'static [&'static str],
}

impl SimCustomer {
    /// Returns the status at the end of a day, none before the customer came.
    pub fn status_on(&self, day: Date) -> Option<CustomerStatus> {
        self.statuses.iter().rev().find(|change| change.on <= day).map(|change| change.status)
    }

    /// Returns the day from which its control plane says nothing any more.
    pub(crate) fn silent_from(&self) -> Option<Date> {
        self.statuses
            .iter()
            .find(|change| matches!(change.status, CustomerStatus::Suspended | CustomerStatus::Closed))
            .map(|change| change.on)
    }
}

/// A change of status, at the start of a day in the MSP's zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusChange {
    pub status: CustomerStatus,
    pub on: Date,
    pub reason: &'static str,
}

/// The terms of a customer; everything else is the MSP's default.
#[derive(Debug, Clone)]
pub struct SimContract {
    pub starts_on: Date,
    pub months: u32,
    pub renews: bool,
    pub notice_days: u32,
    pub default_tier: Tier,
    pub contracted_machines: Option<u32>,
    pub machine_limit: Option<u32>,
    pub storage_limit_gib: i64,
    pub minimum_minor: i64,
    pub discount_percent: Decimal,
    pub payment_terms_days: u32,
    pub has_premium_support: bool,
    pub has_white_label: bool,
}

/// A price of a customer's own, in the MSP's currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceOverride {
    /// The item as rated lines name it: `machine_backup`, `storage_overage`, …
    pub item: &'static str,
    pub unit_price: Decimal,
    /// A first of a month.
    pub valid_from: Date,
}

/// A departure that has been announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    pub given_on: Date,
    /// The contract's last day.
    pub ends_on: Date,
    pub reason: EndReason,
}

/// How the invoice of a period is paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentHabit {
    pub period: Period,
    /// Days after the due date; none when it is never paid.
    pub days_late: Option<u32>,
}
