//! Backup runs: from parents, the rows of their parts, and disks.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::dump::{Row, When};
use super::machines::{Key, Machines, machine};
use super::{Draft, SendenseError, Table};
use crate::imported::{envelope, id_of};

/// Where the parent of a backup of several disks says that it lies.
const PARENT: &str = "/multi-disk-parent";
const KINDS: [&str; 3] = ["full", "incremental", "differential"];
const GIB: i64 = 1 << 30;
/// How far the creation of a part may lie outside its parent's time, and two parts without a parent apart.
const SLACK: SignedDuration = SignedDuration::from_mins(5);
/// The longest run whose parts are looked for.
const LONGEST: SignedDuration = SignedDuration::from_hours(14 * 24);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Completed,
    Failed,
    Cancelled,
    Open,
}

/// A row of `backup_jobs` whose machine is known.
#[derive(Debug)]
pub(super) struct Job<'d> {
    id: &'d str,
    pub(super) machine: Key<'d>,
    context: Option<&'d str>,
    repository: &'d str,
    kind: &'d str,
    state: State,
    pub(super) created: When,
    started_at: Timestamp,
    ended_at: Timestamp,
    error: Option<&'d str>,
    bytes: i64,
    total_bytes: Option<i64>,
    disk: i32,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Whole,
    Parent,
    /// A row of one disk, which belongs to a parent if there is one.
    Part,
}

/// Which rows of jobs became runs, for those who name them.
#[derive(Debug, Default)]
pub(super) struct Runs<'d> {
    /// Repositories that a job wrote to itself.
    pub(super) primary: BTreeSet<&'d str>,
    by_job: HashMap<&'d str, Vec<(String, Key<'d>, Timestamp)>>,
}

/// Which run a job's id means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Named<'r, 'd> {
    /// Its id, its machine, and when it ended.
    Run(&'r str, Key<'d>, Timestamp),
    Several,
    None,
}

impl<'d> Runs<'d> {
    /// Finds the run of a job, whose id is a machine's name and a second.
    pub(super) fn named(&self, job: &str) -> Named<'_, 'd> {
        match self.by_job.get(job).map(Vec::as_slice) {
            Some([(run, machine, ended_at)]) => Named::Run(run, *machine, *ended_at),
            Some([_, ..]) => Named::Several,
            Some([]) | None => Named::None,
        }
    }
}

/// One disk as some row tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Disk {
    index: i32,
    size_bytes: i64,
    transferred_bytes: i64,
    state: &'static str,
}

/// Reads the jobs of machines that the dump knows, each row once.
pub(super) fn read<'d>(draft: &Draft<'d>, machines: &Machines<'d>) -> Result<Vec<Job<'d>>, SendenseError> {
    let mut jobs = Vec::new();
    for row in draft.tables.of(Table::BackupJobs) {
        if let Some(machine) = machines.of_job(row.text("vm_backup_context_id"), row.text("vm_context_id")) {
            jobs.push(Job::read(row, machine, draft)?);
        }
    }
    Ok(jobs)
}

impl<'d> Job<'d> {
    fn read(row: Row<'d>, machine: Key<'d>, draft: &Draft<'d>) -> Result<Self, SendenseError> {
        let id = row.required("id")?;
        let state = match row.required("status")? {
            "completed" => State::Completed,
            "failed" => State::Failed,
            "cancelled" => State::Cancelled,
            "pending" | "running" => State::Open,
            _ => return Err(row.bad("status", "is not a known state")),
        };
        let kind = row.required("backup_type")?;
        if !KINDS.contains(&kind) {
            return Err(row.bad("backup_type", "is none of full, incremental, differential"));
        }
        let created = row.required_when("created_at", draft.zone)?;
        let started_at = row.when("started_at", draft.zone)?.map_or(created.at, |started| started.not_before(created.at));
        // What was given up by a look at its silence has no end but the last that was heard of it.
        let ended = match row.when("completed_at", draft.zone)? {
            Some(ended) => Some(ended),
            None => row.when("last_telemetry_at", draft.zone)?,
        };
        let part = part_of(id);
        let role = match (row.required("repository_path")?, part) {
            (PARENT, _) => Role::Parent,
            (_, Some(_)) => Role::Part,
            (_, None) => Role::Whole,
        };
        let disk = row.number("disk_id")?.and_then(|disk| i32::try_from(disk).ok()).unwrap_or(0);
        Ok(Self {
            id,
            machine,
            context: row.text("vm_backup_context_id"),
            repository: row.text("repository_id").unwrap_or_default(),
            kind,
            state,
            created,
            started_at,
            ended_at: ended.map_or(started_at, |ended| ended.not_before(started_at)),
            error: row.text("error_message"),
            bytes: row.number("bytes_transferred")?.unwrap_or(0),
            total_bytes: row.number("total_bytes")?,
            disk: part.unwrap_or(disk),
            role,
        })
    }

    /// Names the run by what its row will always be: the id alone is a machine's name and a second.
    fn run_id(&self) -> String {
        let (vcenter, vendor_id) = self.machine;
        id_of(&["backup_jobs", self.id, vcenter, vendor_id, &self.created.written.to_string()])
    }

