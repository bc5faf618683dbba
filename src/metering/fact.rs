//! What an event says, in types: one variant for one kind of row.

use granary_types::{RunState, Tier};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use crate::fields::{Fields, Misfit, are_distinct};

/// How a source calls a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MachineKey<'a> {
    pub(crate) source_system: &'a str,
    pub(crate) vendor_id: &'a str,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Fact<'a> {
    Machine(MachineKey<'a>, MachineSaying),
    Replaced { old: MachineKey<'a>, new: MachineKey<'a> },
    Attempt(AttemptFact<'a>),
    Skipped { machine: MachineKey<'a>, day: Date, reason: &'a str, is_excused: bool },
    Restore(RestoreFact<'a>),
    Replication(ReplicationFact<'a>),
    Storage(StorageFact<'a>),
    Heartbeat { day: Date, received: i32, expected: i32, last_at: Timestamp },
    Ticket(TicketFact<'a>),
    Activity { day: Date, kind: &'a str, amount: i64 },
}

/// What was said of a machine itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MachineSaying {
    Discovered { name: String, os: Option<String> },
    Protected { name: String, os: Option<String>, tier: Tier, from: Date, runs_per_day: Option<i32> },
    TierChanged { tier: Tier, from: Date },
    Unprotected { on: Date },
}

/// One attempt of a backup run, with its disks.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AttemptFact<'a> {
    pub(crate) run: &'a str,
    pub(crate) machine: MachineKey<'a>,
    pub(crate) kind: &'static str,
    pub(crate) number: i32,
    pub(crate) state: RunState,
    pub(crate) started_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) error: Option<&'a str>,
    pub(crate) disks: Vec<DiskFact>,
}

/// One disk of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DiskFact {
    pub(crate) index: i32,
    pub(crate) size_bytes: i64,
    pub(crate) transferred_bytes: i64,
    pub(crate) state: &'static str,
}

/// A restore that ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RestoreFact<'a> {
    pub(crate) restore: &'a str,
    pub(crate) machine: Option<MachineKey<'a>>,
    pub(crate) kind: &'static str,
    pub(crate) state: &'static str,
    pub(crate) requested_at: Timestamp,
    pub(crate) ended_at: Timestamp,
    pub(crate) restored_bytes: i64,
}

/// A day of replication cycles of one machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ReplicationFact<'a> {
    pub(crate) machine: MachineKey<'a>,
    pub(crate) day: Date,
    pub(crate) cycles_completed: i32,
    pub(crate) cycles_failed: i32,
    pub(crate) transferred_bytes: i64,
    pub(crate) lag_seconds_max: i32,
    pub(crate) last_cycle_at: Timestamp,
}

/// A repository, and how full it was.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct StorageFact<'a> {
    pub(crate) vendor_id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
    pub(crate) capacity_bytes: Option<i64>,
    pub(crate) is_copy: bool,
    pub(crate) is_immutable: bool,
    pub(crate) retention_days: Option<i32>,
    pub(crate) used_bytes: i64,
    pub(crate) sampled_at: Timestamp,
}

/// A ticket, as far as this event knows it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TicketFact<'a> {
    pub(crate) ticket: &'a str,
    pub(crate) priority: &'static str,
    pub(crate) opened_at: Timestamp,
    pub(crate) answered_at: Option<Timestamp>,
    pub(crate) closed_at: Option<Timestamp>,
    pub(crate) rating: Option<i32>,
}

const BACKUP_KINDS: &[&str] = &["full", "incremental", "differential", "log"];
const RESTORE_KINDS: &[&str] = &["full_vm", "file_level", "test"];
const DISK_STATES: &[&str] = &["completed", "failed", "cancelled", "running"];
/// From the least to the most pressing.
pub(crate) const PRIORITIES: &[&str] = &["low", "normal", "high", "urgent"];
const MAX_DISKS: usize = 256;
const MAX_COUNT: i32 = 1_000_000;

