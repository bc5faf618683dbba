//! The words that every room shares: identifiers, money, periods, clocks, errors and the description of a table.
//!
//! This room does no I/O and knows no other room. A value that exists is valid: constructors check, and the rest of the
//! house trusts the type. Amounts are integers in minor units ([`Money`]), unit prices are decimals, sizes are bytes,
//! instants are UTC; no float ever touches money.

mod clock;
mod dataset;
mod error;
mod id;
mod money;
mod period;
mod retained;
mod state;
mod text;

pub use clock::Clock;
pub use dataset::{Column, ColumnKind, Dataset, Source};
pub use error::{Classify, ErrorKind};
pub use id::{
    AlertId, ApiKeyId, BatchId, ContactId, ContractId, ControlPlaneId, CustomerCode, CustomerId, FileId, InvoiceId, JobId, LineId,
    MachineId, MspCode, MspId, PaymentId, RepositoryId, RunId, SessionId, SiteId, StatementId, UserId,
};
pub use money::{Currency, Money, MoneyError, Quantity, UnitPrice, line_amount};
pub use period::{Period, PeriodError, day_of};
pub use retained::{Least, LetGo, Retained};
pub use state::{
    AlertKind, AlertSeverity, AlertState, BillingChannel, CountingRule, CustomerStatus, Deployment, EndReason, PartnerTier, Role, RunState,
    Tier, UnknownWord,
};
pub use text::{LONGEST_REASON, LONGEST_TEXT, is_printable};