    /// Tells whether a row was made while this one ran.
    fn spans(&self, other: &Self) -> bool {
        let early = self.created.at.duration_since(other.created.at);
        let late = other.created.at.duration_since(self.ended_at.max(self.created.at));
        self.machine == other.machine && self.kind == other.kind && early <= SLACK && late <= SLACK
    }

    /// The row's own bytes as those of its one disk.
    fn as_disk(&self) -> Disk {
        let state = match self.state {
            State::Completed => "completed",
            State::Cancelled => "cancelled",
            State::Failed | State::Open => "failed",
        };
        Disk { index: self.disk, size_bytes: self.total_bytes.unwrap_or(self.bytes), transferred_bytes: self.bytes, state }
    }

    /// The end of a run without a parent is that of its parts: it failed where one of them did.
    fn ending(&self, parts: &[&Self]) -> (State, Timestamp, Option<&'d str>) {
        if self.role != Role::Part {
            return (self.state, self.ended_at, self.error);
        }
        let all = || std::iter::once(self).chain(parts.iter().copied());
        let rank = |state: State| [State::Completed, State::Cancelled, State::Failed, State::Open].iter().position(|known| *known == state);
        let worst = all().max_by_key(|part| rank(part.state)).unwrap_or(self);
        (worst.state, all().map(|part| part.ended_at).max().unwrap_or(self.ended_at), worst.error)
    }

    fn event(&self, source: &str, (state, ended_at, error): (State, Timestamp, Option<&str>), disks: &[Disk]) -> Value {
        let run = self.run_id();
        let disks: Vec<Value> = disks
            .iter()
            .map(|disk| {
                json!({"index": disk.index, "size_bytes": disk.size_bytes, "transferred_bytes": disk.transferred_bytes, "state": disk.state})
            })
            .collect();
        let is_whole = disks.iter().all(|disk| disk["state"] == "completed");
        let mut data = json!({
            "run_id": run, "machine": machine(self.machine), "kind": self.kind, "attempt": 1,
            "started_at": self.started_at.to_string(), "ended_at": ended_at.to_string(), "disks": disks,
        });
        let (event_type, state) = match state {
            State::Completed => {
                data["has_warning"] = json!(!is_whole);
                ("backup.completed", "completed")
            }
            State::Cancelled => ("backup.cancelled", "cancelled"),
            State::Failed | State::Open => {
                data["error"] = json!(error.unwrap_or("the job failed"));
                ("backup.failed", "failed")
            }
        };
        envelope(&id_of(&[&run, state]), event_type, ended_at, source, self.id, &data)
    }
}

/// Reads the disk's number from the id of a part: `backup-web01-disk2-20251008-013000`.
fn part_of(id: &str) -> Option<i32> {
    let mut pieces = id.rsplitn(4, '-');
    let (time, day, disk) = (pieces.next()?, pieces.next()?, pieces.next()?);
    let is_digits = |text: &str, length: usize| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    pieces.next().filter(|_| is_digits(time, 6) && is_digits(day, 8))?;
    disk.strip_prefix("disk")?.parse().ok()
}

