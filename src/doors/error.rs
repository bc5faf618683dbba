//! What can go wrong at a door.

use granary_access::AccessError;
use granary_tenants::TenantsError;
use granary_types::{Classify, ErrorKind};
use granary_warehouse::WarehouseError;

/// A failure at a door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
}

impl Classify for DoorError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Access(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Warehouse(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Access(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Warehouse(error) => error.code(),
        }
    }
}
