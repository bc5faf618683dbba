//! What of the log counts: an event may be voided or amended by a later one of its source, which may come before it.
//!
//! The log is only added to. Whether a correction is in force does not depend on the order in which events came: of corrections that
//! correct one another the greater counts, by the events' own time and then their id, and a void takes the force of smaller ones only,
//! so that no circle can be without an answer. Of several corrections in force of one event the greatest decides.

use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use serde_json::Value;

use crate::error::MeteringError;
use crate::event::{ContentHash, Event};
use crate::fact::Fact;

/// An event as the log keeps it.
#[derive(Debug, Clone)]
pub(crate) struct Logged {
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) occurred_at: Timestamp,
    pub(crate) content_hash: ContentHash,
    pub(crate) data: Value,
}

impl Logged {
    /// Reads what it says; it was read before it was logged.
    pub(crate) fn fact(&self) -> Result<Fact<'_>, MeteringError> {
        Fact::read(&self.event_type, &self.data).map_err(|misfit| {
            MeteringError::Corrupt(format!("the logged event {} does not fit {}: {}", self.id, self.event_type, misfit.message))
        })
    }

    /// Whether it says something of another event.
    pub(crate) fn is_correction(&self) -> bool {
        self.event_type.starts_with("event.")
    }
}

/// An event as it counts: its own content, or what amends it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Counted<'a> {
    pub(crate) source: &'a str,
    pub(crate) occurred_at: Timestamp,
    pub(crate) content_hash: ContentHash,
    pub(crate) fact: Fact<'a>,
}

impl<'a> Counted<'a> {
    /// Returns an event as it says itself.
    pub(crate) fn of(event: &Event<'a>) -> Self {
        let Event { source, occurred_at, content_hash, .. } = *event;
        Self { source, occurred_at, content_hash, fact: event.fact.clone() }
    }
}

/// The corrections of some events, and the corrections of these, and so on.
#[derive(Debug, Default)]
pub(crate) struct Corrections {
    /// From the greatest to the smallest, each with whether it is in force.
    all: Vec<(Logged, bool)>,
    /// By source and id of the corrected event.
    by_event: HashMap<(String, String), Vec<usize>>,
}

impl Corrections {
    /// Decides which of them are in force.
    pub(crate) fn new(mut list: Vec<Logged>) -> Result<Self, MeteringError> {
        list.sort_by(|one, two| (two.occurred_at, &two.id).cmp(&(one.occurred_at, &one.id)));
        let mut decided = Self::default();
        let mut voided: HashSet<(String, String)> = HashSet::new();
        for correction in list {
            let (event, is_void) = match correction.fact()? {
                Fact::Voided { event } => (event.to_owned(), true),
                Fact::Amended(amendment) => (amendment.event.to_owned(), false),
                _ => continue,
            };
            let is_in_force = !voided.contains(&(correction.source.clone(), correction.id.clone()));
            let event = (correction.source.clone(), event);
            if is_in_force && is_void {
                voided.insert(event.clone());
            }
            decided.by_event.entry(event).or_default().push(decided.all.len());
            decided.all.push((correction, is_in_force));
        }
        Ok(decided)
    }

