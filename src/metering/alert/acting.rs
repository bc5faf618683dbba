//! What people see of alerts, and the steps that they take.

use std::fmt;
use std::str::FromStr;

use granary_foundation::Boxed;
use granary_tenants::{Granted, MspTx, note};
use granary_types::{AlertId, AlertSeverity, AlertState, CustomerCode, CustomerId, LONGEST_REASON, is_printable};
use jiff::{Timestamp, ToSpan};
use serde::Serialize;
use serde_json::json;

use super::decide::MUTED_FOR;
use super::{Alert, AlertEscalated, AlertResolved};
use crate::error::MeteringError;
use crate::store::alerts as store;

/// For how many days an alert can be put to rest at most.
pub const MAX_SNOOZE_DAYS: i64 = 30;

/// An alert with its customer's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListedAlert {
    #[serde(flatten)]
    pub alert: Alert,
    pub customer_code: CustomerCode,
    pub customer_name: String,
}

/// Which alerts are wanted.
#[derive(Debug, Clone)]
pub struct AlertFilter {
    pub severity: Option<AlertSeverity>,
    pub states: Vec<AlertState>,
    pub id: Option<AlertId>,
    /// Those that follow one.
    pub after: Option<AlertPlace>,
}

impl Default for AlertFilter {
    /// Everything that is not resolved.
    fn default() -> Self {
        Self { severity: None, states: store::LIVE.to_vec(), id: None, after: None }
    }
}

/// The place of an alert in the list: the most urgent first, and of those the latest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertPlace {
    pub(crate) severity: AlertSeverity,
    pub(crate) raised_at: Timestamp,
    pub(crate) id: AlertId,
}

impl AlertPlace {
    /// Returns where an alert stands.
    pub const fn of(alert: &Alert) -> Self {
        Self { severity: alert.severity, raised_at: alert.raised_at, id: alert.id }
    }
}

impl fmt::Display for AlertPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.severity, self.raised_at.as_microsecond(), self.id)
    }
}

impl FromStr for AlertPlace {
    type Err = MeteringError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.splitn(3, '-');
            let severity = parts.next()?.parse().ok()?;
            let raised_at = Timestamp::from_microsecond(parts.next()?.parse().ok()?).ok()?;
            Some(Self { severity, raised_at, id: parts.next()?.parse().ok()? })
        };
        read().ok_or(MeteringError::InvalidAlert("a cursor is what 'next' of the page before said"))
    }
}

/// What somebody does about an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertStep {
    /// Takes it.
    Acknowledge,
    /// Puts it to rest until an instant.
    Snooze(Timestamp),
    /// Hands it on.
    Escalate,
    /// Declares it over; while its cause goes on it rests for a day.
    Resolve,
}

impl AlertStep {
    /// Returns the verb.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Acknowledge => "acknowledge",
            Self::Snooze(_) => "snooze",
            Self::Escalate => "escalate",
            Self::Resolve => "resolve",
        }
    }

    /// Returns where the step leads from a state; none where it leads nowhere. A resolved alert stays so, and nobody takes an alert
    /// twice.
    pub const fn from(self, state: AlertState) -> Option<AlertState> {
        match (state, self) {
            (AlertState::Resolved, _) | (AlertState::Acknowledged, Self::Acknowledge) | (AlertState::Escalated, Self::Escalate) => None,
            (_, Self::Acknowledge) => Some(AlertState::Acknowledged),
            (_, Self::Snooze(_)) => Some(AlertState::Snoozed),
            (_, Self::Escalate) => Some(AlertState::Escalated),
            (_, Self::Resolve) => Some(AlertState::Resolved),
        }
    }
}

/// How many alerts nobody has taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct AlertTotals {
    pub critical: i64,
    pub warning: i64,
    pub info: i64,
}

fn ids(granted: &Granted) -> Option<Vec<CustomerId>> {
    match granted {
        Granted::All => None,
        Granted::Only(ids) => Some(ids.iter().copied().collect()),
    }
}

/// Lists alerts of the granted customers, the most urgent first, at most `limit`.
///
/// # Errors
/// When Postgres refuses.
pub fn list_alerts<'a>(
    tx: &'a MspTx,
    granted: &'a Granted,
    filter: &'a AlertFilter,
    limit: u16,
) -> Boxed<'a, Result<Vec<ListedAlert>, MeteringError>> {
    Box::pin(async move { store::list(tx, ids(granted).as_deref(), filter, limit.into()).await })
}

