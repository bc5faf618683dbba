//! Alerts: what needs somebody, who took it, and when it was over.
//!
//! A customer's rows and terms are read as [`measure::Reading`]s, one a subject; [`decide::follow`] says what becomes of each alert
//! from its reading, where it stood, and the instant; people take an [`AlertStep`]. An alert is raised by one mark and
//! resolved by a lower one, after its cause was gone for a while, so that nothing flaps.

mod acting;
mod decide;
pub(crate) mod measure;
mod watch;

use granary_foundation::Event;
use granary_types::{AlertId, AlertKind, AlertSeverity, AlertState, CustomerCode, CustomerId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use acting::{AlertFilter, AlertPlace, AlertStep, AlertTotals, ListedAlert, MAX_SNOOZE_DAYS, act_on_alert, count_alerts, list_alerts};
pub use watch::{LimitUse, WatchReport, bring_forward, limit_use, note_api_use, watch_customer, watch_msp};

/// Something at a customer that needs somebody. At most one of a kind and subject is not resolved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    pub id: AlertId,
    pub customer_id: CustomerId,
    pub kind: AlertKind,
    /// The id of a machine or repository, a source, or the name of a limit.
    pub subject: String,
    /// What people call the subject.
    pub name: String,
    pub severity: AlertSeverity,
    pub state: AlertState,
    /// What was found, with its figures.
    pub words: String,
    pub raised_at: Timestamp,
    /// Of the last step: when, who, why.
    pub changed_at: Timestamp,
    pub changed_by: String,
    pub reason: Option<String>,
    pub snoozed_until: Option<Timestamp>,
    /// Since when its cause is gone.
    pub clear_since: Option<Timestamp>,
    pub resolved_at: Option<Timestamp>,
    /// Resolved by hand while its cause goes on: not raised again before.
    pub muted_until: Option<Timestamp>,
}

impl Alert {
    /// Takes a step, by whom and why.
    fn step(&mut self, state: AlertState, now: Timestamp, by: &str, reason: Option<&str>) {
        self.state = state;
        (self.changed_at, self.changed_by, self.reason) = (now, by.to_owned(), reason.map(str::to_owned));
        self.snoozed_until = None;
        self.resolved_at = (state == AlertState::Resolved).then_some(now);
    }
}

macro_rules! alert_events {
    ($($(#[$doc:meta])* $name:ident = $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            pub alert_id: AlertId,
            pub customer_id: CustomerId,
            pub code: CustomerCode,
            pub kind: AlertKind,
            pub severity: AlertSeverity,
            pub name: String,
            pub words: String,
            /// Who made it so; the house itself, when nobody did.
            pub by: String,
            pub reason: Option<String>,
        }

        impl Event for $name {
            const KIND: &'static str = $kind;
        }

        impl $name {
            fn of(alert: &Alert, code: &CustomerCode) -> Self {
                let Alert { id, customer_id, kind, severity, name, words, changed_by, reason, .. } = alert.clone();
                Self { alert_id: id, customer_id, code: code.clone(), kind, severity, name, words, by: changed_by, reason }
            }
        }
    )*};
}

alert_events! {
    /// Something needs somebody.
    AlertRaised = "metering.alert_raised";
    /// An alert became more urgent, or somebody handed it on.
    AlertEscalated = "metering.alert_escalated";
    /// An alert is over.
    AlertResolved = "metering.alert_resolved";
}
