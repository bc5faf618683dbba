//! What can go wrong in metering.

use granary_db::DbError;
use granary_tenants::TenantsError;
use granary_types::{AlertId, AlertState, Classify, ErrorKind, Period};

/// An error of the metering room. A bad event is not one: it is an outcome in the report of its batch.
#[derive(Debug, thiserror::Error)]
pub enum MeteringError {
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    #[error("the body is neither an event nor an array of events")]
    NotEvents,
    #[error("a batch holds at most {limit} events; this one holds {count}")]
    BatchTooLarge { count: usize, limit: usize },
    #[error("the customer's tables are being migrated; send the events again in a moment")]
    SchemaBehind,
    #[error("the bodies of {events} events went by a rule of retention: the log alone does not say what the rows should be")]
    LogEmptied { events: i64 },
    #[error("the period {0} is closed")]
    PeriodClosed(Period),
    #[error("the period {0} has not ended")]
    PeriodNotEnded(Period),
    #[error("the cursor is none that was given with a page of events")]
    NoCursor,
    #[error("the period {0} has no drafts: draft it first")]
    NotDrafted(Period),
    #[error("the log of {0} no longer gives the hash that it was closed with")]
    SealBroken(Period),
    #[error("{from} is after {to}")]
    PeriodsReversed { from: Period, to: Period },
    #[error("there is no alert {0}")]
    UnknownAlert(AlertId),
    #[error("{0}")]
    InvalidAlert(&'static str),
    #[error("cannot {step} an alert that is {state}")]
    AlertStep { step: &'static str, state: AlertState },
    #[error("a stored value is outside its set: {0}")]
    Corrupt(String),
    #[error(transparent)]
    Db(#[from] DbError),
    #[error(transparent)]
    Tenants(#[from] TenantsError),
}

impl Classify for MeteringError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NotJson(_) | Self::NotEvents | Self::NoCursor | Self::PeriodsReversed { .. } | Self::InvalidAlert(_) => {
                ErrorKind::Invalid
            }
            Self::BatchTooLarge { .. } => ErrorKind::TooLarge,
            Self::SchemaBehind => ErrorKind::Unavailable,
            Self::LogEmptied { .. } | Self::PeriodClosed(_) | Self::PeriodNotEnded(_) | Self::NotDrafted(_) | Self::AlertStep { .. } => {
                ErrorKind::Conflict
            }
            Self::UnknownAlert(_) => ErrorKind::NotFound,
            Self::Corrupt(_) | Self::SealBroken(_) => ErrorKind::Internal,
            Self::Db(error) => error.kind(),
            Self::Tenants(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotJson(_) => "body_not_json",
            Self::NotEvents => "body_not_events",
            Self::BatchTooLarge { .. } => "batch_too_large",
            Self::SchemaBehind => "schema_behind",
            Self::LogEmptied { .. } => "log_emptied",
            Self::PeriodClosed(_) => "period_closed",
            Self::PeriodNotEnded(_) => "period_not_ended",
            Self::NoCursor => "cursor_unknown",
            Self::NotDrafted(_) => "period_not_drafted",
            Self::SealBroken(_) => "seal_broken",
            Self::PeriodsReversed { .. } => "periods_reversed",
            Self::UnknownAlert(_) => "not_found",
            Self::InvalidAlert(_) => "invalid",
            Self::AlertStep { .. } => "alert_state",
            Self::Corrupt(_) => "stored_value_unknown",
            Self::Db(error) => error.code(),
            Self::Tenants(error) => error.code(),
        }
    }
}
