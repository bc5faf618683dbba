//! A past that lies in the tables of a Sendense appliance, as usage events.
//!
//! The tables hold states, not facts, and most of them say the same thing twice. What becomes of every row is told: it is taken
//! as a usage event, folded into another row's, or left out, with the reason. In short:
//!
//! - A machine is (vCenter, id in it), however many contexts it has; discovered is not protected.
//! - A backup of several disks is one run: the parent row is taken, rows and disks of its parts are folded into it, and its
//!   bytes are those of its completed disks, never those of the parent beside them.
//! - The id of a job is a machine's name and a second: alone it names nothing. An event is named by a hash of what a row is
//!   and will stay: table, id, machine, creation, and the state that it tells. A job that failed and completed later is two
//!   events of one run.
//! - Stored bytes are what a repository says of itself, once; chains and copies lie in it, are told, and are not added.
//! - A row whose parent is not there is left out: the appliance deletes parents, and dumps are not of one instant.
//! - `timestamp` columns are in the zone of the session that dumped them, `datetime` columns in UTC.

mod dump;
mod jobs;
mod machines;
mod storage;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use granary_types::{Classify, ErrorKind};
use jiff::tz::TimeZone;
use serde::Serialize;
use serde_json::Value;

use self::dump::Rows;

/// A table that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Table {
    VmReplicationContexts,
    VmBackupContexts,
    BackupJobs,
    BackupDisks,
    BackupRepositories,
    BackupCopies,
    BackupChains,
}

impl Table {
    /// All tables, in the order in which they are looked at.
    pub const ALL: [Self; 7] = [
        Self::VmReplicationContexts,
        Self::VmBackupContexts,
        Self::BackupJobs,
        Self::BackupDisks,
        Self::BackupRepositories,
        Self::BackupCopies,
        Self::BackupChains,
    ];

    /// Returns its name in the database, which its files bear.
    pub const fn name(self) -> &'static str {
        match self {
            Self::VmReplicationContexts => "vm_replication_contexts",
            Self::VmBackupContexts => "vm_backup_contexts",
            Self::BackupJobs => "backup_jobs",
            Self::BackupDisks => "backup_disks",
            Self::BackupRepositories => "backup_repositories",
            Self::BackupCopies => "backup_copies",
            Self::BackupChains => "backup_chains",
        }
    }

    /// The columns without which it cannot be read.
    const fn columns(self) -> &'static [&'static str] {
        match self {
            Self::VmReplicationContexts => &["context_id", "vm_name", "vmware_vm_id", "vcenter_host", "current_status", "created_at"],
            Self::VmBackupContexts => &["context_id", "vm_name", "vmware_vm_id", "vcenter_host", "created_at"],
            Self::BackupJobs => &["id", "vm_context_id", "backup_type", "status", "repository_path", "bytes_transferred", "created_at"],
            Self::BackupDisks => &["id", "backup_job_id", "disk_index", "bytes_transferred", "status"],
            Self::BackupRepositories => &["id", "name", "repository_type", "used_size_bytes", "last_check_at"],
            Self::BackupCopies => &["id", "source_backup_id", "repository_id", "status"],
            Self::BackupChains => &["id", "full_backup_id"],
        }
    }
}

/// A dump that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SendenseError {
    #[error("{}: {problem}", table.name())]
    Unreadable { table: Table, problem: String },
    #[error("{}, row {row}: {column} '{value}' {problem}", table.name())]
    BadValue { table: Table, row: u64, column: &'static str, value: String, problem: &'static str },
}

impl Classify for SendenseError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Invalid
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unreadable { .. } => "dump_unreadable",
            Self::BadValue { .. } => "dump_value_invalid",
        }
    }
}

/// The tables of a dump, as far as they are there.
#[derive(Debug, Default)]
pub struct Tables(BTreeMap<Table, Rows>);

impl Tables {
    /// Takes what `mysqldump --tab` wrote of a table: its definition and its rows.
    ///
    /// # Errors
    /// When the definition lacks a column that is needed, or a row has other columns than it.
    pub fn add_tab(&mut self, table: Table, definition: &str, content: &[u8]) -> Result<(), SendenseError> {
        self.0.insert(table, Rows::of_tab(table, definition, content)?);
        Ok(())
    }

    /// Takes a table as comma-separated values with a header; an empty field, `\N` and `NULL` are null.
    ///
    /// # Errors
    /// When the header lacks a column that is needed, or a row has other columns than it.
    pub fn add_csv(&mut self, table: Table, content: &[u8]) -> Result<(), SendenseError> {
        self.0.insert(table, Rows::of_csv(table, content)?);
        Ok(())
    }

    /// Tells how many rows there are.
    pub fn rows(&self) -> u64 {
        self.0.values().map(Rows::len).sum()
    }

    fn of(&self, table: Table) -> impl Iterator<Item = dump::Row<'_>> {
        self.0.get(&table).into_iter().flat_map(Rows::iter)
    }
}

/// What becomes of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is a usage event.
    Taken,
    /// Another row's event says it as well.
    Folded,
    /// It says nothing that could be counted.
    LeftOut,
}

/// How many rows of a table met a verdict, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Count {
    pub table: Table,
    pub verdict: Verdict,
    pub reason: &'static str,
    pub rows: u64,
}

/// The usage events of a dump, machines first, and what became of every row.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub events: Vec<Value>,
    pub counts: Vec<Count>,
}

/// Counts verdicts and keeps events.
struct Draft<'d> {
    tables: &'d Tables,
    zone: &'d TimeZone,
    source: &'d str,
    events: Vec<Value>,
    counts: BTreeMap<(Table, Verdict, &'static str), u64>,
}

impl Draft<'_> {
    fn take(&mut self, table: Table, reason: &'static str, event: Value) {
        self.events.push(event);
        self.count(table, Verdict::Taken, reason);
    }

    fn fold(&mut self, table: Table, reason: &'static str) {
        self.count(table, Verdict::Folded, reason);
    }

    fn leave(&mut self, table: Table, reason: &'static str) {
        self.count(table, Verdict::LeftOut, reason);
    }

    fn count(&mut self, table: Table, verdict: Verdict, reason: &'static str) {
        *self.counts.entry((table, verdict, reason)).or_default() += 1;
    }
}

/// Makes usage events of a dump: the same of the same, whenever and however often it is read.
///
/// # Errors
/// When a value in it cannot be read; the row is counted from 1.
pub fn plan(tables: &Tables, zone: &TimeZone, source: &str) -> Result<Plan, SendenseError> {
    let mut draft = Draft { tables, zone, source, events: Vec::new(), counts: BTreeMap::new() };
    let machines = machines::read(&draft)?;
    let jobs = jobs::read(&draft, &machines)?;
    machines::tell(&mut draft, &machines, &jobs);
    let runs = jobs::tell(&mut draft, &jobs)?;
    storage::tell(&mut draft, &runs)?;
    let counts = draft.counts.into_iter().map(|((table, verdict, reason), rows)| Count { table, verdict, reason, rows }).collect();
    Ok(Plan { events: draft.events, counts })
}
