//! The session report that Veeam Backup & Replication exports, as usage events.
//!
//! A row is one session of one machine in one job: an attempt of a backup run. The report has no id and no zone: the id is a
//! hash of job, machine and creation time as the report writes them, and whoever imports it names the zone. The same row in
//! another zone is therefore the same event with other content: a conflict. A retry whose predecessor (the session of the
//! same job and machine before it) failed is the next attempt of that run; any other retry opens a run of its own.
//! A machine is assigned the tier `backup` from the day of its first session, so that it can be rated. That is said again
//! only when an excerpt brings an earlier day than the one from which the machine is protected already.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use granary_foundation::Boxed;
use granary_tenants::TenantTx;
use granary_types::{Classify, ErrorKind};
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::MeteringError;
use crate::imported::{envelope, id_of};
use crate::store;
use crate::wall_clock::instant;

/// The source system of machines that come from these reports.
const SOURCE_SYSTEM: &str = "veeam";

/// The columns that are read; a report has more.
const COLUMNS: [&str; 9] =
    ["JobName", "VMName", "Status", "IsRetry", "WorkDuration", "TaskAlgorithm", "CreationTime", "BackupSize", "DataSize"];

/// The day from which each machine is protected, by its name in the report.
pub type KnownMachines = BTreeMap<String, Date>;

/// A report that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum VeeamError {
    #[error("the file is not a Veeam session report: {0}")]
    NotAReport(String),
    #[error("row {row}: {column} '{value}' {problem}")]
    BadValue { row: u64, column: &'static str, value: String, problem: &'static str },
}

impl Classify for VeeamError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::NotAReport(_) => "veeam_report_unreadable",
            Self::BadValue { .. } => "veeam_value_invalid",
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ReportRow {
    job_name: String,
    #[serde(rename = "VMName")]
    vm_name: String,
    status: String,
    is_retry: String,
    work_duration: String,
    task_algorithm: String,
    creation_time: String,
    backup_size: String,
    data_size: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Status {
    Success,
    Warning,
    Failed,
}

/// One session. The order is that of job, machine and time, in which retries find their predecessors.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Session {
    job: String,
    machine: String,
    /// As the report writes it, without a zone.
    written_at: DateTime,
    created_at: Timestamp,
    status: Status,
    is_retry: bool,
    is_full: bool,
    ended_at: Timestamp,
    backup_bytes: u64,
    data_bytes: u64,
}

/// Returns the machines that earlier reports brought, and from when on they are protected.
///
/// # Errors
/// When Postgres refuses.
pub fn known_machines(tx: &TenantTx) -> Boxed<'_, Result<KnownMachines, MeteringError>> {
    Box::pin(store::machines::list_protected(tx, SOURCE_SYSTEM))
}

/// Reads a report and returns its usage events, machines first, then sessions in the order of time. Repeated rows are one.
/// Of machines that are `known` to be protected early enough nothing is said.
///
/// # Errors
/// When the file is not such a report, or a value in it cannot be read; the row is counted from 1, below the headings.
pub fn events(reader: impl Read, zone: &TimeZone, source: &str, known: &KnownMachines) -> Result<Vec<Value>, VeeamError> {
    let sessions = read_sessions(reader, zone)?;
    let mut first: BTreeMap<&str, &Session> = BTreeMap::new();
    for session in &sessions {
        let earliest = first.entry(&session.machine).or_insert(session);
        if session.written_at < earliest.written_at {
            *earliest = session;
        }
    }
    let is_news = |session: &Session| known.get(&session.machine).is_none_or(|&since| session.written_at.date() < since);
    let mut events: Vec<Value> = first.into_values().filter(|first| is_news(first)).map(|first| protected(first, source)).collect();
    let mut attempts: Vec<(Timestamp, Value)> = Vec::with_capacity(sessions.len());
    let mut before: Option<(&Session, String, i32)> = None;
    for session in &sessions {
        let id = id_of(&[&session.job, &session.machine, &session.written_at.to_string()]);
        let (run, attempt) = match before.take() {
            Some((last, run, attempt))
                if session.is_retry && last.status == Status::Failed && (&last.job, &last.machine) == (&session.job, &session.machine) =>
            {
                (run, attempt + 1)
            }
            _ => (id.clone(), 1),
        };
        attempts.push((session.ended_at, session.event(&id, &run, attempt, source)));
        before = Some((session, run, attempt));
    }
    attempts.sort_by_key(|(at, _)| *at);
    events.extend(attempts.into_iter().map(|(_, event)| event));
    Ok(events)
}

