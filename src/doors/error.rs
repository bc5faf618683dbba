//! What can go wrong at a door.

use std::io;
use std::net::SocketAddr;

use granary_access::AccessError;
use granary_tenants::TenantsError;
use granary_types::{Classify, ErrorKind};
use granary_warehouse::WarehouseError;

/// A failure at a door.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address} for doors.{door}: {source}; choose another address")]
    Listen { door: &'static str, address: SocketAddr, source: io::Error },
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
            Self::Listen { .. } => ErrorKind::Invalid,
            Self::Access(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
            Self::Warehouse(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Listen { .. } => "door_address",
            Self::Access(error) => error.code(),
            Self::Tenants(error) => error.code(),
            Self::Warehouse(error) => error.code(),
        }
    }
}
