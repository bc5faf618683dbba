//! The room `metering`: from usage events to what a customer used in a period.
//!
//! It owns the event log, the typed rows that events are projected to, daily usage, periods and customer months.
//!
//! - An event is known for ever by (source, id): the same content counts once, other content goes to quarantine.
//! - The rows do not depend on the order, the repetition or the batches in which events come: ids are hashes of what the
//!   source calls a thing, contradicting reports merge by a total order on their content, a run is derived from its attempts,
//!   a machine from everything that was ever said of it.
//! - Facts are never refused: limits and states refuse commands, every event that fits its type is counted.
//! - Quantities are rounded here, once, before anyone multiplies them.
//!
//! Not here: prices and money (`billing`), service levels and health (`warehouse`, `intelligence`), HTTP (`web`).

mod annex;
mod apply;
mod batch;
mod canonical;
mod correction;
mod counting;
mod datasets;
mod days;
mod error;
mod event;
mod fact;
mod fields;
mod identity;
mod ingest;
mod log;
mod merge;
mod period;
mod projection;
mod protection;
mod rebuilding;
mod retention;
mod row;
mod run;
mod store;
mod thing;
mod usage;
pub mod veeam;

pub use annex::{AnnexRow, BillingReason, list_machines};
pub use batch::{Batch, BatchForm, MAX_BATCH_EVENTS, misfit_of};
pub use datasets::DATASETS;
pub use days::rebuild_days;
pub use error::MeteringError;
pub use ingest::{IngestReport, Outcome, ingest, ingest_batch};
pub use log::{EventFilter, LoggedEvent, list_events};
pub use period::{
    CustomerMonth, PeriodClosed, PeriodState, close_period, list_customer_months, mark_drafted, period_state, project_month, write_month,
};
pub use rebuilding::{RebuiltTable, rebuild};
pub use retention::{RETAINED, first_open_day};
pub use usage::{DayMachines, MachineCounts, PeriodUsage, TierPrices, count_completed, measure};
