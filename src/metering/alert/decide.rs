//! What becomes of an alert: a function of its reading, of where it stood, and of the instant.

use granary_types::{AlertId, AlertSeverity, AlertState, CustomerId};
use jiff::{SignedDuration, Timestamp};

use super::Alert;
use super::measure::Reading;

/// Who takes the steps that nobody takes by hand.
pub(crate) const HOUSE: &str = "system:alerts";
/// How long a cause must be gone before its alert is resolved.
pub(crate) const CLEAR_FOR: SignedDuration = SignedDuration::from_mins(15);
/// How long an alert that was resolved by hand is not raised again while its cause goes on.
pub(crate) const MUTED_FOR: SignedDuration = SignedDuration::from_hours(24);

/// What the world is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum News {
    Raised,
    /// It became more urgent.
    Worsened,
    Resolved,
    /// Nothing that anybody would be told: other figures, less urgent, awake again.
    Quiet,
}

/// Follows a subject: returns the alert as it is from now on and what is told of it, or nothing where nothing changes.
///
/// `previous` is the alert that is not resolved, else the last one that is muted; `id` is for a new one. `raised` of a reading is what
/// its figures call for, `held` what they keep up: the same or more, because of the margin. No reading means that the cause is gone.
pub(crate) fn follow(
    previous: Option<&Alert>,
    reading: Option<&Reading>,
    now: Timestamp,
    (customer, id): (CustomerId, AlertId),
) -> Option<(Alert, News)> {
    // In agreed maintenance nothing is wanted.
    let wanted = reading.filter(|reading| !reading.is_quiet).and_then(|reading| Some((reading, reading.raised?)));
    let raise = || wanted.map(|(reading, severity)| (raised(reading, severity, now, (customer, id)), News::Raised));
    let Some(previous) = previous else { return raise() };
    let held = reading.and_then(|reading| reading.held);
    if previous.state == AlertState::Resolved {
        let is_muted = previous.muted_until.is_some_and(|until| now < until);
        let is_worse = wanted.is_some_and(|(_, severity)| severity > previous.severity);
        if is_muted && held.is_none() {
            return Some((Alert { muted_until: None, ..previous.clone() }, News::Quiet));
        }
        return if is_muted && !is_worse { None } else { raise() };
    }
    let mut alert = previous.clone();
    let news = match reading.zip(held) {
        None => clear(&mut alert, now),
        Some((reading, held)) => hold(&mut alert, reading, held, wanted.map(|(_, severity)| severity), now),
    };
    (alert != *previous).then_some((alert, news))
}

fn raised(reading: &Reading, severity: AlertSeverity, now: Timestamp, (customer_id, id): (CustomerId, AlertId)) -> Alert {
    Alert {
        id,
        customer_id,
        kind: reading.kind,
        subject: reading.subject.clone(),
        name: reading.name.clone(),
        severity,
        state: AlertState::Open,
        words: reading.words.clone(),
        raised_at: now,
        changed_at: now,
        changed_by: HOUSE.to_owned(),
        reason: None,
        snoozed_until: None,
        clear_since: None,
        resolved_at: None,
        muted_until: None,
    }
}

/// The cause is gone: the alert is over when that has lasted.
fn clear(alert: &mut Alert, now: Timestamp) -> News {
    match alert.clear_since {
        None => alert.clear_since = Some(now),
        Some(since) if now.duration_since(since) >= CLEAR_FOR => {
            alert.step(AlertState::Resolved, now, HOUSE, Some("the cause is gone"));
            return News::Resolved;
        }
        Some(_) => {}
    }
    News::Quiet
}

/// The cause goes on, as urgent as it was, more or less.
fn hold(alert: &mut Alert, reading: &Reading, held: AlertSeverity, wanted: Option<AlertSeverity>, now: Timestamp) -> News {
    alert.clear_since = None;
    (alert.words, alert.name) = (reading.words.clone(), reading.name.clone());
    let worse = wanted.filter(|severity| *severity > alert.severity);
    if let Some(severity) = worse {
        alert.severity = severity;
        // Whoever took or silenced it did so for less.
        if matches!(alert.state, AlertState::Acknowledged | AlertState::Snoozed) {
            alert.step(AlertState::Open, now, HOUSE, Some("it became more urgent"));
        }
    } else if held < alert.severity {
        alert.severity = held;
    }
    if alert.state == AlertState::Snoozed && alert.snoozed_until.is_some_and(|until| until <= now) {
        alert.step(AlertState::Open, now, HOUSE, Some("the time of rest is over"));
    }
    if worse.is_some() { News::Worsened } else { News::Quiet }
}

