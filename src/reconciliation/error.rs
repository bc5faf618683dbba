//! What can go wrong in reconciliation.

use granary_types::{Classify, ErrorKind};

/// A failure of reconciliation; a difference is not one.
#[derive(Debug, thiserror::Error)]
pub enum ReconciliationError {
    #[error(transparent)]
    Warehouse(#[from] granary_warehouse::WarehouseError),
    #[error(transparent)]
    Tenants(#[from] granary_tenants::TenantsError),
    #[error(transparent)]
    Billing(#[from] granary_billing::BillingError),
    #[error("counting again failed: {0}")]
    Frame(#[from] polars::prelude::PolarsError),
    #[error("the lake's column {0} has another shape than expected")]
    Column(&'static str),
    #[error("counting again was stopped")]
    Stopped,
    #[error("the grant is for another MSP")]
    OtherMsp,
}

impl Classify for ReconciliationError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Warehouse(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Billing(error) => error.kind(),
            Self::Frame(_) | Self::Column(_) | Self::Stopped => ErrorKind::Internal,
            Self::OtherMsp => ErrorKind::NotFound,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Warehouse(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Billing(error) => error.code(),
            Self::Frame(_) | Self::Stopped => "recount_failed",
            Self::Column(_) => "lake_column_unexpected",
            Self::OtherMsp => "msp_not_found",
        }
    }
}
