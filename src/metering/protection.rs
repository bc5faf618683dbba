//! What all sayings about a machine make of it, whatever their order.

use std::collections::BTreeMap;

use granary_types::Tier;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use crate::event::ContentHash;
use crate::fact::MachineSaying;

/// One event about a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) occurred_at: Timestamp,
    pub(crate) content_hash: ContentHash,
    pub(crate) saying: Saying,
}

/// What it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Saying {
    Machine(MachineSaying),
    Replaced(Uuid),
}

/// A tier in force on `[from, to)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) tier: Tier,
    pub(crate) from: Date,
    pub(crate) to: Option<Date>,
    pub(crate) reason: &'static str,
}

/// A machine as its events tell it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MachineState {
    pub(crate) name: Option<String>,
    pub(crate) os: Option<String>,
    pub(crate) replaced_by: Option<Uuid>,
    pub(crate) protected_on: Option<Date>,
    pub(crate) unprotected_on: Option<Date>,
    pub(crate) runs_per_day: i32,
    pub(crate) assignments: Vec<Assignment>,
}

/// Derives a machine from everything that was ever said of it. The later saying wins, by the event's time and then its
/// hash; of several sayings for one day one counts, since a machine holds one tier a day.
pub(crate) fn derive(mut sayings: Vec<Said>) -> MachineState {
    sayings.sort_by_key(|said| (said.occurred_at, said.content_hash));
    let mut state = MachineState { runs_per_day: 1, ..MachineState::default() };
    // By day: the tier from then on and why, or none.
    let mut turns: BTreeMap<Date, Option<(Tier, &'static str)>> = BTreeMap::new();
    for said in sayings {
        match said.saying {
            Saying::Replaced(new) => state.replaced_by = Some(new),
            Saying::Machine(MachineSaying::Discovered { name, os }) => {
                state.name = Some(name);
                state.os = os.or(state.os);
            }
            Saying::Machine(MachineSaying::Protected { name, os, tier, from, runs_per_day }) => {
                state.name = Some(name);
                state.os = os.or(state.os);
                state.runs_per_day = runs_per_day.unwrap_or(state.runs_per_day);
                turns.insert(from, Some((tier, "protected")));
            }
            Saying::Machine(MachineSaying::TierChanged { tier, from }) => _ = turns.insert(from, Some((tier, "tier changed"))),
            Saying::Machine(MachineSaying::Unprotected { on }) => _ = turns.insert(on, None),
        }
    }
    state.assignments = assignments(&turns);
    state.protected_on = state.assignments.first().map(|first| first.from);
    state.unprotected_on = state.assignments.last().and_then(|last| last.to);
    state
}

fn assignments(turns: &BTreeMap<Date, Option<(Tier, &'static str)>>) -> Vec<Assignment> {
    let mut list: Vec<Assignment> = Vec::new();
    for (&day, &turn) in turns {
        let open = list.last_mut().filter(|last| last.to.is_none());
        if let Some(open) = open {
            if turn.is_some_and(|(tier, _)| tier == open.tier) {
                continue;
            }
            open.to = Some(day);
        }
        if let Some((tier, reason)) = turn {
            list.push(Assignment { tier, from: day, to: None, reason });
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn said(second: i64, saying: MachineSaying) -> Said {
        Said { occurred_at: Timestamp::from_second(second).unwrap(), content_hash: [0; 32], saying: Saying::Machine(saying) }
    }

    fn protected(tier: Tier, from: Date) -> MachineSaying {
        MachineSaying::Protected { name: "web-1".to_owned(), os: None, tier, from, runs_per_day: None }
    }

    #[test]
    fn tiers_follow_one_another_without_gap_or_overlap_in_any_order() {
        let mut sayings = vec![
            said(1, protected(Tier::Backup, date(2025, 1, 10))),
            said(2, MachineSaying::TierChanged { tier: Tier::Enterprise, from: date(2025, 3, 1) }),
            said(3, protected(Tier::Enterprise, date(2025, 3, 5))),
            said(4, MachineSaying::Unprotected { on: date(2025, 4, 1) }),
            said(5, protected(Tier::Replication, date(2025, 6, 1))),
        ];
        let state = derive(sayings.clone());
        let spans: Vec<_> = state.assignments.iter().map(|one| (one.tier, one.from, one.to)).collect();
        assert_eq!(
            spans,
            [
                (Tier::Backup, date(2025, 1, 10), Some(date(2025, 3, 1))),
                (Tier::Enterprise, date(2025, 3, 1), Some(date(2025, 4, 1))),
                (Tier::Replication, date(2025, 6, 1), None),
            ]
        );
        assert_eq!((state.protected_on, state.unprotected_on), (Some(date(2025, 1, 10)), None));
        sayings.reverse();
        assert_eq!(derive(sayings), state);
    }

    #[test]
    fn the_later_saying_for_a_day_counts() {
        let day = date(2025, 1, 10);
        let state = derive(vec![said(2, protected(Tier::Enterprise, day)), said(1, protected(Tier::Backup, day))]);
        assert_eq!(state.assignments.len(), 1);
        assert_eq!(state.assignments[0].tier, Tier::Enterprise);
        let state = derive(vec![said(2, MachineSaying::Unprotected { on: day }), said(1, protected(Tier::Backup, day))]);
        assert!(state.assignments.is_empty());
    }
}
