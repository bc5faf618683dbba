//! Usage events for a server under test, and the truth to compare its counts with.
//!
//! An event follows from seed, customer and number alone, so that whoever sends it again sends the same, and what a set of
//! events comes to is known without asking anybody.

use std::collections::BTreeSet;
use std::fmt::Write;

use rand::Rng;
use rand::seq::SliceRandom;
use serde::Serialize;

use crate::delivery::At;
use crate::random::{Draw, Purpose, stream};

/// Machines of a customer; its first events say that they are protected.
const MACHINES: u64 = 20;
/// 2026-01-01T00:00:00Z; everything happens in the four weeks that follow.
const BEGINNING: i64 = 1_767_225_600;
const SPAN: u64 = 28 * 86_400;
const GIB: i64 = 1 << 30;

/// The usage events of one customer, by number.
#[derive(Debug, Clone)]
pub struct Traffic {
    seed: u64,
    customer: u64,
    source: String,
}

/// What a set of events comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Truth {
    pub events: i64,
    pub machines_protected: i64,
    pub runs_completed: i64,
    pub runs_failed: i64,
    pub transferred_bytes: i64,
}

/// What an event says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Saying {
    Protected,
    /// The first attempt of a run; the next event is its second, which completes it.
    FailedAtFirst,
    Retried,
    Failed,
    Sampled,
    Completed,
}

