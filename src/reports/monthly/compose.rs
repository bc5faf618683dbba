//! Asks the catalog and the warehouse, and assembles.

use granary_foundation::Boxed;
use std::collections::BTreeSet;

use granary_tenants::{Customer, Granted, Msp, ReadGrant, Tenants};
use granary_types::{CustomerId, Period, Role, day_of};
use granary_warehouse::Warehouse;
use jiff::{SignedDuration, Timestamp};

use super::{MonthlyReport, assemble};
use crate::ReportError;
use crate::store::{Window, list_facts};

/// Composes the report of one customer.
///
/// The warehouse is read with a customer's grant, so that a report can say no more than the customer may see.
///
/// # Errors
/// When the period has not begun, the customer has no contract in it, or catalog or warehouse do not answer.
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
        Ok(assemble(&msp, customer, &contract, period, now, facts))
    })
}

/// Composes the reports of several customers of an MSP with one pass over the warehouse; who has no contract in the
/// period gets none.
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
            let begun = contracts.iter().filter(|contract| contract.customer_id == customer && contract.starts_on <= window.as_of_day);
            begun.max_by_key(|contract| contract.starts_on)
        };
        let reports = customers.iter().filter_map(|customer| {
            let contract = contract_of(customer.id)?;
            Some(assemble(msp, customer, contract, period, now, facts.take(customer.id)))
        });
        Ok(reports.collect())
    })
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
