//! What a customer's figures call for: the marks at which an alert is raised and, lower, those down to which it is held.

use std::collections::BTreeSet;

use granary_tenants::{Enforcement, Limits};
use granary_types::{AlertKind, AlertSeverity};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use uuid::Uuid;

/// A restore point is missing when it is a quarter later than agreed: nights do not end to the minute.
const RPO_MARGIN_PERCENT: i64 = 25;
/// So many restore points in a row are missing when it is critical.
const RPO_CRITICAL_TIMES: i64 = 3;
/// So many runs in a row have failed when it is critical.
const FAILED_CRITICAL: i64 = 3;
/// A day and two hours, because some control planes report their heartbeats once a day.
const SILENT: Marks = Marks { raised: [None, Some(26 * 60), Some(50 * 60)], held: [None, Some(24 * 60), Some(48 * 60)] };
/// Others send a sign of life every quarter of an hour.
const SILENT_LIVE: Marks = Marks { raised: [None, Some(60), Some(24 * 60)], held: [None, Some(30), Some(24 * 60)] };
/// Percent of a limit that stretches, and of one that refuses.
const SOFT: Marks = Marks { raised: [Some(80), Some(100), None], held: [Some(75), Some(95), None] };
const HARD: Marks = Marks { raised: [Some(80), None, Some(100)], held: [Some(75), None, Some(95)] };
/// Percent of a repository's capacity.
const FULL: Marks = Marks { raised: [None, Some(85), Some(95)], held: [None, Some(82), Some(93)] };
/// Seconds that a replica is behind.
const LAG: Marks = Marks { raised: [None, Some(3_600), Some(14_400)], held: [None, Some(2_700), Some(10_800)] };

/// From which figure on something is info, warning, critical.
struct Marks {
    raised: [Option<i64>; 3],
    held: [Option<i64>; 3],
}

/// What raises, and what keeps up.
type CallsFor = (Option<AlertSeverity>, Option<AlertSeverity>);

impl Marks {
    fn of(&self, figure: i64) -> CallsFor {
        let highest = |marks: &[Option<i64>; 3]| {
            let reached = AlertSeverity::ALL.iter().zip(marks).filter(|(_, mark)| mark.is_some_and(|mark| figure >= mark));
            reached.map(|(severity, _)| *severity).max()
        };
        (highest(&self.raised), highest(&self.held))
    }
}

/// What the figures of one subject call for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) kind: AlertKind,
    pub(crate) subject: String,
    pub(crate) name: String,
    /// What raises an alert, or makes it more urgent.
    pub(crate) raised: Option<AlertSeverity>,
    /// What keeps it up: the same, or more.
    pub(crate) held: Option<AlertSeverity>,
    /// With instants, not spans: they change with the figures alone.
    pub(crate) words: String,
    /// Maintenance was agreed: nothing is raised.
    pub(crate) is_quiet: bool,
}

/// A machine that failed lately or has no restore point that is young enough.
#[derive(Debug, Clone)]
pub(crate) struct MachineFacts {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    /// The begin of its protection.
    pub(crate) protected_since: Option<Timestamp>,
    /// The last completed run or cycle of the days that are looked at.
    pub(crate) good_at: Option<Timestamp>,
    /// Runs that failed since.
    pub(crate) failed: i64,
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) error: Option<String>,
}

/// A repository with its latest sample, and one of a week before.
#[derive(Debug, Clone)]
pub(crate) struct RepositoryFacts {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) capacity_bytes: Option<i64>,
    pub(crate) used_bytes: i64,
    pub(crate) sampled_at: Timestamp,
    pub(crate) before: Option<(i64, Timestamp)>,
}

/// A replica's lag on the last day that it reported.
#[derive(Debug, Clone)]
pub(crate) struct LagFacts {
    pub(crate) id: Uuid,
    pub(crate) name: String,
    pub(crate) lag_seconds: i64,
    pub(crate) last_cycle_at: Timestamp,
}

/// When a control plane was heard last, and whether it sends signs of life one by one.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) source: String,
    pub(crate) at: Timestamp,
    pub(crate) is_live: bool,
}

/// Everything of a customer that alerts are made from.
#[derive(Debug, Clone, Default)]
pub(crate) struct Facts {
    pub(crate) machines_protected: i64,
    pub(crate) jobs_running: i64,
    pub(crate) machines: Vec<MachineFacts>,
    pub(crate) repositories: Vec<RepositoryFacts>,
    pub(crate) lags: Vec<LagFacts>,
    pub(crate) heard: Vec<Heard>,
    /// Machines that rest by agreement.
    pub(crate) excused: BTreeSet<Uuid>,
    /// All of them do, and their control planes.
    pub(crate) everything_rests: bool,
}

impl Facts {
    /// Returns what the repositories hold together, copies included.
    pub(crate) fn stored_gib(&self) -> i64 {
        let stored = self.repositories.iter().map(|repository| i128::from(repository.used_bytes)).sum::<i128>() >> 30;
        i64::try_from(stored).unwrap_or(i64::MAX)
    }