/// Counts the alerts of the granted customers that nobody has taken.
///
/// # Errors
/// When Postgres refuses.
pub fn count_alerts<'a>(tx: &'a MspTx, granted: &'a Granted) -> Boxed<'a, Result<AlertTotals, MeteringError>> {
    Box::pin(async move {
        let mut totals = AlertTotals::default();
        for (severity, count) in store::count(tx, ids(granted).as_deref()).await? {
            match severity {
                AlertSeverity::Critical => totals.critical = count,
                AlertSeverity::Warning => totals.warning = count,
                AlertSeverity::Info => totals.info = count,
            }
        }
        Ok(totals)
    })
}

/// Takes a step with an alert of a granted customer, writes it into the audit log, and tells the world of what it should know.
///
/// # Errors
/// When there is no such alert, the step leads nowhere from where it stands, there is no reason where one is needed, or the rest is too
/// long.
pub fn act_on_alert<'a>(
    tx: &'a MspTx,
    granted: &'a Granted,
    id: AlertId,
    step: AlertStep,
    reason: &'a str,
) -> Boxed<'a, Result<ListedAlert, MeteringError>> {
    Box::pin(async move {
        let reason = Some(reason.trim()).filter(|reason| !reason.is_empty());
        check(step, reason, tx.now())?;
        store::lock(tx, id).await?;
        let filter = AlertFilter { states: AlertState::ALL.to_vec(), id: Some(id), ..AlertFilter::default() };
        let found = store::list(tx, ids(granted).as_deref(), &filter, 1).await?.pop();
        let mut listed = found.ok_or(MeteringError::UnknownAlert(id))?;
        let alert = &mut listed.alert;
        let before = alert.state;
        let state = step.from(before).ok_or(MeteringError::AlertStep { step: step.as_str(), state: before })?;
        alert.step(state, tx.now(), &tx.actor().to_string(), reason);
        if let AlertStep::Snooze(until) = step {
            alert.snoozed_until = Some(until);
        }
        if step == AlertStep::Resolve {
            alert.muted_until = tx.now().checked_add(MUTED_FOR).ok().filter(|_| alert.clear_since.is_none());
        }
        store::update(tx, alert).await?;
        // What rests ends to the minute.
        store::bring_forward(tx, alert.customer_id, alert.snoozed_until.unwrap_or(Timestamp::MAX)).await?;
        let detail = json!({"kind": alert.kind, "name": alert.name, "from": before, "until": alert.snoozed_until, "reason": reason});
        note(tx, Some(alert.customer_id), &format!("alert.{}", step.as_str()), &format!("alert:{id}"), &detail).await?;
        match step {
            AlertStep::Escalate => tx.emit(&AlertEscalated::of(alert, &listed.customer_code)).await?,
            AlertStep::Resolve => tx.emit(&AlertResolved::of(alert, &listed.customer_code)).await?,
            AlertStep::Acknowledge | AlertStep::Snooze(_) => {}
        }
        Ok(listed)
    })
}

fn check(step: AlertStep, reason: Option<&str>, now: Timestamp) -> Result<(), MeteringError> {
    if reason.is_some_and(|reason| !is_printable(reason, LONGEST_REASON)) {
        return Err(MeteringError::InvalidAlert("a reason has at most 500 characters, none of them a control character"));
    }
    if reason.is_none() && step != AlertStep::Acknowledge {
        return Err(MeteringError::InvalidAlert("say why: this step needs a reason"));
    }
    let AlertStep::Snooze(until) = step else { return Ok(()) };
    let latest = now.checked_add((24 * MAX_SNOOZE_DAYS).hours()).unwrap_or(Timestamp::MAX);
    if until <= now || until > latest {
        return Err(MeteringError::InvalidAlert("an alert rests until an instant within the next 30 days"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_leads_somewhere_but_from_the_end() {
        let steps = [AlertStep::Acknowledge, AlertStep::Snooze(Timestamp::MAX), AlertStep::Escalate, AlertStep::Resolve];
        for step in steps {
            assert_eq!(step.from(AlertState::Resolved), None, "{}", step.as_str());
            assert!(step.from(AlertState::Open).is_some(), "{}", step.as_str());
            assert!(AlertState::ALL.iter().filter_map(|state| step.from(*state)).all(|state| state != AlertState::Open));
        }
        assert_eq!(AlertStep::Acknowledge.from(AlertState::Escalated), Some(AlertState::Acknowledged));
        assert_eq!(AlertStep::Acknowledge.from(AlertState::Acknowledged), None);
    }

    #[test]
    fn a_place_is_read_as_it_was_written() {
        let place = AlertPlace {
            severity: AlertSeverity::Critical,
            raised_at: Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(),
            id: AlertId::new(),
        };
        assert_eq!(place.to_string().parse::<AlertPlace>().unwrap(), place);
        for wrong in ["", "critical", "critical-1", "loud-1-019a0000-0000-7000-8000-000000000001", "critical-x-y"] {
            assert!(wrong.parse::<AlertPlace>().is_err(), "{wrong}");
        }
    }
}
