//! What can go wrong with a report.

use granary_tenants::TenantsError;
use granary_types::{Classify, CustomerCode, ErrorKind, Period};
use granary_warehouse::WarehouseError;
use jiff::civil::Date;

/// An error of the reports room.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing to report on yet.
    #[error("{0} has not begun yet")]
    NotBegun(Period),
    /// The customer was not one yet.
    #[error("{code} was not a customer in {period}: its contract starts on {starts_on}; ask for {first} or later")]
    NotACustomerYet { code: CustomerCode, period: Period, starts_on: Date, first: Period },
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

impl Classify for ReportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBegun(_) => ErrorKind::Invalid,
            Self::NotACustomerYet { .. } => ErrorKind::NotFound,
            Self::Tenants(error) => error.kind(),
            Self::Warehouse(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotBegun(_) => "period_not_begun",
            Self::NotACustomerYet { .. } => "not_a_customer_yet",
            Self::Tenants(error) => error.code(),
            Self::Warehouse(error) => error.code(),
        }
    }
}
