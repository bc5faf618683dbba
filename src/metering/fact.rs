//! What an event says, in types: one variant for one kind of row.

mod stored;

use granary_types::{RunState, Tier};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::Value;

use crate::canonical::write_canonical;
use crate::event::{ContentHash, content_hash};
use crate::fields::{Fields, Misfit, are_distinct};

pub(crate) use stored::{StoredFact, WindowFact};

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
    Replaced {
        old: MachineKey<'a>,
        new: MachineKey<'a>,
    },
    Attempt(AttemptFact<'a>),
    Skipped {
        machine: MachineKey<'a>,
        day: Date,
        reason: &'a str,
        is_excused: bool,
    },
    Restore(RestoreFact<'a>),
    Replication(ReplicationFact<'a>),
    Cycle(CycleFact<'a>),
    Storage(StorageFact<'a>),
    Stored(StoredFact<'a>),
    Heartbeats {
        day: Date,
        received: i32,
        expected: i32,
        last_at: Timestamp,
    },
    /// A single sign of life, at the event's own time.
    Heartbeat,
    Ticket(TicketFact<'a>),
    Activity {
        day: Date,
        kind: &'a str,
        amount: i64,
    },
    /// A single use, at the event's own time.
    Used {
        kind: &'static str,
    },
    Maintenance(WindowFact<'a>),
    /// An earlier event of the same source does not count.
    Voided {
        event: &'a str,
    },
    Amended(Box<Amendment<'a>>),
}

/// What an earlier event of the same source should have said.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Amendment<'a> {
    pub(crate) event: &'a str,
    pub(crate) occurred_at: Timestamp,
    pub(crate) content_hash: ContentHash,
    pub(crate) fact: Fact<'a>,
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
    pub(crate) scheduled_at: Option<Timestamp>,
    pub(crate) progressed_at: Option<Timestamp>,
    pub(crate) progress_bytes: Option<i64>,
    pub(crate) corrected_at: Option<Timestamp>,
    pub(crate) phase: Option<&'a str>,
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

/// One replication cycle of one machine.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct CycleFact<'a> {
    pub(crate) machine: MachineKey<'a>,
    pub(crate) is_completed: bool,
    pub(crate) ended_at: Timestamp,
    pub(crate) transferred_bytes: i64,
    pub(crate) lag_seconds: i32,
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
    pub(crate) rated_at: Option<Timestamp>,
    pub(crate) rating: Option<i32>,
}

const BACKUP_KINDS: &[&str] = &["full", "incremental", "differential", "log"];
const RESTORE_KINDS: &[&str] = &["full_vm", "file_level", "test"];
/// How a run may turn out to have ended.
const OUTCOMES: &[&str] = &["completed", "completed_with_warning", "failed", "cancelled"];
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
            "backup.scheduled" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Scheduled)?)),
            "backup.started" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Started)?)),
            "backup.progressed" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Progressed)?)),
            "backup.completed" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Completed)?)),
            "backup.failed" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Failed)?)),
            "backup.cancelled" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Cancelled)?)),
            "backup.corrected" => Ok(Self::Attempt(AttemptFact::read(&data, Reported::Corrected)?)),
            "backup.skipped" => Ok(Self::Skipped {
                machine: machine(&data, "machine")?,
                day: data.day("day")?,
                reason: data.name("reason")?,
                is_excused: data.flag("is_excused")?,
            }),
            "restore.completed" => Ok(Self::Restore(RestoreFact::read(&data, "completed")?)),
            "restore.failed" => Ok(Self::Restore(RestoreFact::read(&data, "failed")?)),
            "replication.summary" => Ok(Self::Replication(ReplicationFact::read(&data)?)),
            "replication.completed" => Ok(Self::Cycle(CycleFact::read(&data, true)?)),
            "replication.failed" => Ok(Self::Cycle(CycleFact::read(&data, false)?)),
            "repository.sampled" => Ok(Self::Storage(StorageFact::read(&data)?)),
            "chain.sampled" => Ok(Self::Stored(StoredFact::read_chain(&data)?)),
            "copy.completed" => Ok(Self::Stored(StoredFact::read_copy(&data, "stored")?)),
            "copy.failed" => Ok(Self::Stored(StoredFact::read_copy(&data, "failed")?)),
            "heartbeat.sent" => Ok(Self::Heartbeat),
            "heartbeat.summary" => Ok(Self::Heartbeats {
                day: data.day("day")?,
                received: data.count("received", MAX_COUNT)?,
                expected: data.count("expected", MAX_COUNT)?,
                last_at: data.instant("last_at")?,
            }),
            "ticket.opened" | "ticket.answered" | "ticket.closed" | "ticket.rated" => {
                Ok(Self::Ticket(TicketFact::read(event_type, &data)?))
            }
            "portal.logged_in" => Ok(Self::Used { kind: "portal_login" }),
            "maintenance.scheduled" => Ok(Self::Maintenance(WindowFact::read(&data, false)?)),
            "maintenance.cancelled" => Ok(Self::Maintenance(WindowFact::read(&data, true)?)),
            "event.voided" => {
                data.optional_text("reason")?;
                Ok(Self::Voided { event: data.name("event_id")? })
            }
            "event.amended" => Ok(Self::Amended(Box::new(Amendment::read(&data)?))),
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