/// Says which runs there were; what becomes of every row of jobs and disks is counted here.
pub(super) fn tell<'d>(draft: &mut Draft<'d>, jobs: &[Job<'d>]) -> Result<Runs<'d>, SendenseError> {
    let all = draft.tables.of(Table::BackupJobs).count();
    for _ in jobs.len()..all {
        draft.leave(Table::BackupJobs, "its machine is in neither table of contexts");
    }
    let mut seen = BTreeSet::new();
    let (repeated, mut own): (Vec<&Job<'_>>, Vec<&Job<'_>>) = jobs.iter().partition(|job| !seen.insert((job.run_id(), job.state as u8)));
    for _ in repeated {
        draft.fold(Table::BackupJobs, "the same row again");
    }
    own.sort_by_key(|job| (job.created.at, job.id));
    let parts = parts_of(&own);
    let mut parts_by_whole: HashMap<usize, Vec<&Job<'_>>> = HashMap::new();
    for (&part, &whole) in &parts {
        parts_by_whole.entry(whole).or_default().push(own[part]);
    }
    let mut disks = read_disks(draft)?;
    let mut runs = Runs { primary: jobs.iter().map(|job| job.repository).collect(), ..Runs::default() };
    for (index, job) in own.iter().enumerate() {
        if let Some(whole) = parts.get(&index) {
            let reason = if own[*whole].role == Role::Parent { "a disk of its parent's run" } else { "a disk of a run without a parent" };
            draft.fold(Table::BackupJobs, reason);
            continue;
        }
        let mut mine = parts_by_whole.remove(&index).unwrap_or_default();
        mine.sort_by_key(|part| (part.disk, part.created.at, part.id));
        if let Some(ended_at) = tell_run(draft, job, &mine, &mut disks) {
            for job in std::iter::once(*job).chain(mine) {
                runs.by_job.entry(job.id).or_default().push((own[index].run_id(), job.machine, ended_at));
            }
        }
    }
    for _ in disks.into_values().flatten() {
        draft.leave(Table::BackupDisks, "its job is not in the dump");
    }
    Ok(runs)
}

/// Says what a run was, and returns when it ended, if it has.
fn tell_run<'d>(
    draft: &mut Draft<'d>,
    job: &Job<'d>,
    parts: &[&Job<'d>],
    disks: &mut HashMap<&'d str, Vec<DiskRow<'d>>>,
) -> Option<Timestamp> {
    // The context keeps apart two machines that share a name and a second.
    let mut own = Vec::new();
    for id in std::iter::once(job.id).chain(parts.iter().map(|part| part.id)) {
        let Some(rows) = disks.get_mut(id) else { continue };
        own.extend(rows.extract_if(.., |row| row.context.is_none() || job.context.is_none() || row.context == job.context));
    }
    let ending = job.ending(parts);
    if ending.0 == State::Open {
        draft.leave(Table::BackupJobs, "it has not ended; a later dump brings it");
        own.iter().for_each(|_| draft.leave(Table::BackupDisks, "its run is left out"));
        return None;
    }
    let mut merged: BTreeMap<i32, Disk> = BTreeMap::new();
    for disk in own.iter().map(|row| row.disk) {
        draft.fold(Table::BackupDisks, "a disk of its run");
        merged.entry(disk.index).or_insert(disk);
    }
    // Rows of disks are the better witness; without them the parts are, and without those the row itself.
    if merged.is_empty() {
        let parts = parts.iter().map(|part| part.as_disk());
        let lone = (parts.len() == 0 || job.role == Role::Part).then(|| job.as_disk());
        merged = parts.chain(lone).map(|disk| (disk.index, disk)).collect();
    }
    let reason = match job.role {
        _ if ending.0 == State::Cancelled => "a run that was cancelled",
        Role::Parent => "a run, with its parts and disks",
        Role::Whole => "a run",
        Role::Part => "a run whose parent row is gone",
    };
    let event = job.event(draft.source, ending, &merged.into_values().collect::<Vec<_>>());
    draft.take(Table::BackupJobs, reason, event);
    Some(ending.1)
}

/// Finds for every part the row that stands for its run: its parent, else the first of the parts beside it.
fn parts_of(jobs: &[&Job<'_>]) -> HashMap<usize, usize> {
    let mut by_machine: HashMap<Key<'_>, Vec<usize>> = HashMap::new();
    for (index, job) in jobs.iter().enumerate() {
        by_machine.entry(job.machine).or_default().push(index);
    }
    let mut found = HashMap::new();
    for of_machine in by_machine.values() {
        let parents: Vec<usize> = of_machine.iter().copied().filter(|index| jobs[*index].role == Role::Parent).collect();
        let mut first: Option<usize> = None;
        for &part in of_machine.iter().filter(|index| jobs[**index].role == Role::Part) {
            let distance = |parent: &usize| jobs[*parent].created.at.duration_since(jobs[part].created.at).abs();
            // Rows are in the order of their creation: the nearest that fits on either side.
            let here = parents.partition_point(|parent| jobs[*parent].created.at <= jobs[part].created.at);
            let spans = |parent: &&usize| jobs[**parent].spans(jobs[part]);
            let before = parents[..here].iter().rev().take_while(|parent| distance(parent) <= LONGEST).find(spans);
            let after = parents[here..].iter().take_while(|parent| distance(parent) <= SLACK).find(spans);
            let parent = before.into_iter().chain(after).copied().min_by_key(distance);
            let beside = |first: &usize| {
                let apart = jobs[part].created.at.duration_since(jobs[*first].created.at);
                apart <= SLACK && jobs[part].kind == jobs[*first].kind && jobs[part].disk != jobs[*first].disk
            };
            match (parent, first.filter(beside)) {
                (Some(whole), _) | (None, Some(whole)) => _ = found.insert(part, whole),
                (None, None) => first = Some(part),
            }
        }
    }
    found
}

/// A row of `backup_disks`.
struct DiskRow<'d> {
    context: Option<&'d str>,
    disk: Disk,
}

fn read_disks<'d>(draft: &Draft<'d>) -> Result<HashMap<&'d str, Vec<DiskRow<'d>>>, SendenseError> {
    let mut disks: HashMap<&str, Vec<DiskRow<'_>>> = HashMap::new();
    for row in draft.tables.of(Table::BackupDisks) {
        let index = row.number("disk_index")?.and_then(|index| i32::try_from(index).ok());
        let transferred_bytes = row.number("bytes_transferred")?.unwrap_or(0);
        let size = row.number("size_gb")?.and_then(|size| size.checked_mul(GIB));
        let state = match row.required("status")? {
            "completed" => "completed",
            "failed" => "failed",
            "pending" | "running" => "running",
            _ => return Err(row.bad("status", "is not a known state")),
        };
        let disk = Disk {
            index: index.ok_or_else(|| row.bad("disk_index", "is not the number of a disk"))?,
            size_bytes: size.unwrap_or(transferred_bytes),
            transferred_bytes,
            state,
        };
        disks.entry(row.required("backup_job_id")?).or_default().push(DiskRow { context: row.text("vm_backup_context_id"), disk });
    }
    Ok(disks)
}