impl Saying {
    const fn of(number: u64) -> Self {
        match number.checked_sub(MACHINES) {
            None => Self::Protected,
            Some(number) => match number % 10 {
                0 => Self::FailedAtFirst,
                1 => Self::Retried,
                2 => Self::Failed,
                3 => Self::Sampled,
                _ => Self::Completed,
            },
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Disk {
    size_bytes: i64,
    transferred_bytes: i64,
    is_completed: bool,
}

impl Traffic {
    /// Returns the events of a customer under the name of a source.
    pub fn new(seed: u64, customer: u64, source: impl Into<String>) -> Self {
        Self { seed, customer, source: source.into() }
    }

    /// Returns an event as JSON.
    pub fn event(&self, number: u64) -> String {
        self.envelope(number, at(number), &self.data(number))
    }

    /// Returns the numbers of the first events, each so many times, in random order.
    pub fn repeated(&self, events: u64, times: usize) -> Vec<u64> {
        let mut numbers: Vec<u64> = std::iter::repeat_n(0..events, times).flatten().collect();
        numbers.shuffle(&mut stream(self.seed, self.customer, Purpose::Traffic));
        numbers
    }

    /// Returns what has an event's name and fits no type.
    pub fn misfit(&self, number: u64) -> String {
        self.envelope(number, at(number), "")
    }

    /// Returns another event under the same name.
    pub fn contradiction(&self, number: u64) -> String {
        self.envelope(number, at(number) + 1, &self.data(number))
    }

    /// Returns what a set of events comes to.
    pub fn truth(&self, numbers: &BTreeSet<u64>) -> Truth {
        let mut truth = Truth::default();
        for &number in numbers {
            truth.events += 1;
            match Saying::of(number) {
                Saying::Protected => truth.machines_protected += 1,
                Saying::FailedAtFirst if numbers.contains(&(number + 1)) => {}
                Saying::FailedAtFirst | Saying::Failed => truth.runs_failed += 1,
                Saying::Sampled => {}
                Saying::Retried | Saying::Completed => {
                    truth.runs_completed += 1;
                    let completed = self.disks(number).into_iter().filter(|disk| disk.is_completed);
                    truth.transferred_bytes += completed.map(|disk| disk.transferred_bytes).sum::<i64>();
                }
            }
        }
        truth
    }

    fn envelope(&self, number: u64, at: i64, data: &str) -> String {
        let kind = match Saying::of(number) {
            Saying::Protected => "machine.protected",
            Saying::FailedAtFirst | Saying::Failed => "backup.failed",
            Saying::Retried | Saying::Completed => "backup.completed",
            Saying::Sampled => "repository.sampled",
        };
        format!(
            r#"{{"specversion":"1.0","id":"{}-{number}","source":"{}","type":"{kind}","time":"{}","data":{{{data}}}}}"#,
            self.seed,
            self.source,
            At(at)
        )
    }

    fn data(&self, number: u64) -> String {
        let machine = format!(r#""source_system":"simulated","vendor_id":"vm-{}""#, number % MACHINES);
        let run = |first: u64, attempt: u64| {
            format!(
                r#""run_id":"run-{first}","machine":{{{machine}}},"kind":"incremental","attempt":{attempt},"started_at":"{}","ended_at":"{}""#,
                At(at(first) - 600),
                At(at(number)),
            )
        };
        match Saying::of(number) {
            Saying::Protected => format!(r#"{machine},"name":"VM-{number:02}","tier":"backup","from":"2026-01-01","runs_per_day":1"#),
            Saying::FailedAtFirst | Saying::Failed => format!(r#"{},"error":"the snapshot was lost""#, run(number, 1)),
            Saying::Retried => self.with_disks(number, run(number - 1, 2)),
            Saying::Completed => self.with_disks(number, run(number, 1)),
            Saying::Sampled => format!(
                r#""repository":{{"vendor_id":"repo","name":"Repository","kind":"disk"}},"used_bytes":{},"sampled_at":"{}""#,
                GIB * 100 + i64::try_from(number % 100).unwrap_or(0) * GIB,
                At(at(number))
            ),
        }
    }

    fn with_disks(&self, number: u64, mut data: String) -> String {
        data.push_str(r#","has_warning":false,"disks":["#);
        for (index, disk) in self.disks(number).into_iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let Disk { size_bytes, transferred_bytes, is_completed } = disk;
            let state = if is_completed { "completed" } else { "failed" };
            // Writing to a text does not fail.
            let _ = write!(
                data,
                r#"{comma}{{"index":{index},"size_bytes":{size_bytes},"transferred_bytes":{transferred_bytes},"state":"{state}"}}"#
            );
        }
        data.push(']');
        data
    }

    /// One to three disks; some but the first did not make it, and their bytes do not count.
    fn disks(&self, number: u64) -> Vec<Disk> {
        let mut rng = stream(self.seed, (self.customer << 40) | number, Purpose::Traffic);
        (0..rng.random_range(1..=3))
            .map(|index| {
                let size_bytes = rng.random_range(10..200) * GIB;
                Disk { size_bytes, transferred_bytes: rng.random_range(1..size_bytes / 8), is_completed: index == 0 || !rng.chance(0.1) }
            })
            .collect()
    }
}

/// When an event happened. A run and its retry are a minute apart.
fn at(number: u64) -> i64 {
    BEGINNING + 3_600 + i64::try_from((number * 60) % SPAN).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn an_event_is_the_same_whenever_it_is_asked_for_and_differs_from_what_contradicts_it() {
        let traffic = Traffic::new(7, 1, "sim");
        for number in [0, 19, 20, 21, 22, 23, 24, 999_999] {
            let event: Value = serde_json::from_str(&traffic.event(number)).unwrap();
            assert_eq!(traffic.event(number), Traffic::new(7, 1, "sim").event(number));
            for other in [traffic.misfit(number), traffic.contradiction(number)] {
                let other: Value = serde_json::from_str(&other).unwrap();
                assert_eq!((&event["id"], &event["source"]), (&other["id"], &other["source"]));
                assert_ne!(event, other);
            }
        }
        assert_ne!(traffic.event(24), Traffic::new(8, 1, "sim").event(24));
    }

    #[test]
    fn the_truth_is_what_the_events_say() {
        let traffic = Traffic::new(7, 2, "sim");
        let all: BTreeSet<u64> = (0..520).collect();
        let truth = traffic.truth(&all);
        let said = |number: u64| serde_json::from_str::<Value>(&traffic.event(number)).unwrap();
        let bytes: i64 = all
            .iter()
            .flat_map(|number| said(*number)["data"]["disks"].as_array().cloned().unwrap_or_default())
            .filter(|disk| disk["state"] == "completed")
            .map(|disk| disk["transferred_bytes"].as_i64().unwrap())
            .sum();
        let expected = Truth { events: 520, machines_protected: 20, runs_completed: 350, runs_failed: 50, transferred_bytes: bytes };
        assert_eq!(truth, expected);
        let without_the_retry: BTreeSet<u64> = all.iter().copied().filter(|number| *number != 21).collect();
        let less = traffic.truth(&without_the_retry);
        assert_eq!((less.runs_completed, less.runs_failed), (349, 51));
    }
}
