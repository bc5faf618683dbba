//! What can go wrong with a report.

use granary_tenants::TenantsError;
use granary_types::{Classify, ErrorKind, Period};
use granary_warehouse::WarehouseError;

/// An error of the reports room.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// There is nothing to report on yet.
    #[error("{0} has not begun yet")]
    NotBegun(Period),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

impl Classify for ReportError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotBegun(_) => ErrorKind::Invalid,
            Self::Tenants(error) => error.kind(),
            Self::Warehouse(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotBegun(_) => "period_not_begun",
            Self::Tenants(error) => error.code(),
            Self::Warehouse(error) => error.code(),
        }
    }
}