    /// Tells whether a machine rests by agreement: what it misses meanwhile raises no alert.
    fn is_quiet(&self, machine: Uuid) -> bool {
        self.everything_rests || self.excused.contains(&machine)
    }
}

/// A customer's terms, as far as alerts depend on them.
#[derive(Debug, Clone)]
pub(crate) struct Terms {
    /// None without a contract.
    pub(crate) limits: Option<Limits>,
    pub(crate) rpo_hours: i64,
    /// The sources of its control planes that are in use.
    pub(crate) sources: Vec<String>,
    /// How much of its rate its programs used at most, as the door saw it a moment ago.
    pub(crate) api_percent: Option<i64>,
}

/// Readings of a customer; of the kinds in `unknown` nothing can be said, and their alerts stay as they are.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readings {
    pub(crate) list: Vec<Reading>,
    pub(crate) unknown: Vec<AlertKind>,
}

/// Reads a customer's facts against its terms. Only what is held by a mark becomes a reading.
pub(crate) fn measure(facts: &Facts, terms: &Terms, now: Timestamp) -> Readings {
    let mut list = Vec::new();
    list.extend(silent_planes(facts, terms, now));
    // Silence is not a missed backup: nobody knows what runs behind it.
    let is_silent = list.iter().any(|reading| reading.raised.is_some());
    let unknown = if is_silent { vec![AlertKind::RpoMissed] } else { Vec::new() };
    list.extend(terms.limits.iter().flat_map(|limits| limits_of(facts, limits, terms.api_percent)));
    list.extend(facts.machines.iter().filter_map(|machine| failed(facts, machine, terms, now)));
    if !is_silent {
        list.extend(facts.machines.iter().filter_map(|machine| missed(facts, machine, terms, now)));
    }
    list.extend(facts.repositories.iter().filter_map(full));
    list.extend(facts.lags.iter().map(|lag| lagging(facts, lag)));
    list.retain(|reading| reading.held.is_some());
    Readings { list, unknown }
}

fn silent_planes(facts: &Facts, terms: &Terms, now: Timestamp) -> Vec<Reading> {
    let known = facts.heard.iter().filter(|heard| terms.sources.contains(&heard.source));
    known
        .map(|Heard { source, at, is_live }| {
            let marks = if *is_live { SILENT_LIVE } else { SILENT };
            let (raised, held) = marks.of(now.duration_since(*at).as_mins());
            let words = format!("not heard since {}", instant(*at));
            Reading {
                kind: AlertKind::ControlPlaneSilent,
                subject: source.clone(),
                name: source.clone(),
                raised,
                held,
                words,
                is_quiet: facts.everything_rests,
            }
        })
        .collect()
}

fn limits_of(facts: &Facts, limits: &Limits, api_percent: Option<i64>) -> Vec<Reading> {
    let one = |kind, (subject, name): (&str, &str), (used, limit): (i64, i64), enforcement, unit: &str| {
        let percent = percent(used, limit);
        let marks = match enforcement {
            Enforcement::Soft => SOFT,
            Enforcement::Hard => HARD,
        };
        let (raised, held) = marks.of(percent);
        let words = format!("{used} of {limit} {unit} ({percent} %)");
        Reading { kind, subject: subject.to_owned(), name: name.to_owned(), raised, held, words, is_quiet: false }
    };
    let stored_gib = facts.stored_gib();
    let machines = limits.machines.map(|limit| {
        let figures = (facts.machines_protected, i64::from(limit));
        one(AlertKind::LimitMachines, ("max_vms", "machines"), figures, limits.machines_enforcement, "machines")
    });
    let storage =
        one(AlertKind::LimitStorage, ("storage_gb", "storage"), (stored_gib, limits.storage_gib), limits.storage_enforcement, "GiB");
    let jobs = limits.max_concurrent_jobs.map(|limit| {
        let figures = (facts.jobs_running, i64::from(limit));
        one(AlertKind::LimitJobs, ("max_concurrent_jobs", "running jobs"), figures, limits.jobs_enforcement, "jobs at once")
    });
    let rate = limits.api_rate_limit.zip(api_percent).map(|(limit, percent)| {
        // Whoever is refused comes again: it is never critical.
        let (raised, held) = SOFT.of(percent);
        let words = format!("{} % of {limit} requests a minute", percent.min(100));
        let (subject, name) = ("api_rate_limit".to_owned(), "API requests".to_owned());
        Reading { kind: AlertKind::LimitApi, subject, name, raised, held, words, is_quiet: false }
    });
    [machines, Some(storage), jobs, rate].into_iter().flatten().collect()
}

/// Returns how much of a limit is used, in whole percent; something above nothing is twice as much as allowed.
pub(crate) fn percent(used: i64, limit: i64) -> i64 {
    if limit > 0 { i64::try_from(i128::from(used) * 100 / i128::from(limit)).unwrap_or(i64::MAX) } else { 200 * i64::from(used > 0) }
}