impl<'a> Amendment<'a> {
    /// Reads what an event should have said; its pointers lead into the amendment.
    fn read(data: &Fields<'a, '_>) -> Result<Self, Misfit> {
        data.optional_text("reason")?;
        let (event, event_type, occurred_at) = (data.name("event_id")?, data.name("type")?, data.instant("time")?);
        if event_type.starts_with("event.") {
            return Err(data.misfit("type", "is a correction; amend the event itself again, or void the correction"));
        }
        let value = data.required("data")?;
        let within = |misfit: Misfit| Misfit { pointer: format!("/data{}", misfit.pointer), ..misfit };
        let fact = Fact::read(event_type, value).map_err(within)?;
        let mut text = String::new();
        write_canonical(value, &mut text);
        Ok(Self { event, occurred_at, content_hash: content_hash(event_type, None, occurred_at, &text), fact })
    }
}

/// Which of the events of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reported {
    Scheduled,
    Started,
    Progressed,
    Completed,
    Failed,
    Cancelled,
    Corrected,
}

impl<'a> AttemptFact<'a> {
    fn read(data: &Fields<'a, '_>, reported: Reported) -> Result<Self, Misfit> {
        let started_at = if reported == Reported::Scheduled { data.instant("scheduled_at")? } else { data.instant("started_at")? };
        let (state, ended_at, error) = match reported {
            Reported::Scheduled => (RunState::Scheduled, started_at, None),
            Reported::Started => (RunState::Running, started_at, None),
            Reported::Progressed => (RunState::Running, data.instant("reported_at")?, None),
            Reported::Completed if data.flag("has_warning")? => (RunState::CompletedWithWarning, data.instant("ended_at")?, None),
            Reported::Completed => (RunState::Completed, data.instant("ended_at")?, None),
            Reported::Failed => (RunState::Failed, data.instant("ended_at")?, data.optional_text("error")?),
            Reported::Cancelled => (RunState::Cancelled, data.instant("ended_at")?, None),
            Reported::Corrected => (outcome(data)?, data.instant("ended_at")?, data.optional_text("error")?),
        };
        let progressed = reported == Reported::Progressed;
        Ok(Self {
            run: data.name("run_id")?,
            machine: machine(data, "machine")?,
            kind: data.one_of("kind", BACKUP_KINDS)?,
            number: data.optional_count("attempt", MAX_COUNT)?.unwrap_or(1),
            state,
            started_at,
            ended_at,
            error,
            disks: if progressed { Vec::new() } else { disks(data)? },
            scheduled_at: (reported == Reported::Scheduled).then_some(started_at),
            progressed_at: progressed.then_some(ended_at),
            // A gauge of nothing says nothing: sources send it before they know.
            progress_bytes: if progressed { data.optional_bytes("transferred_bytes")?.filter(|bytes| *bytes > 0) } else { None },
            corrected_at: if reported == Reported::Corrected { Some(data.instant("corrected_at")?) } else { None },
            phase: data.optional_name("phase")?,
        })
    }
}

fn outcome(data: &Fields<'_, '_>) -> Result<RunState, Misfit> {
    data.one_of("state", OUTCOMES)?.parse().map_err(|_| data.misfit("state", "is no outcome"))
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
            machine: optional_machine(data)?,
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

impl<'a> CycleFact<'a> {
    fn read(data: &Fields<'a, '_>, is_completed: bool) -> Result<Self, Misfit> {
        data.instant("started_at")?;
        Ok(Self {
            machine: machine(data, "machine")?,
            is_completed,
            ended_at: data.instant("ended_at")?,
            transferred_bytes: if is_completed { data.bytes("transferred_bytes")? } else { 0 },
            lag_seconds: if is_completed { data.count("lag_seconds", i32::MAX)? } else { 0 },
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
        let (is_answer, is_close, is_rated) =
            (event_type == "ticket.answered", event_type == "ticket.closed", event_type == "ticket.rated");
        let rating = match event_type {
            "ticket.closed" => data.optional_count("rating", 5)?,
            "ticket.rated" => Some(data.count("rating", 5)?),
            _ => None,
        };
        if rating == Some(0) {
            return Err(data.misfit("rating", "must be a whole number from 1 to 5"));
        }
        let closed_at = is_close.then(|| data.instant("closed_at")).transpose()?;
        Ok(Self {
            ticket: data.name("ticket_id")?,
            priority: data.one_of("priority", PRIORITIES)?,
            opened_at: data.instant("opened_at")?,
            answered_at: is_answer.then(|| data.instant("answered_at")).transpose()?,
            closed_at,
            rated_at: if is_rated { Some(data.instant("rated_at")?) } else { closed_at.filter(|_| rating.is_some()) },
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

fn optional_machine<'a>(data: &Fields<'a, '_>) -> Result<Option<MachineKey<'a>>, Misfit> {
    data.optional("machine").map(|_| machine(data, "machine")).transpose()
}
