//! A backup run, derived from its attempts and disks.

use std::borrow::Cow;

use granary_types::RunState;
use jiff::Timestamp;

use crate::merge::Merge;

/// One attempt of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempt<'a> {
    pub(crate) kind: Cow<'a, str>,
    pub(crate) state: RunState,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) error: Option<Cow<'a, str>>,
    /// When the source said that it had told it wrongly before.
    pub(crate) corrected_at: Option<Timestamp>,
    pub(crate) gauge: Gauge<'a>,
}

/// How far an attempt is, and when it was due: gauges, which only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gauge<'a> {
    pub(crate) scheduled_at: Option<Timestamp>,
    pub(crate) progressed_at: Option<Timestamp>,
    pub(crate) phase: Option<Cow<'a, str>>,
    pub(crate) bytes: Option<i64>,
}

/// One disk of a run, as its best attempt left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Disk<'a> {
    pub(crate) attempt: i32,
    pub(crate) state: Cow<'a, str>,
    pub(crate) size_bytes: i64,
    pub(crate) transferred_bytes: i64,
    pub(crate) corrected_at: Option<Timestamp>,
}

/// What attempts and disks make of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Derived<'r> {
    pub(crate) kind: &'r str,
    pub(crate) state: RunState,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) error: Option<&'r str>,
    pub(crate) attempt_count: i32,
    pub(crate) transferred_bytes: i64,
    pub(crate) protected_bytes: i64,
    pub(crate) duration_ms: i64,
}

/// How much an attempt's state weighs: a success outlasts any failure, whichever is heard first.
const fn weight(state: RunState) -> u8 {
    match state {
        RunState::Completed | RunState::CompletedWithWarning => 4,
        RunState::Failed => 3,
        RunState::Cancelled => 2,
        RunState::Running => 1,
        RunState::Scheduled => 0,
    }
}

impl Merge for Attempt<'_> {
    /// Keeps the latest correction, then the weightier state, then the later end; the rest only breaks ties.
    fn merge(&mut self, mut other: Self) {
        let is_greater = {
            let order = |attempt: &Self| (attempt.corrected_at, weight(attempt.state), attempt.ended_at, attempt.started_at, attempt.state);
            (order(&other), &other.kind, &other.error) > (order(self), &self.kind, &self.error)
        };
        if is_greater {
            std::mem::swap(self, &mut other);
        }
        self.gauge.merge(other.gauge);
    }
}

impl Merge for Gauge<'_> {
    /// Keeps the earliest due time, the latest phase and the most bytes.
    fn merge(&mut self, other: Self) {
        self.scheduled_at = match (self.scheduled_at, other.scheduled_at) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        if (other.progressed_at, &other.phase) > (self.progressed_at, &self.phase) {
            (self.progressed_at, self.phase) = (other.progressed_at, other.phase);
        }
        self.bytes = self.bytes.max(other.bytes);
    }
}

impl Merge for Disk<'_> {
    /// Keeps the latest correction, then the completed disk, then that of the later attempt; the rest only breaks ties.
    fn merge(&mut self, other: Self) {
        let is_greater = {
            let order = |disk: &Self| (disk.corrected_at, disk.state == "completed", disk.attempt, disk.size_bytes, disk.transferred_bytes);
            (order(&other), &other.state) > (order(self), &self.state)
        };
        if is_greater {
            *self = other;
        }
    }
}

/// Derives a run: its first successful attempt decides, else the one that ended last. Bytes are those of completed disks.
pub(crate) fn derive<'r>(
    attempts: impl Iterator<Item = (i32, &'r Attempt<'r>)> + Clone,
    disks: impl Iterator<Item = &'r Disk<'r>>,
) -> Option<Derived<'r>> {
    let begun = attempts.clone().filter(|(_, attempt)| attempt.state != RunState::Scheduled);
    let heaviest = attempts.clone().map(|(_, attempt)| weight(attempt.state)).max()?;
    let weightiest = attempts.clone().filter(|(_, attempt)| weight(attempt.state) == heaviest);
    let (_, decisive) = if heaviest == weight(RunState::Completed) {
        weightiest.min_by_key(|(number, _)| *number)?
    } else {
        weightiest.max_by_key(|(number, attempt)| (attempt.ended_at, *number))?
    };
    let started_at = begun.clone().map(|(_, attempt)| attempt.started_at).min().unwrap_or(decisive.started_at);
    let (mut transferred_bytes, mut protected_bytes) = (0_i64, 0_i64);
    for disk in disks.filter(|disk| disk.state == "completed") {
        transferred_bytes = transferred_bytes.saturating_add(disk.transferred_bytes);
        protected_bytes = protected_bytes.saturating_add(disk.size_bytes);
    }
    Some(Derived {
        kind: &decisive.kind,
        state: decisive.state,
        started_at,
        ended_at: decisive.ended_at,
        error: decisive.error.as_deref(),
        attempt_count: i32::try_from(begun.count()).unwrap_or(i32::MAX),
        transferred_bytes,
        protected_bytes,
        duration_ms: decisive.ended_at.duration_since(started_at).as_millis().try_into().unwrap_or(0_i64).max(0),
    })
}