impl<'a> Fact<'a> {
    /// Reads the data of an event by its type.
    pub(crate) fn read(event_type: &str, data: &'a Value) -> Result<Self, Misfit> {
        let data = Fields::of(data, "", "data")?;
        match event_type {
            "machine.discovered" | "machine.protected" | "machine.tier_changed" | "machine.unprotected" => {
                Ok(Self::Machine(flat_machine(&data)?, MachineSaying::read(event_type, &data)?))
            }
            "machine.replaced" => Ok(Self::Replaced { old: flat_machine(&data)?, new: machine(&data, "replaced_by")? }),
            "backup.started" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Started)?)),
            "backup.completed" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Completed)?)),
            "backup.failed" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Failed)?)),
            "backup.skipped" => Ok(Self::Skipped {
                machine: machine(&data, "machine")?,
                day: data.day("day")?,
                reason: data.name("reason")?,
                is_excused: data.flag("is_excused")?,
            }),
            "restore.completed" => Ok(Self::Restore(RestoreFact::read(&data, "completed")?)),
            "restore.failed" => Ok(Self::Restore(RestoreFact::read(&data, "failed")?)),
            "replication.summary" => Ok(Self::Replication(ReplicationFact::read(&data)?)),
            "repository.sampled" => Ok(Self::Storage(StorageFact::read(&data)?)),
            "heartbeat.summary" => Ok(Self::Heartbeat {
                day: data.day("day")?,
                received: data.count("received", MAX_COUNT)?,
                expected: data.count("expected", MAX_COUNT)?,
                last_at: data.instant("last_at")?,
            }),
            "ticket.opened" | "ticket.answered" | "ticket.closed" => Ok(Self::Ticket(TicketFact::read(event_type, &data)?)),
            "activity.summary" => Ok(Self::Activity { day: data.day("day")?, kind: data.name("kind")?, amount: data.bytes("amount")? }),
            _ => Err(Misfit { pointer: "/type".to_owned(), message: "is not a known type of usage event".to_owned() }),
        }
    }
}

impl MachineSaying {
    fn read(event_type: &str, data: &Fields<'_, '_>) -> Result<Self, Misfit> {
        let name = || data.name("name").map(str::to_owned);
        let os = || data.optional_name("os").map(|os| os.map(str::to_owned));
        Ok(match event_type {
            "machine.discovered" => Self::Discovered { name: name()?, os: os()? },
            "machine.protected" => Self::Protected {
                name: name()?,
                os: os()?,
                tier: data.word("tier")?,
                from: data.day("from")?,
                runs_per_day: data.optional_count("runs_per_day", 1_440)?,
            },
            "machine.tier_changed" => Self::TierChanged { tier: data.word("tier")?, from: data.day("from")? },
            _ => Self::Unprotected { on: data.day("on")? },
        })
    }
}

/// Which of the three events of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    Started,
    Completed,
    Failed,
}

impl<'a> AttemptFact<'a> {
    fn read(data: &Fields<'a, '_>, reported: Reported) -> Result<Self, Misfit> {
        let started_at = data.instant("started_at")?;
        let (state, ended_at, error) = match reported {
            Reported::Started => (RunState::Running, started_at, None),
            Reported::Completed if data.flag("has_warning")? => (RunState::CompletedWithWarning, data.instant("ended_at")?, None),
            Reported::Completed => (RunState::Completed, data.instant("ended_at")?, None),
            Reported::Failed => (RunState::Failed, data.instant("ended_at")?, data.optional_text("error")?),
        };
        Ok(Self {
            run: data.name("run_id")?,
            machine: machine(data, "machine")?,
            kind: data.one_of("kind", BACKUP_KINDS)?,
            number: data.optional_count("attempt", MAX_COUNT)?.unwrap_or(1),
            state,
            started_at,
            ended_at,
            error,
            disks: disks(data)?,
        })
    }
}

