//! What can go wrong here.

use granary_types::{Classify, ErrorKind};

/// An error of this room.
#[derive(Debug, thiserror::Error)]
pub enum IntelligenceError {
    #[error("nobody left, or everybody did: there is nothing to learn from")]
    OneClass,
    #[error("the model did not converge")]
    NotConverged,
    #[error("{months} months are too few to learn from one part and test on a later one")]
    TooFewMonths { months: usize },
    #[error("a column of '{dataset}' does not fit its description")]
    Publication {
        dataset: &'static str,
        #[source]
        source: arrow::error::ArrowError,
    },
    #[error(transparent)]
    Tenants(#[from] granary_tenants::TenantsError),
    #[error(transparent)]
    Warehouse(#[from] granary_warehouse::WarehouseError),
    #[error(transparent)]
    Lake(#[from] granary_lake::LakeError),
}

impl Classify for IntelligenceError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::OneClass | Self::TooFewMonths { .. } => ErrorKind::Conflict,
            Self::NotConverged | Self::Publication { .. } => ErrorKind::Internal,
            Self::Tenants(error) => error.kind(),
            Self::Warehouse(error) => error.kind(),
            Self::Lake(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::OneClass => "no_departures",
            Self::NotConverged => "model_not_converged",
            Self::TooFewMonths { .. } => "too_few_months",
            Self::Publication { .. } => "scores_do_not_fit",
            Self::Tenants(error) => error.code(),
            Self::Warehouse(error) => error.code(),
            Self::Lake(error) => error.code(),
        }
    }
}