fn read_sessions(reader: impl Read, zone: &TimeZone) -> Result<BTreeSet<Session>, VeeamError> {
    let mut report = csv::Reader::from_reader(reader);
    check_columns(report.headers().map_err(|error| VeeamError::NotAReport(error.to_string()))?)?;
    report
        .deserialize()
        .zip(1_u64..)
        .map(|(row, number)| {
            let row: ReportRow = row.map_err(|error| VeeamError::NotAReport(error.to_string()))?;
            Session::read(row, number, zone)
        })
        .collect()
}

/// Any text is a CSV file; a report is known by its columns, also when it has no rows.
fn check_columns(headings: &csv::StringRecord) -> Result<(), VeeamError> {
    let missing: Vec<&str> = COLUMNS.into_iter().filter(|column| !headings.iter().any(|heading| heading == *column)).collect();
    if missing.is_empty() { Ok(()) } else { Err(VeeamError::NotAReport(format!("its header lacks {}", missing.join(", ")))) }
}

impl Session {
    fn read(row: ReportRow, number: u64, zone: &TimeZone) -> Result<Self, VeeamError> {
        let bad =
            |column, value: &str, problem| VeeamError::BadValue { row: number, column, value: value.chars().take(60).collect(), problem };
        let bytes = |column, value: &str| value.parse::<u64>().map_err(|_| bad(column, value, "is not a number of bytes"));
        let status = match row.status.as_str() {
            "Success" => Status::Success,
            "Warning" => Status::Warning,
            "Failed" => Status::Failed,
            other => return Err(bad("Status", other, "is none of Success, Warning, Failed")),
        };
        let time = DateTime::strptime("%m/%d/%Y %H:%M:%S", &row.creation_time);
        let time = time.map_err(|_| bad("CreationTime", &row.creation_time, "is not a time such as 12/31/2019 23:59:59"))?;
        let created_at = instant(time, zone).ok_or_else(|| bad("CreationTime", &row.creation_time, "is out of range"))?;
        let seconds: f64 = match row.work_duration.as_str() {
            "" => 0.0,
            text => text.parse().map_err(|_| bad("WorkDuration", text, "is not a number of seconds"))?,
        };
        let lasted = SignedDuration::try_from_secs_f64(seconds).ok().filter(|lasted| !lasted.is_negative());
        let lasted = lasted.ok_or_else(|| bad("WorkDuration", &row.work_duration, "is not a duration"))?;
        let ended_at = created_at.checked_add(lasted).map_err(|_| bad("WorkDuration", &row.work_duration, "is out of range"))?;
        Ok(Self {
            written_at: time,
            created_at,
            status,
            is_retry: row.is_retry.eq_ignore_ascii_case("true"),
            is_full: row.task_algorithm == "Full",
            ended_at,
            backup_bytes: bytes("BackupSize", &row.backup_size)?,
            data_bytes: bytes("DataSize", &row.data_size)?,
            job: row.job_name,
            machine: row.vm_name,
        })
    }

    /// What was read of the machine is the size of its one known disk, what was written to the repository is what travelled.
    fn event(&self, id: &str, run: &str, attempt: i32, source: &str) -> Value {
        let mut data = json!({
            "run_id": run,
            "machine": {"source_system": SOURCE_SYSTEM, "vendor_id": self.machine},
            "kind": if self.is_full { "full" } else { "incremental" },
            "attempt": attempt,
            "started_at": self.created_at.to_string(),
            "ended_at": self.ended_at.to_string(),
        });
        let event_type = if self.status == Status::Failed {
            data["error"] = json!("the session failed");
            "backup.failed"
        } else {
            data["has_warning"] = json!(self.status == Status::Warning);
            let disk = json!({"index": 0, "size_bytes": self.data_bytes, "transferred_bytes": self.backup_bytes, "state": "completed"});
            data["disks"] = json!([disk]);
            "backup.completed"
        };
        envelope(id, event_type, self.ended_at, source, &self.job, &data)
    }
}