/// Returns when time alone may change an alert: its rest ends, its cause has been gone for long enough, or it may be raised again.
pub(crate) fn turns_at(alert: &Alert) -> Option<Timestamp> {
    let cleared = alert.clear_since.filter(|_| alert.state != AlertState::Resolved).and_then(|since| since.checked_add(CLEAR_FOR).ok());
    [cleared, alert.snoozed_until, alert.muted_until].into_iter().flatten().min()
}

#[cfg(test)]
mod tests {
    use granary_types::AlertKind;
    use proptest::prelude::*;

    use super::*;

    fn reading(raised: Option<AlertSeverity>, held: Option<AlertSeverity>, is_quiet: bool) -> Reading {
        Reading {
            kind: AlertKind::LimitStorage,
            subject: "storage_gb".to_owned(),
            name: "storage".to_owned(),
            raised,
            held: held.max(raised),
            words: format!("{raised:?} {held:?}"),
            is_quiet,
        }
    }

    /// What a subject goes through: a reading, minutes later, and perhaps a step by hand.
    #[derive(Debug, Clone)]
    struct Moment {
        reading: Option<Reading>,
        minutes: i64,
        by_hand: Option<AlertState>,
    }

    fn severity() -> impl Strategy<Value = Option<AlertSeverity>> {
        prop_oneof![Just(None), prop::sample::select(AlertSeverity::ALL).prop_map(Some)]
    }

    fn moments() -> impl Strategy<Value = Vec<Moment>> {
        let readings =
            prop::option::of((severity(), severity(), any::<bool>()).prop_map(|(raised, held, quiet)| reading(raised, held, quiet)));
        let by_hand = prop::option::weighted(0.2, prop::sample::select(AlertState::ALL));
        let moment = (readings, 0_i64..400, by_hand).prop_map(|(reading, minutes, by_hand)| Moment { reading, minutes, by_hand });
        prop::collection::vec(moment, 1..40)
    }

    fn start() -> Timestamp {
        "2025-11-10T12:00:00Z".parse().unwrap()
    }

    /// All alerts of one subject, as the table keeps them.
    #[derive(Default, Clone)]
    struct Table(Vec<Alert>);

    impl Table {
        fn latest(&self) -> Option<&Alert> {
            let open = self.0.iter().find(|alert| alert.state != AlertState::Resolved);
            open.or_else(|| self.0.iter().find(|alert| alert.muted_until.is_some()))
        }

        fn see(&mut self, reading: Option<&Reading>, now: Timestamp) -> Option<News> {
            let (alert, news) = follow(self.latest(), reading, now, (CustomerId::new(), AlertId::new()))?;
            match self.0.iter_mut().find(|known| known.id == alert.id) {
                Some(known) => *known = alert,
                None => {
                    self.0.iter_mut().for_each(|known| known.muted_until = None);
                    self.0.push(alert);
                }
            }
            Some(news)
        }

        fn take(&mut self, state: AlertState, now: Timestamp) {
            if let Some(alert) = self.0.iter_mut().find(|alert| alert.state != AlertState::Resolved) {
                alert.step(state, now, "user", None);
                alert.snoozed_until = (state == AlertState::Snoozed).then(|| now + SignedDuration::from_hours(1));
                alert.muted_until = (state == AlertState::Resolved).then(|| now + MUTED_FOR);
            }
        }

        fn open(&self) -> Vec<&Alert> {
            self.0.iter().filter(|alert| alert.state != AlertState::Resolved).collect()
        }
    }