fn disks(data: &Fields<'_, '_>) -> Result<Vec<DiskFact>, Misfit> {
    let Some(value) = data.optional("disks") else { return Ok(Vec::new()) };
    let items = value.as_array().filter(|items| items.len() <= MAX_DISKS);
    let items = items.ok_or_else(|| data.misfit("disks", format!("must be an array of at most {MAX_DISKS} disks")))?;
    let read = |(position, item)| {
        let position = usize::to_string(&position);
        let disk = Fields::of(item, "/data/disks", &position)?;
        Ok(DiskFact {
            index: disk.count("index", MAX_COUNT)?,
            size_bytes: disk.bytes("size_bytes")?,
            transferred_bytes: disk.bytes("transferred_bytes")?,
            state: disk.one_of("state", DISK_STATES)?,
        })
    };
    let disks = items.iter().enumerate().map(read).collect::<Result<Vec<_>, Misfit>>()?;
    if disks.len() > 1 && !are_distinct(disks.iter().map(|disk| disk.index)) {
        return Err(data.misfit("disks", "must not name an index twice"));
    }
    Ok(disks)
}

impl<'a> RestoreFact<'a> {
    fn read(data: &Fields<'a, '_>, state: &'static str) -> Result<Self, Misfit> {
        Ok(Self {
            restore: data.name("restore_id")?,
            machine: data.optional("machine").map(|_| machine(data, "machine")).transpose()?,
            kind: data.one_of("kind", RESTORE_KINDS)?,
            state,
            requested_at: data.instant("requested_at")?,
            ended_at: data.instant("ended_at")?,
            restored_bytes: data.optional_bytes("restored_bytes")?.unwrap_or(0),
        })
    }
}

impl<'a> ReplicationFact<'a> {
    fn read(data: &Fields<'a, '_>) -> Result<Self, Misfit> {
        Ok(Self {
            machine: machine(data, "machine")?,
            day: data.day("day")?,
            cycles_completed: data.count("cycles_completed", MAX_COUNT)?,
            cycles_failed: data.count("cycles_failed", MAX_COUNT)?,
            transferred_bytes: data.bytes("transferred_bytes")?,
            lag_seconds_max: data.count("lag_seconds_max", i32::MAX)?,
            last_cycle_at: data.instant("last_cycle_at")?,
        })
    }
}

impl<'a> StorageFact<'a> {
    fn read(data: &Fields<'a, '_>) -> Result<Self, Misfit> {
        let repository = Fields::of(data.required("repository")?, "/data", "repository")?;
        Ok(Self {
            vendor_id: repository.name("vendor_id")?,
            name: repository.name("name")?,
            kind: repository.name("kind")?,
            capacity_bytes: repository.optional_bytes("capacity_bytes")?,
            is_copy: repository.flag("is_copy")?,
            is_immutable: repository.flag("is_immutable")?,
            retention_days: repository.optional_count("retention_days", MAX_COUNT)?,
            used_bytes: data.bytes("used_bytes")?,
            sampled_at: data.instant("sampled_at")?,
        })
    }
}

impl<'a> TicketFact<'a> {
    fn read(event_type: &str, data: &Fields<'a, '_>) -> Result<Self, Misfit> {
        let (is_answer, is_close) = (event_type == "ticket.answered", event_type == "ticket.closed");
        let rating = if is_close { data.optional_count("rating", 5)? } else { None };
        if rating == Some(0) {
            return Err(data.misfit("rating", "must be a whole number from 1 to 5"));
        }
        Ok(Self {
            ticket: data.name("ticket_id")?,
            priority: data.one_of("priority", PRIORITIES)?,
            opened_at: data.instant("opened_at")?,
            answered_at: is_answer.then(|| data.instant("answered_at")).transpose()?,
            closed_at: is_close.then(|| data.instant("closed_at")).transpose()?,
            rating,
        })
    }
}

fn flat_machine<'a>(data: &Fields<'a, '_>) -> Result<MachineKey<'a>, Misfit> {
    Ok(MachineKey { source_system: data.name("source_system")?, vendor_id: data.name("vendor_id")? })
}

fn machine<'a>(data: &Fields<'a, '_>, name: &str) -> Result<MachineKey<'a>, Misfit> {
    flat_machine(&Fields::of(data.required(name)?, "/data", name)?)
}
