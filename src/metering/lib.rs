//! The room `metering`: from usage events to what a customer used in a period.
//!
//! It owns the event log, the typed rows that events are projected to, daily usage, periods and customer months, and what follows from
//! them at once: alerts, and recommendations of limits.
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
mod alert;
mod annex;
mod apply;
mod batch;
mod calls;
mod canonical;
mod closing;
mod correction;
mod counting;
mod datasets;
mod days;
mod error;
mod event;
mod evidence;
mod fact;
mod fields;
mod identity;
mod imported;
mod ingest;
mod live;
mod log;
mod merge;
mod merkle;
mod period;
mod projection;
mod protection;
mod rebuilding;
mod recommendation;
mod retention;
mod row;
mod run;
pub mod sendense;
mod store;
mod thing;
mod usage;
pub mod veeam;
mod wall_clock;

pub use acceptance::{Acceptance, FindingKind, accept, is_accepted, list_acceptances, list_findings, write_findings};
pub use alert::{
    Alert, AlertEscalated, AlertFilter, AlertPlace, AlertRaised, AlertResolved, AlertStep, AlertTotals, LimitUse, ListedAlert,
    MAX_SNOOZE_DAYS, WatchReport, act_on_alert, bring_forward, count_alerts, limit_use, list_alerts, note_api_use, watch_customer,
    watch_msp,
};
pub use annex::{AnnexRow, BillingReason, list_machines};
pub use batch::{Batch, BatchForm, MAX_BATCH_EVENTS, misfit_of};
pub use calls::{ApiCalls, FLUSH_SECONDS};
pub use closing::{
    ClosedSeal, Findings, Seal, Silence, SuspectedPair, UsageCorrection, close_month, closed_usage, cut_off, evidence_from, examine,
    find_seal, list_corrections, mark_closed, measure_known, prove, remeasure, seal, write_corrections,
};
pub use datasets::DATASETS;
pub use days::rebuild_days;
pub use error::MeteringError;
pub use evidence::{EventCursor, EvidenceFilter, EvidencePage, Meter, list_evidence};
pub use ingest::{IngestReport, Outcome, ingest, ingest_batch};
pub use live::{LiveUsage, live_usage};
pub use log::{EventFilter, LoggedEvent, RefusedEvent, SourceTally, list_events, list_refused, tally_source};
pub use merkle::InclusionProof;
pub use period::{
    CustomerMonth, PeriodClosed, PeriodProgress, PeriodState, close_period, list_closed, list_closed_months, list_customer_months,
    mark_approved, mark_drafted, period_progress, period_state, project_month, write_month,
};
pub use rebuilding::{RebuiltTable, rebuild};
pub use recommendation::{Direction, Recommendation, Resource, list_recommendations};
pub use retention::{RETAINED, first_open_day, list_closed_periods};
pub use usage::{DayMachines, DayUsage, MachineCounts, PeriodUsage, TierPrices, count_completed, measure, measure_estimated};
