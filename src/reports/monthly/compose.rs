//! Asks the catalog and the warehouse, and assembles.

use granary_foundation::Boxed;
use std::collections::BTreeSet;

use granary_tenants::{Contract, Customer, Granted, Msp, ReadGrant, Tenants};
use granary_types::{CustomerId, Period, Role, day_of};
use granary_warehouse::Warehouse;
use jiff::{SignedDuration, Timestamp};

use super::{Facts, MonthlyReport, assemble};
use crate::ReportError;
use crate::store::{Window, list_facts};

/// Composes the report of one customer.
///
/// The warehouse is read with a customer's grant, so that a report can say no more than the customer may see.
///
/// # Errors
/// When the period has not begun, the customer was not one yet, or catalog or warehouse do not answer.
pub fn compose<'a>(
    warehouse: &'a Warehouse,
    tenants: &'a Tenants,
    customer: &'a Customer,
    period: Period,
) -> Boxed<'a, Result<MonthlyReport, ReportError>> {
    Box::pin(async move {
        let now = tenants.clock().now();
        let msp = tenants.get_msp(customer.msp_id).await?;
        let window = window(&msp, period, now)?;
        let contract = tenants.contract_of(customer.id, window.as_of_day).await?;
        let session = warehouse.session(&grant(&msp, [customer.id])).await?;
        let facts = list_facts(&session, window).await?.take(customer.id);
        if is_before(&contract, window, &facts) {
            let (code, starts_on) = (customer.code.clone(), contract.starts_on);
            return Err(ReportError::NotACustomerYet { code, period, starts_on, first: Period::of(starts_on) });
        }
        Ok(assemble(&msp, customer, &contract, period, now, facts))
    })
}

/// Composes the reports of several customers of an MSP with one pass over the warehouse; who was not a customer yet gets
/// none.
///
/// # Errors
/// As [`compose`].
pub fn compose_all<'a>(
    warehouse: &'a Warehouse,
    tenants: &'a Tenants,
    msp: &'a Msp,
    customers: &'a [Customer],
    period: Period,
) -> Boxed<'a, Result<Vec<MonthlyReport>, ReportError>> {
    Box::pin(async move {
        let now = tenants.clock().now();
        let window = window(msp, period, now)?;
        let contracts = tenants.list_contracts(msp.id).await?;
        let session = warehouse.session(&grant(msp, customers.iter().map(|customer| customer.id))).await?;
        let mut facts = list_facts(&session, window).await?;
        let contract_of = |customer: CustomerId| {
            let own = || contracts.iter().filter(|contract| contract.customer_id == customer);
            let begun = own().filter(|contract| contract.starts_on <= window.as_of_day).max_by_key(|contract| contract.starts_on);
            begun.or_else(|| own().min_by_key(|contract| contract.starts_on))
        };
        let reports = customers.iter().filter_map(|customer| {
            let (contract, facts) = (contract_of(customer.id)?, facts.take(customer.id));
            (!is_before(contract, window, &facts)).then(|| assemble(msp, customer, contract, period, now, facts))
        });
        Ok(reports.collect())
    })
}

/// Tells whether a period lies before a customer's time. An imported past may be older than the first contract, whose terms
/// then hold for it; where nothing happened either, a report would raise alarm about nothing.
fn is_before(contract: &Contract, window: Window, facts: &Facts) -> bool {
    contract.starts_on > window.as_of_day && !facts.tell_of(window.period)
}

fn grant(msp: &Msp, customers: impl IntoIterator<Item = CustomerId>) -> ReadGrant {
    let customers: BTreeSet<_> = customers.into_iter().collect();
    ReadGrant { msp: msp.id, customers: Granted::Only(customers), role: Role::CustomerAdmin, can_read_billing: false }
}

fn window(msp: &Msp, period: Period, now: Timestamp) -> Result<Window, ReportError> {
    let (start_at, end_at) = (period.start_at(&msp.time_zone), period.end_at(&msp.time_zone));
    if now <= start_at {
        return Err(ReportError::NotBegun(period));
    }
    let as_of = now.min(end_at);
    let last_instant = as_of.saturating_sub(SignedDuration::from_micros(1)).unwrap_or(start_at);
    Ok(Window { period, start_at, as_of, as_of_day: day_of(last_instant, &msp.time_zone) })
}