/// The day is the report's own, so that it does not depend on the zone that somebody names.
fn protected(first: &Session, source: &str) -> Value {
    let (machine, from) = (first.machine.as_str(), first.written_at.date().to_string());
    let data = json!({"source_system": SOURCE_SYSTEM, "vendor_id": machine, "name": machine, "tier": "backup", "from": from});
    envelope(&id_of(&["protected", machine, &from]), "machine.protected", first.ended_at, source, machine, &data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = "\"JobName\",\"VMName\",\"Status\",\"IsRetry\",\"ProcessingMode\",\"WorkDuration\",\"TaskAlgorithm\",\"CreationTime\",\"BackupSize\",\"DataSize\",\"DedupRatio\",\"CompressRatio\"\n";

    fn read(rows: &str, zone: &str) -> Result<Vec<Value>, VeeamError> {
        events(format!("{REPORT}{rows}").as_bytes(), &TimeZone::get(zone).unwrap(), "import", &KnownMachines::new())
    }

    #[test]
    fn months_come_before_days() {
        let list = read("j,m,Success,False,nbd,27.5,Increment,2/5/2020 12:00:16,7,9,1,1\n", "UTC").unwrap();
        assert_eq!(list[1]["data"]["started_at"], "2020-02-05T12:00:16Z");
        assert_eq!(list[1]["data"]["ended_at"], "2020-02-05T12:00:43.5Z");
        assert_eq!(list[0]["data"]["from"], "2020-02-05");
    }

    #[test]
    fn the_first_of_an_ambiguous_hour_is_taken() {
        let list = read("j,m,Success,False,nbd,0,Full,11/3/2019 01:30:00,7,9,1,1\n", "America/New_York").unwrap();
        assert_eq!(list[1]["data"]["started_at"], "2019-11-03T05:30:00Z");
    }

    #[test]
    fn a_retry_joins_its_failed_predecessor_and_else_opens_its_own_run() {
        let rows = "j,m,Failed,False,nbd,,Increment,1/1/2020 01:00:00,7,9,1,1\n\
                    j,m,Failed,True,nbd,1,Increment,1/1/2020 02:00:00,7,9,1,1\n\
                    j,m,Success,True,nbd,1,Increment,1/1/2020 03:00:00,7,9,1,1\n\
                    j,m,Success,True,nbd,1,Increment,1/1/2020 04:00:00,7,9,1,1\n\
                    j,m,Failed,False,nbd,,Increment,1/1/2020 01:00:00,7,9,1,1\n";
        let list = read(rows, "UTC").unwrap();
        assert_eq!(list.len(), 5, "one machine, four sessions, one of them twice");
        let (first, own) = (&list[1]["data"]["run_id"], &list[4]["data"]["run_id"]);
        assert_eq!(&list[3]["data"]["run_id"], first);
        assert_eq!(list[3]["data"]["attempt"], 3);
        assert_eq!((own == first, &list[4]["data"]["attempt"]), (false, &json!(1)));
    }

    #[test]
    fn a_bad_value_is_named_with_its_row() {
        let error = read("j,m,Success,False,nbd,1,Full,31/12/2019 01:30:00,7,9,1,1\n", "UTC").unwrap_err();
        assert_eq!(error.to_string(), "row 1: CreationTime '31/12/2019 01:30:00' is not a time such as 12/31/2019 23:59:59");
    }

    #[test]
    fn what_is_not_a_report_is_known_by_its_header() {
        let refusal = |text: &str| events(text.as_bytes(), &TimeZone::UTC, "s", &KnownMachines::new()).unwrap_err().to_string();
        for text in ["", "x", "a,b\n1,2\n", &"a".repeat(1_000_000)] {
            let said = refusal(text);
            assert!(said.starts_with("the file is not a Veeam session report") && said.contains("JobName, VMName, Status"), "{said}");
        }
        assert!(refusal(&REPORT.replace("VMName", "Name")).ends_with("its header lacks VMName"));
        assert!(read("", "UTC").unwrap().is_empty(), "a report without a session is one");
        let marked = format!("\u{feff}{REPORT}");
        assert!(events(marked.as_bytes(), &TimeZone::UTC, "s", &KnownMachines::new()).is_ok(), "a byte order mark");
    }

    #[test]
    fn ids_do_not_depend_on_the_zone_and_a_known_machine_is_protected_again_only_from_an_earlier_day() {
        let row = "j,m,Success,False,nbd,27.5,Increment,2/5/2020 23:59:50,7,9,1,1\n";
        let ids = |zone| read(row, zone).unwrap().iter().map(|event| event["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids("UTC"), ids("Asia/Tokyo"));
        let report = format!("{REPORT}{row}");
        let again = |since: Date| {
            let known = KnownMachines::from([("m".to_owned(), since)]);
            events(report.as_bytes(), &TimeZone::UTC, "import", &known).unwrap().len()
        };
        let day = Date::constant(2020, 2, 5);
        assert_eq!((again(day), again(day.yesterday().unwrap()), again(day.tomorrow().unwrap())), (1, 1, 2));
    }
}