    /// Returns every correction of an event, in force or not.
    pub(crate) fn of<'c>(&'c self, source: &str, id: &str) -> impl Iterator<Item = &'c Logged> + use<'c> {
        self.indexes(source, id).iter().map(|index| &self.all[*index].0)
    }

    fn indexes(&self, source: &str, id: &str) -> &[usize] {
        if self.by_event.is_empty() {
            return &[];
        }
        self.by_event.get(&(source.to_owned(), id.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Returns the correction that decides what an event counts as; none when it counts as it stands.
    pub(crate) fn decisive(&self, source: &str, id: &str) -> Option<&Logged> {
        let (correction, _) = self.indexes(source, id).iter().map(|index| &self.all[*index]).find(|(_, is_in_force)| *is_in_force)?;
        Some(correction)
    }

    /// Returns what an event counts as; none when it is voided.
    pub(crate) fn counted<'a>(&'a self, id: &str, event: Counted<'a>) -> Result<Option<Counted<'a>>, MeteringError> {
        let Some(correction) = self.decisive(event.source, id) else { return Ok(Some(event)) };
        Ok(match correction.fact()? {
            Fact::Amended(amendment) => Some(Counted {
                source: event.source,
                occurred_at: amendment.occurred_at,
                content_hash: amendment.content_hash,
                fact: amendment.fact,
            }),
            _ => None,
        })
    }

    /// Returns what a logged event counts as; none when it is voided, or corrects others.
    pub(crate) fn counted_logged<'a>(&'a self, logged: &'a Logged) -> Result<Option<Counted<'a>>, MeteringError> {
        if logged.is_correction() {
            return Ok(None);
        }
        let (source, occurred_at, content_hash) = (logged.source.as_str(), logged.occurred_at, logged.content_hash);
        self.counted(&logged.id, Counted { source, occurred_at, content_hash, fact: logged.fact()? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn correction(id: &str, second: i64, event_type: &str, event: &str) -> Logged {
        let inner = json!({"day": "2025-10-01", "kind": "api_call", "amount": second});
        Logged {
            source: "cp".to_owned(),
            id: id.to_owned(),
            event_type: event_type.to_owned(),
            occurred_at: Timestamp::from_second(second).unwrap(),
            content_hash: [0; 32],
            data: json!({"event_id": event, "type": "activity.summary", "time": "2025-10-01T00:00:00Z", "data": inner}),
        }
    }

    /// What the event "e" counts as: nothing, itself (0), or the amount of its amendment.
    fn amount(list: Vec<Logged>) -> Option<i64> {
        let corrections = Corrections::new(list).unwrap();
        let fact = Fact::Activity { day: jiff::civil::date(2025, 10, 1), kind: "api_call", amount: 0 };
        let event = Counted { source: "cp", occurred_at: Timestamp::UNIX_EPOCH, content_hash: [0; 32], fact };
        let counted = corrections.counted("e", event).unwrap()?;
        if let Fact::Activity { amount, .. } = counted.fact { Some(amount) } else { None }
    }

    #[test]
    fn a_void_takes_an_event_out_and_a_void_of_the_void_puts_it_back() {
        let (void, amend) = ("event.voided", "event.amended");
        assert_eq!(amount(vec![]), Some(0));
        assert_eq!(amount(vec![correction("v", 1, void, "e")]), None);
        assert_eq!(amount(vec![correction("v", 1, void, "e"), correction("w", 2, void, "v")]), Some(0));
        assert_eq!(amount(vec![correction("v", 1, void, "e"), correction("w", 2, void, "v"), correction("x", 3, void, "w")]), None);
        // An amendment and a void of one event: the greater decides.
        assert_eq!(amount(vec![correction("a", 1, amend, "e"), correction("v", 2, void, "e")]), None);
        assert_eq!(amount(vec![correction("a", 3, amend, "e"), correction("v", 2, void, "e")]), Some(3));
        assert_eq!(amount(vec![correction("a", 3, amend, "e"), correction("b", 4, amend, "e")]), Some(4));
        assert_eq!(amount(vec![correction("a", 3, amend, "e"), correction("v", 4, void, "a")]), Some(0));
        // A void of something greater, of itself, or in a circle takes the force of what is smaller only.
        assert_eq!(amount(vec![correction("v", 5, void, "e"), correction("w", 2, void, "v")]), None);
        assert_eq!(amount(vec![correction("v", 5, void, "e"), correction("v", 5, void, "v")]), None);
        let circle = vec![correction("v", 1, void, "w"), correction("w", 2, void, "v"), correction("x", 1, void, "e")];
        assert_eq!(amount(circle), None);
    }

    proptest! {
        #[test]
        fn what_is_in_force_does_not_depend_on_the_order(
            list in proptest::collection::vec((0..5_i64, 0..3_usize, any::<bool>()), 0..8).prop_flat_map(|list| {
                let names = ["c0", "c1", "c2", "c3", "c4", "c5", "c6", "c7"];
                let made: Vec<Logged> = list.iter().enumerate().map(|(index, (second, target, is_void))| {
                    let event = if *target == 0 { "e" } else { names[(index + *target) % names.len()] };
                    correction(names[index], *second, if *is_void { "event.voided" } else { "event.amended" }, event)
                }).collect();
                (Just(made.clone()), Just(made).prop_shuffle())
            })
        ) {
            prop_assert_eq!(amount(list.0), amount(list.1));
        }
    }
}