/// Tells whether a run says everything about its attempts: there is one, the first, and nothing but its outcome is known. Such an
/// attempt, which nearly every run has, is not stored beside its run.
pub(crate) fn says_everything<'r>(mut attempts: impl Iterator<Item = (i32, &'r Attempt<'r>)>) -> bool {
    let is_bare = |attempt: &Attempt<'_>| attempt.corrected_at.is_none() && attempt.gauge == Gauge::default();
    attempts.next().is_some_and(|(number, attempt)| number == 1 && is_bare(attempt)) && attempts.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn attempt(state: RunState, start: i64, end: i64) -> Attempt<'static> {
        let at = |second| Timestamp::from_second(1_760_000_000 + second).unwrap();
        let (error, corrected_at, gauge) = (None, None, Gauge::default());
        Attempt { kind: "full".into(), state, started_at: at(start), ended_at: at(end), error, corrected_at, gauge }
    }

    fn any_attempt() -> impl Strategy<Value = Attempt<'static>> {
        (0..RunState::ALL.len(), 0..4_i64, 0..4_i64, "[ab]?", 0..3_i64).prop_map(|(state, start, end, error, corrected)| {
            let error = Some(error).filter(|text| !text.is_empty()).map(Cow::Owned);
            let at = |second| Timestamp::from_second(second).ok().filter(|_| second > 0);
            let gauge =
                Gauge { progressed_at: at(start), phase: error.clone(), bytes: Some(end).filter(|end| *end > 1), scheduled_at: at(end) };
            Attempt { error, corrected_at: at(corrected), gauge, ..attempt(RunState::ALL[state], start, end) }
        })
    }

    #[test]
    fn a_retry_that_succeeds_completes_the_run_on_the_day_it_ends() {
        let (failed, completed) = (attempt(RunState::Failed, 0, 10), attempt(RunState::CompletedWithWarning, 60, 90));
        let derived = derive([(1, &failed), (2, &completed)].into_iter(), std::iter::empty()).unwrap();
        assert_eq!((derived.state, derived.attempt_count), (RunState::CompletedWithWarning, 2));
        assert_eq!((derived.started_at, derived.ended_at), (failed.started_at, completed.ended_at));
        assert_eq!(derived.duration_ms, 90_000);
    }

    #[test]
    fn a_failed_run_belongs_to_the_end_of_its_last_attempt() {
        let (first, second) = (attempt(RunState::Failed, 0, 10), attempt(RunState::Failed, 60, 70));
        let running = attempt(RunState::Running, 80, 80);
        let derived = derive([(2, &second), (1, &first), (3, &running)].into_iter(), std::iter::empty()).unwrap();
        assert_eq!((derived.state, derived.ended_at), (RunState::Failed, second.ended_at));
    }

    #[test]
    fn bytes_are_those_of_completed_disks() {
        let disk = |state: &'static str, size_bytes, transferred_bytes| Disk {
            attempt: 1,
            state: state.into(),
            size_bytes,
            transferred_bytes,
            corrected_at: None,
        };
        let completed = attempt(RunState::Completed, 0, 1);
        let disks = [disk("completed", 100, 7), disk("failed", 50, 5), disk("completed", 10, 1)];
        let derived = derive([(1, &completed)].into_iter(), disks.iter()).unwrap();
        assert_eq!((derived.transferred_bytes, derived.protected_bytes), (8, 110));
    }

    proptest! {
        #[test]
        fn attempts_merge_in_any_order(one in any_attempt(), two in any_attempt(), three in any_attempt()) {
            let merged = |list: &[&Attempt<'static>]| {
                let mut all = list.iter().map(|attempt| (*attempt).clone());
                let mut kept = all.next().unwrap();
                all.for_each(|attempt| kept.merge(attempt));
                kept
            };
            let kept = merged(&[&one, &two, &three]);
            prop_assert_eq!(&kept, &merged(&[&three, &one, &two]));
            prop_assert_eq!(&kept, &merged(&[&two, &two, &three, &one, &one]));
        }
    }
}