fn failed(facts: &Facts, machine: &MachineFacts, terms: &Terms, now: Timestamp) -> Option<Reading> {
    let at = machine.failed_at.filter(|_| machine.failed > 0)?;
    let missing = age(machine, terms, now).and_then(|(raised, _)| raised);
    let by_count = if machine.failed >= FAILED_CRITICAL { AlertSeverity::Critical } else { AlertSeverity::Warning };
    let severity = by_count.max(missing.unwrap_or(by_count));
    let why = machine.error.as_deref().map(|error| format!(": {}", brief(error))).unwrap_or_default();
    let since =
        machine.good_at.filter(|_| missing.is_some()).map(|at| format!("; no restore point since {}", instant(at))).unwrap_or_default();
    let words = match machine.failed {
        1 => format!("the run of {} failed{why}{since}", instant(at)),
        failed => format!("{failed} runs failed in a row, the last {}{why}{since}", instant(at)),
    };
    Some(of_machine(AlertKind::BackupFailed, facts, machine, (Some(severity), Some(severity)), words))
}

/// Returns what the age of a protected machine's last restore point calls for.
fn age(machine: &MachineFacts, terms: &Terms, now: Timestamp) -> Option<CallsFor> {
    let since = machine.good_at.or(machine.protected_since).filter(|_| machine.protected_since.is_some())?;
    let (minutes, rpo) = (now.duration_since(since).as_mins(), terms.rpo_hours.max(1) * 60);
    let marks = Marks {
        raised: [None, Some(rpo + rpo * RPO_MARGIN_PERCENT / 100), Some(rpo * RPO_CRITICAL_TIMES)],
        held: [None, Some(rpo), Some(rpo * RPO_CRITICAL_TIMES)],
    };
    Some(marks.of(minutes))
}

/// Where runs fail, their alert says since when there is no restore point: one cause, one alert.
fn missed(facts: &Facts, machine: &MachineFacts, terms: &Terms, now: Timestamp) -> Option<Reading> {
    let calls_for = age(machine, terms, now).filter(|_| machine.failed == 0)?;
    let words = match machine.good_at {
        Some(at) => format!("no restore point since {}; one every {} h is agreed", instant(at), terms.rpo_hours),
        None => format!("no restore point of the last two weeks; one every {} h is agreed", terms.rpo_hours),
    };
    Some(of_machine(AlertKind::RpoMissed, facts, machine, calls_for, words))
}

fn of_machine(kind: AlertKind, facts: &Facts, machine: &MachineFacts, (raised, held): CallsFor, words: String) -> Reading {
    let (subject, name) = (machine.id.to_string(), brief(&machine.name));
    Reading { kind, subject, name, raised, held, words, is_quiet: facts.is_quiet(machine.id) }
}

fn full(repository: &RepositoryFacts) -> Option<Reading> {
    let capacity = repository.capacity_bytes.filter(|capacity| *capacity > 0)?;
    let percent = percent(repository.used_bytes, capacity);
    let (raised, held) = FULL.of(percent);
    let forecast = full_on(repository, capacity).map(|day| format!("; at the pace of the last days full on {day}")).unwrap_or_default();
    let words = format!("{} of {} GiB used ({percent} %){forecast}", repository.used_bytes >> 30, capacity >> 30);
    let (subject, name) = (repository.id.to_string(), brief(&repository.name));
    Some(Reading { kind: AlertKind::RepositoryFull, subject, name, raised, held, words, is_quiet: false })
}

/// Returns the day on which a repository is full if it goes on growing as between its two samples; none when that is years away.
fn full_on(repository: &RepositoryFacts, capacity: i64) -> Option<jiff::civil::Date> {
    let (used_before, at_before) = repository.before?;
    let grown = repository.used_bytes.checked_sub(used_before).filter(|grown| *grown > 0)?;
    let span = repository.sampled_at.duration_since(at_before).as_hours();
    let left = i128::from(capacity - repository.used_bytes).max(0) * i128::from(span) / i128::from(grown);
    let hours = i64::try_from(left).ok().filter(|hours| *hours < 24 * 730)?;
    Some(repository.sampled_at.checked_add(hours.hours()).ok()?.to_zoned(TimeZone::UTC).date())
}

fn lagging(facts: &Facts, lag: &LagFacts) -> Reading {
    let (raised, held) = LAG.of(lag.lag_seconds);
    let words = format!("up to {} min behind, last cycle {}", lag.lag_seconds / 60, instant(lag.last_cycle_at));
    let (subject, name) = (lag.id.to_string(), brief(&lag.name));
    Reading { kind: AlertKind::ReplicationLag, subject, name, raised, held, words, is_quiet: facts.is_quiet(lag.id) }
}

/// Writes an instant to the minute.
fn instant(at: Timestamp) -> String {
    let at = at.to_zoned(TimeZone::UTC);
    format!("{} {:02}:{:02} UTC", at.date(), at.hour(), at.minute())
}

/// What sources call things may be long and hold anything.
fn brief(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(120).collect()
}
