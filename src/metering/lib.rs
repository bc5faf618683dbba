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

mod acceptance;
mod annex;
mod apply;
mod calls;
mod canonical;
mod closing;
mod datasets;
mod days;
mod error;
mod event;
mod evidence;
mod fact;
mod fields;
mod identity;
mod ingest;
mod live;
mod log;
mod merge;
mod merkle;
mod period;
mod projection;
mod protection;
mod retention;
mod row;
mod run;
mod store;
mod usage;
pub mod veeam;

pub use acceptance::{Acceptance, FindingKind, accept, is_accepted, list_acceptances, list_findings, write_findings};
pub use annex::{AnnexRow, BillingReason, list_machines};
pub use calls::{ApiCalls, FLUSH_SECONDS};
pub use closing::{
    ClosedSeal, Findings, Seal, Silence, SuspectedPair, UsageCorrection, close_month, closed_usage, cut_off, evidence_from, examine,
    find_seal, list_corrections, mark_closed, measure_known, prove, remeasure, seal, write_corrections,
};
pub use datasets::DATASETS;
pub use days::rebuild_days;
pub use error::MeteringError;
pub use evidence::{EventCursor, EvidenceFilter, EvidencePage, Meter, list_evidence};
pub use ingest::{IngestReport, MAX_BATCH_EVENTS, Outcome, ingest};
pub use live::{LiveUsage, live_usage};
pub use log::{EventFilter, LoggedEvent, list_events};
pub use merkle::InclusionProof;
pub use period::{
    CustomerMonth, PeriodClosed, PeriodProgress, PeriodState, close_period, list_closed, list_closed_months, list_customer_months,
    mark_approved, mark_drafted, period_progress, period_state, project_month, write_month,
};
pub use retention::{RETAINED, first_open_day};
pub use usage::{DayMachines, DayUsage, MachineCounts, PeriodUsage, TierPrices, count_completed, measure, measure_estimated};
