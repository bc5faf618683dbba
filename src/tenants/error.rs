//! What can go wrong with tenants.

use granary_db::DbError;
use granary_types::{Classify, CustomerCode, CustomerId, CustomerStatus, ErrorKind, MoneyError, MspId};
use granary_vault::VaultError;
use jiff::Timestamp;
use jiff::civil::Date;

use crate::lifecycle::{Door, Extent, Operation, Transition};

/// An error of the tenants room.
#[derive(Debug, thiserror::Error)]
pub enum TenantsError {
    #[error("there is no MSP '{0}'")]
    UnknownMspCode(String),
    #[error("there is no MSP {0}")]
    UnknownMsp(MspId),
    #[error("there is no customer '{0}'")]
    UnknownCustomerCode(CustomerCode),
    #[error("there is no customer {0}")]
    UnknownCustomer(CustomerId),
    #[error("there is no cluster '{0}' in the configuration; name its url under [clusters.{0}]")]
    UnknownCluster(String),
    #[error("no cluster serves the region '{0}'; leave it out, or see granary cluster list for those that there are")]
    UnknownRegion(String),
    #[error("there is no copy '{0}'; granary customer clone list shows those that there are")]
    UnknownClone(CustomerCode),
    #[error("{0}")]
    Unfit(String),
    #[error("the copy {0} is not complete; make it again with granary customer clone make, or drop it")]
    Unfinished(CustomerCode),
    #[error("{code} is on its way to {to}; finish that first with granary customer move {code} --to {to}")]
    OtherMove { code: CustomerCode, to: String },
    #[error("{cluster} has a schema {schema} already, which nobody remembers; look at it and drop it")]
    Occupied { cluster: String, schema: String },
    #[error("the copy of {table} differs: {here} rows here, {there} there, or other content; nothing was switched")]
    CopyDiffers { table: String, here: i64, there: i64 },
    #[error("a legal hold stands since {0}: {1}; nothing is erased until granary customer hold release")]
    OnHold(Timestamp, String),
    #[error("no legal hold stands on the customer")]
    NoHold,
    #[error("what was destroyed cannot be brought back")]
    Irrevocable,
    #[error("{0} is on its way to another place; try again, or finish the move with granary customer move")]
    OnItsWay(CustomerCode),
    #[error("the customer has no contract on {0}")]
    NoContract(Date),
    #[error("'{0}' is not a time zone such as America/New_York")]
    UnknownTimeZone(String),
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the customer belongs to another MSP than the scope says")]
    ScopeMismatch,
    #[error("the step '{step}' of '{operation}' failed: {cause}")]
    Step { operation: Operation, step: &'static str, cause: Box<dyn Classify + Send + Sync> },
    #[error("the step '{step}' of '{operation}' left {} of its result; run it again", match extent {
        Extent::Nothing => "nothing",
        Extent::Part => "a part",
        Extent::Whole => "the whole",
    })]
    StepIncomplete { operation: Operation, step: &'static str, extent: Extent },
    #[error("there is no such {0}")]
    UnknownThing(&'static str),
    #[error("there is a {0} already")]
    Taken(&'static str),
    #[error("terms that begin on {0} or later are agreed already")]
    ContractOverlaps(Date),
    #[error("the customer is {0}: its terms are not changed any more")]
    Left(CustomerStatus),
    #[error("the idempotency key was used for another request; take a new one")]
    KeyReused,
    #[error("a customer that is {from} cannot be changed by '{}'", .transition.as_str())]
    NoTransition { transition: Transition, from: CustomerStatus },
    #[error("no change leads from {from} to {to}")]
    NoArrow { from: CustomerStatus, to: CustomerStatus },
    #[error("{} are shut: the customer is {status}", .door.as_str())]
    DoorShut { door: Door, status: CustomerStatus },
    #[error("the operation '{0}' is being withdrawn; try again when that has ended")]
    Withdrawn(Operation),
    #[error("there is no open operation '{0}' to be withdrawn")]
    NothingToWithdraw(Operation),
    #[error("a stored row cannot be read: {0}")]
    Stored(String),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Db(#[from] DbError),
}

impl Classify for TenantsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMspCode(_)
            | Self::UnknownMsp(_)
            | Self::UnknownCustomerCode(_)
            | Self::UnknownCustomer(_)
            | Self::UnknownThing(_)
            | Self::UnknownCluster(_)
            | Self::UnknownClone(_)
            | Self::NoContract(_) => ErrorKind::NotFound,
            Self::OnItsWay(_) => ErrorKind::Unavailable,
            Self::OtherMove { .. } | Self::Occupied { .. } | Self::Unfinished(_) | Self::OnHold(..) | Self::NoHold | Self::Irrevocable => {
                ErrorKind::Conflict
            }
            Self::CopyDiffers { .. } => ErrorKind::Internal,
            Self::UnknownTimeZone(_) | Self::UnknownRegion(_) | Self::Invalid(_) | Self::Unfit(_) | Self::KeyReused => ErrorKind::Invalid,
            Self::Taken(_)
            | Self::ContractOverlaps(_)
            | Self::Left(_)
            | Self::Withdrawn(_)
            | Self::NothingToWithdraw(_)
            | Self::NoTransition { .. }
            | Self::NoArrow { .. }
            | Self::DoorShut { .. } => ErrorKind::Conflict,
            Self::ScopeMismatch | Self::Stored(_) | Self::StepIncomplete { .. } => ErrorKind::Internal,
            Self::Step { cause, .. } => cause.kind(),
            Self::Vault(error) => error.kind(),
            Self::Db(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::UnknownMspCode(_) | Self::UnknownMsp(_) => "msp_not_found",
            Self::UnknownCustomerCode(_) | Self::UnknownCustomer(_) => "customer_not_found",
            Self::UnknownCluster(_) => "cluster_not_found",
            Self::UnknownRegion(_) => "region_not_served",
            Self::UnknownClone(_) => "clone_not_found",
            Self::Unfinished(_) => "clone_unfinished",
            Self::Unfit(_) => "copy_unfit",
            Self::OnItsWay(_) => "customer_on_its_way",
            Self::OnHold(..) => "customer_on_hold",
            Self::NoHold => "no_legal_hold",
            Self::Irrevocable => "irrevocable",
            Self::OtherMove { .. } => "customer_moves_elsewhere",
            Self::Occupied { .. } => "cluster_occupied",
            Self::CopyDiffers { .. } => "copy_differs",
            Self::NoContract(_) => "contract_not_found",
            Self::UnknownTimeZone(_) => "time_zone_unknown",
            Self::Invalid(_) => "customer_invalid",
            Self::ScopeMismatch => "scope_mismatch",
            Self::Stored(_) => "stored_row_unreadable",
            Self::Step { cause, .. } => cause.code(),
            Self::StepIncomplete { .. } => "lifecycle_step_incomplete",
            Self::UnknownThing(_) => "not_found",
            Self::Taken(_) => "already_there",
            Self::ContractOverlaps(_) => "contract_overlaps",
            Self::Left(_) => "customer_has_left",
            Self::KeyReused => "idempotency_key_reused",
            Self::NoTransition { .. } | Self::NoArrow { .. } => "status_transition_refused",
            Self::DoorShut { .. } => "customer_door_shut",
            Self::Withdrawn(_) => "operation_withdrawn",
            Self::NothingToWithdraw(_) => "operation_not_open",
            Self::Vault(error) => error.code(),
            Self::Db(error) => error.code(),
        }
    }
}

impl From<MoneyError> for TenantsError {
    fn from(error: MoneyError) -> Self {
        Self::Stored(error.to_string())
    }
}

impl TenantsError {
    /// A column that does not fit: the driver's error becomes one of ours.
    pub(crate) fn column(error: impl std::fmt::Display) -> Self {
        Self::Stored(error.to_string())
    }
}
