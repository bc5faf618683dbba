//! Batches of events on their way into a silo: counted, or only looked at.

use granary_metering::{IngestReport, Outcome};
use granary_tenants::{TenantScope, TenantTx};
use granary_types::Period;
use serde::Serialize;
use serde_json::Value;

use crate::cli::house::Rooms;
use crate::cli::progress::Reporter;
use crate::cli::{Failure, Usage};

/// Events of one transaction.
const BATCH: usize = 5_000;
/// Problems that are printed; the rest is counted.
const SHOWN_PROBLEMS: usize = 20;

/// What stands in a file.
pub(super) enum Found {
    Event(Value),
    /// A line that is no JSON, and what is wrong with it.
    Unreadable(String),
}

/// Whether events count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Count,
    /// Everything is done and undone, so that what is said is what would be.
    Rehearse,
}

impl From<bool> for Mode {
    fn from(is_dry_run: bool) -> Self {
        if is_dry_run { Self::Rehearse } else { Self::Count }
    }
}

/// Splits a file into events: a JSON array, one event, or one event a line. A line that is no JSON costs no other.
pub(super) fn cloudevents(content: &[u8]) -> Result<Vec<Found>, Usage> {
    let wrong = |error: serde_json::Error| Usage(format!("the file holds no CloudEvents: {error}"));
    // Some programs begin a file with a byte order mark, which JSON does not know.
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let lines = || content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines().next() else { return Err(Usage("the file holds no CloudEvents: it is empty".to_owned())) };
    if first.starts_with(b"[") {
        let events: Vec<Value> = serde_json::from_slice(content).map_err(wrong)?;
        return Ok(events.into_iter().map(Found::Event).collect());
    }
    if serde_json::from_slice::<Value>(first).is_err() {
        // One event over several lines, or several of them.
        let events = serde_json::Deserializer::from_slice(content).into_iter().map(|event| event.map(Found::Event).map_err(wrong));
        return events.collect();
    }
    let read = |line: &[u8]| serde_json::from_slice(line).map_or_else(|error| Found::Unreadable(error.to_string()), Found::Event);
    Ok(lines().map(read).collect())
}

/// What became of all events of a file.
#[derive(Debug, Default, Serialize)]
pub(super) struct Tally {
    pub(super) events: usize,
    pub(super) accepted: usize,
    pub(super) duplicate: usize,
    pub(super) conflict: usize,
    pub(super) invalid: usize,
    /// Nothing of it counts.
    pub(super) is_dry_run: bool,
    pub(super) problems: Vec<Problem>,
}

/// One event that does not count, by its place in the file, from 0.
#[derive(Debug, Serialize)]
pub(super) struct Problem {
    event: usize,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

impl Tally {
    /// Tells whether every event was fit to count.
    pub(super) const fn is_clean(&self) -> bool {
        self.invalid == 0
    }

    fn add(&mut self, positions: &[usize], report: IngestReport) {
        self.events += report.outcomes.len();
        self.accepted += report.accepted;
        self.duplicate += report.duplicates;
        self.conflict += report.conflicts;
        self.invalid += report.invalid;
        for (event, outcome) in positions.iter().copied().zip(report.outcomes) {
            match outcome {
                Outcome::Accepted | Outcome::Duplicate => {}
                Outcome::Conflict => self.note(Problem { event, outcome: "conflict", pointer: None, message: None }),
                Outcome::Invalid { pointer, message } => {
                    self.note(Problem { event, outcome: "invalid", pointer: Some(pointer), message: Some(message) });
                }
            }
        }
    }

    fn refuse(&mut self, event: usize, message: String) {
        self.events += 1;
        self.invalid += 1;
        self.note(Problem { event, outcome: "invalid", pointer: None, message: Some(message) });
    }

    fn note(&mut self, problem: Problem) {
        if self.problems.len() < SHOWN_PROBLEMS {
            self.problems.push(problem);
        }
    }
}

/// Takes events batch by batch, each in a transaction of its own, so that whoever is killed goes on there; then derives the days of
/// every month that they speak of, so that it can be queried and rated at once. A rehearsal is one transaction, which is undone.
pub(super) async fn take(house: &Rooms, scope: &TenantScope, found: Vec<Found>, mode: Mode) -> Result<Tally, Failure> {
    let progress = Reporter::shared().port();
    progress.begin(if mode == Mode::Count { "usage events" } else { "looking at usage events" }, found.len() as u64);
    let mut tally = Tally { is_dry_run: mode == Mode::Rehearse, ..Tally::default() };
    let mut span: Option<(Period, Period)> = None;
    let mut rehearsal: Option<TenantTx> = None;
    let mut found = found.into_iter().enumerate().peekable();
    while found.peek().is_some() {
        let (mut positions, mut events) = (Vec::new(), Vec::new());
        let read = tally.events;
        for (position, found) in found.by_ref().take(BATCH) {
            match found {
                Found::Unreadable(message) => tally.refuse(position, message),
                Found::Event(event) => {
                    if let Some(period) = period_of(&event, scope) {
                        span = Some(span.map_or((period, period), |(first, last)| (first.min(period), last.max(period))));
                    }
                    positions.push(position);
                    events.push(event);
                }
            }
        }
        let tx = match rehearsal.take() {
            Some(tx) => tx,
            None => house.tenants.begin_tenant(scope).await?,
        };
        tally.add(&positions, granary_metering::ingest(&tx, None, &serde_json::to_vec(&events)?).await?);
        match mode {
            Mode::Count => tx.commit().await?,
            Mode::Rehearse => rehearsal = Some(tx),
        }
        progress.advance((tally.events - read) as u64);
    }
    progress.end();
    match (rehearsal, span) {
        (Some(tx), _) => tx.rollback().await?,
        (None, Some((first, last))) => derive(house, scope, first, last).await?,
        (None, None) => {}
    }
    Ok(tally)
}

fn period_of(event: &Value, scope: &TenantScope) -> Option<Period> {
    let at = event.get("time")?.as_str()?.parse().ok()?;
    Some(Period::containing(at, &scope.msp.time_zone))
}

async fn derive(house: &Rooms, scope: &TenantScope, first: Period, last: Period) -> Result<(), Failure> {
    let tx = house.tenants.begin_tenant(scope).await?;
    granary_metering::rebuild_days(&tx, first, last).await?;
    tx.commit().await?;
    for period in std::iter::successors(Some(first), |period| (*period < last).then(|| period.next())) {
        granary_metering::project_month(&house.tenants, scope, period).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(content: &str) -> Vec<bool> {
        cloudevents(content.as_bytes()).unwrap().into_iter().map(|found| matches!(found, Found::Event(_))).collect()
    }

    #[test]
    fn a_file_is_an_array_an_event_or_one_a_line_and_a_bad_line_costs_no_other() {
        assert_eq!(shape("[{}, {}]"), [true, true]);
        assert_eq!(shape("[\n {},\n {}]"), [true, true]);
        assert_eq!(shape("{\n\"id\": 1\n}\n{\n}"), [true, true]);
        assert_eq!(shape("{\"id\": 1}\r\n\n{\"id\": 2\n{\"id\": 3}\n"), [true, false, true]);
        assert!(cloudevents(b" \n").is_err() && cloudevents(b"nothing").is_err());
    }
}
