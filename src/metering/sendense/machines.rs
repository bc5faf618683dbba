//! Machines: one for each (vCenter, id in it), from two tables of contexts that may both hold it, more than once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Value, json};

use super::dump::When;
use super::jobs::Job;
use super::{Draft, SendenseError, Table};
use crate::imported::{envelope, id_of};

/// Who a machine is: its vCenter and its id there.
pub(super) type Key<'d> = (&'d str, &'d str);

/// States of a replication that goes on.
const REPLICATING: [&str; 4] = ["replicating", "ready_for_failover", "failed_over_test", "failed"];
/// States in which nothing is replicated.
const OTHER_STATES: [&str; 4] = ["discovered", "failed_over_live", "completed", "cleanup_required"];

/// A row of either table of contexts.
#[derive(Debug)]
struct Context<'d> {
    id: &'d str,
    key: Key<'d>,
    name: &'d str,
    os: Option<&'d str>,
    created: When,
    /// From when on it is replicated; never for a context of backups.
    replicated: Option<When>,
}

/// All contexts, and which machine each is about.
#[derive(Debug)]
pub(super) struct Machines<'d> {
    replications: Vec<Context<'d>>,
    backups: Vec<Context<'d>>,
    by_replication: HashMap<&'d str, Key<'d>>,
    by_backup: HashMap<&'d str, Key<'d>>,
}

impl<'d> Machines<'d> {
    /// Finds the machine of a job: by its context of backups, else by the other one, which older jobs name alone.
    pub(super) fn of_job(&self, backup: Option<&str>, replication: Option<&str>) -> Option<Key<'d>> {
        let by_backup = backup.and_then(|id| self.by_backup.get(id));
        let by_other = || replication.and_then(|id| self.by_replication.get(id).or_else(|| self.by_backup.get(id)));
        by_backup.or_else(by_other).copied()
    }
}

pub(super) fn read<'d>(draft: &Draft<'d>) -> Result<Machines<'d>, SendenseError> {
    let mut replications = read_contexts(draft, Table::VmReplicationContexts)?;
    let mut backups = read_contexts(draft, Table::VmBackupContexts)?;
    // The earliest context of a machine tells it, whatever the order of the rows.
    replications.sort_by_key(|context| (context.created.at, context.id));
    backups.sort_by_key(|context| (context.created.at, context.id));
    let index = |contexts: &[Context<'d>]| contexts.iter().map(|context| (context.id, context.key)).collect();
    Ok(Machines { by_replication: index(&replications), by_backup: index(&backups), replications, backups })
}

fn read_contexts<'d>(draft: &Draft<'d>, table: Table) -> Result<Vec<Context<'d>>, SendenseError> {
    let mut contexts = Vec::new();
    for row in draft.tables.of(table) {
        let state = row.text("current_status").filter(|_| table == Table::VmReplicationContexts);
        if state.is_some_and(|state| !REPLICATING.contains(&state) && !OTHER_STATES.contains(&state)) {
            return Err(row.bad("current_status", "is not a known state"));
        }
        let is_replicated = state.is_some_and(|state| REPLICATING.contains(&state));
        contexts.push(Context {
            id: row.required("context_id")?,
            key: (row.required("vcenter_host")?, row.required("vmware_vm_id")?),
            name: row.required("vm_name")?,
            os: row.text("os_type"),
            created: row.required_when("created_at", draft.zone)?,
            replicated: if is_replicated { row.when("first_job_at", draft.zone)? } else { None },
        });
    }
    Ok(contexts)
}

/// Says which machines there are and what protects them. A row is at most one event.
pub(super) fn tell<'d>(draft: &mut Draft<'d>, machines: &Machines<'d>, jobs: &[Job<'d>]) {
    let mut first_backup: BTreeMap<Key<'_>, When> = BTreeMap::new();
    let created = machines.backups.iter().map(|context| (context.key, context.created));
    for (key, at) in created.chain(jobs.iter().map(|job| (job.machine, job.created))) {
        first_backup.entry(key).and_modify(|first| *first = at.min(*first)).or_insert(at);
    }
    let in_backups: BTreeSet<Key<'_>> = machines.backups.iter().map(|context| context.key).collect();
    let mut replicated: BTreeMap<Key<'_>, When> = BTreeMap::new();
    let mut told = BTreeSet::new();
    for context in &machines.replications {
        let table = Table::VmReplicationContexts;
        if !told.insert(context.key) {
            draft.fold(table, "the same machine in another row");
        } else if let Some(from) = context.replicated {
            replicated.insert(context.key, from);
            let event = protected(draft.source, context, "replication", from);
            draft.take(table, "a machine that is replicated", event);
        } else if let (Some(&from), false) = (first_backup.get(&context.key), in_backups.contains(&context.key)) {
            let event = protected(draft.source, context, "backup", from);
            draft.take(table, "a machine whose backups name no other context", event);
        } else {
            let event = discovered(draft.source, context);
            draft.take(table, "a machine that was discovered; nothing is replicated", event);
        }
    }
    told.clear();
    for context in &machines.backups {
        let table = Table::VmBackupContexts;
        let from = first_backup.get(&context.key).copied().unwrap_or(context.created);
        if !told.insert(context.key) {
            draft.fold(table, "the same machine in another repository");
        } else if replicated.get(&context.key).is_some_and(|since| since.written.date() <= from.written.date()) {
            draft.fold(table, "the same machine, replicated since before");
        } else {
            let event = protected(draft.source, context, "backup", from);
            draft.take(table, "a machine that is backed up", event);
        }
    }
}

/// What is said is part of the name: a machine with a new name is another saying, not a contradiction.
fn protected(source: &str, context: &Context<'_>, tier: &str, from: When) -> Value {
    let day = from.written.date().to_string();
    let (vcenter, vendor_id) = context.key;
    let id = id_of(&["protected", vcenter, vendor_id, context.name, context.os.unwrap_or_default(), tier, &day]);
    let mut data = machine(context.key);
    data["name"] = json!(context.name);
    data["os"] = json!(context.os);
    data["tier"] = json!(tier);
    data["from"] = json!(day);
    envelope(&id, "machine.protected", from.at, source, vendor_id, &data)
}

fn discovered(source: &str, context: &Context<'_>) -> Value {
    let (vcenter, vendor_id) = context.key;
    let id = id_of(&["discovered", vcenter, vendor_id, context.name, context.os.unwrap_or_default()]);
    let mut data = machine(context.key);
    data["name"] = json!(context.name);
    data["os"] = json!(context.os);
    envelope(&id, "machine.discovered", context.created.at, source, vendor_id, &data)
}

/// The source system of a machine is its vCenter: two of them may use one id.
pub(super) fn machine((vcenter, vendor_id): Key<'_>) -> Value {
    json!({"source_system": vcenter, "vendor_id": vendor_id})
}