    proptest! {
        #[test]
        fn there_are_never_two_open_and_a_second_look_changes_nothing(moments in moments()) {
            let (mut table, mut now) = (Table::default(), start());
            for moment in moments {
                now += SignedDuration::from_mins(moment.minutes);
                let had_open = !table.open().is_empty();
                let news = table.see(moment.reading.as_ref(), now);
                prop_assert!(table.open().len() <= 1);
                prop_assert!(!(had_open && news == Some(News::Raised)));
                prop_assert_eq!(table.see(moment.reading.as_ref(), now), None);
                if let Some(state) = moment.by_hand {
                    table.take(state, now);
                }
                for alert in &table.0 {
                    prop_assert_eq!(alert.state == AlertState::Resolved, alert.resolved_at.is_some());
                    prop_assert_eq!(alert.state == AlertState::Snoozed, alert.snoozed_until.is_some());
                }
            }
        }

        #[test]
        fn in_quiet_nothing_is_raised_and_nothing_worsens(moments in moments()) {
            let (mut table, mut now) = (Table::default(), start());
            for moment in moments {
                now += SignedDuration::from_mins(moment.minutes);
                let quiet = moment.reading.map(|reading| Reading { is_quiet: true, ..reading });
                prop_assert!(!matches!(table.see(quiet.as_ref(), now), Some(News::Raised | News::Worsened)));
            }
            prop_assert!(table.0.is_empty());
        }

        #[test]
        fn what_swings_between_the_marks_is_told_once(swings in prop::collection::vec((any::<bool>(), 0_i64..400), 1..60)) {
            let high = reading(Some(AlertSeverity::Warning), Some(AlertSeverity::Warning), false);
            let between = reading(None, Some(AlertSeverity::Warning), false);
            let (mut table, mut now, mut told) = (Table::default(), start(), 0);
            for (is_high, minutes) in swings {
                now += SignedDuration::from_mins(minutes);
                told += usize::from(matches!(table.see(Some(if is_high { &high } else { &between }), now), Some(News::Raised | News::Resolved | News::Worsened)));
            }
            prop_assert!(told <= 1);
        }

        #[test]
        fn worse_figures_never_make_it_less_urgent(
            moments in moments(),
            one in prop::sample::select(AlertSeverity::ALL),
            other in prop::sample::select(AlertSeverity::ALL),
        ) {
            let (mut table, mut now) = (Table::default(), start());
            for moment in moments {
                now += SignedDuration::from_mins(moment.minutes);
                table.see(moment.reading.as_ref(), now);
            }
            let after = |severity| {
                let mut table = table.clone();
                table.see(Some(&reading(Some(severity), None, false)), now);
                table.open().first().map(|alert| alert.severity)
            };
            prop_assert!(after(one.min(other)) <= after(one.max(other)));
        }
    }

    #[test]
    fn a_cause_must_be_gone_for_a_while() {
        let high = reading(Some(AlertSeverity::Warning), None, false);
        let mut table = Table::default();
        let at = |minutes| start() + SignedDuration::from_mins(minutes);
        assert_eq!(table.see(Some(&high), at(0)), Some(News::Raised));
        assert_eq!(table.see(None, at(5)), Some(News::Quiet));
        assert_eq!(table.see(Some(&high), at(15)), Some(News::Quiet), "it came back");
        assert_eq!(table.see(None, at(20)), Some(News::Quiet));
        assert_eq!(table.see(None, at(34)), None);
        assert_eq!(table.see(None, at(35)), Some(News::Resolved));
        assert_eq!(table.see(Some(&high), at(36)), Some(News::Raised), "another alert");
        assert_eq!(table.0.len(), 2);
    }

    #[test]
    fn what_was_resolved_by_hand_rests_for_a_day_unless_it_is_gone_or_worse() {
        let (low, high) = (reading(Some(AlertSeverity::Warning), None, false), reading(Some(AlertSeverity::Critical), None, false));
        let at = |hours| start() + SignedDuration::from_hours(hours);
        let resolved = || {
            let mut table = Table::default();
            table.see(Some(&low), at(0));
            table.take(AlertState::Resolved, at(1));
            table
        };
        let mut table = resolved();
        assert_eq!(table.see(Some(&low), at(24)), None);
        assert_eq!(table.see(Some(&low), at(25)), Some(News::Raised));
        let mut table = resolved();
        assert_eq!(table.see(Some(&high), at(2)), Some(News::Raised));
        let mut table = resolved();
        assert_eq!(table.see(None, at(2)), Some(News::Quiet));
        assert_eq!(table.see(Some(&low), at(3)), Some(News::Raised));
    }

    #[test]
    fn a_sleeper_wakes_in_time_or_when_it_gets_worse() {
        let (low, high) = (reading(Some(AlertSeverity::Warning), None, false), reading(Some(AlertSeverity::Critical), None, false));
        let at = |minutes| start() + SignedDuration::from_mins(minutes);
        let mut table = Table::default();
        table.see(Some(&low), at(0));
        table.take(AlertState::Snoozed, at(0));
        assert_eq!(turns_at(table.open()[0]), Some(at(60)));
        assert_eq!(table.see(Some(&low), at(59)), None);
        assert_eq!(table.see(Some(&low), at(60)), Some(News::Quiet));
        assert_eq!(table.open()[0].state, AlertState::Open);
        table.take(AlertState::Snoozed, at(61));
        assert_eq!(table.see(Some(&high), at(62)), Some(News::Worsened));
        assert_eq!((table.open()[0].state, table.open()[0].severity), (AlertState::Open, AlertSeverity::Critical));
        table.take(AlertState::Escalated, at(63));
        assert_eq!(table.see(Some(&low), at(64)), Some(News::Quiet), "it is eased, and stays with whoever has it");
        assert_eq!((table.open()[0].state, table.open()[0].severity), (AlertState::Escalated, AlertSeverity::Warning));
    }
}
