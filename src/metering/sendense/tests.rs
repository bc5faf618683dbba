//! The hazards of the tables, one by one, each with its expected count (see `tests/data/sendense/README.md`).

use serde_json::Value;

use super::*;

macro_rules! table {
    ($($name:literal),*) => {
        [$((
            $name,
            include_str!(concat!("../../../tests/data/sendense/acme/", $name, ".sql")),
            include_str!(concat!("../../../tests/data/sendense/acme/", $name, ".txt")),
        )),*]
    };
}

const FILES: [(&str, &str, &str); 7] = table!(
    "vm_replication_contexts",
    "vm_backup_contexts",
    "backup_jobs",
    "backup_disks",
    "backup_repositories",
    "backup_copies",
    "backup_chains"
);

/// Plans the fixture, with something else in its files.
fn plan_with(change: impl Fn(&str, &str) -> String) -> Plan {
    let mut tables = Tables::default();
    for (table, (name, definition, rows)) in Table::ALL.into_iter().zip(FILES) {
        assert_eq!(table.name(), name);
        tables.add_tab(table, definition, change(name, rows).as_bytes()).unwrap();
    }
    plan(&tables, &TimeZone::get("America/New_York").unwrap(), "sha").unwrap()
}

fn fixture() -> Plan {
    plan_with(|_, rows| rows.to_owned())
}

fn count(plan: &Plan, table: Table, verdict: Verdict, reason: &str) -> u64 {
    let found = plan.counts.iter().find(|count| (count.table, count.verdict, count.reason) == (table, verdict, reason));
    found.map_or(0, |count| count.rows)
}

fn runs<'p>(plan: &'p Plan, vendor_id: &str, vcenter: &str) -> Vec<&'p Value> {
    let is_own = |event: &&Value| {
        event["type"].as_str().unwrap().starts_with("backup.")
            && event["data"]["machine"] == serde_json::json!({"source_system": vcenter, "vendor_id": vendor_id})
    };
    plan.events.iter().filter(is_own).collect()
}

fn machine<'p>(plan: &'p Plan, kind: &str, vendor_id: &str) -> Vec<&'p Value> {
    plan.events.iter().filter(|event| event["type"] == kind && event["data"]["vendor_id"] == vendor_id).collect()
}

fn bytes(run: &Value) -> i64 {
    let disks = run["data"]["disks"].as_array().unwrap();
    disks.iter().filter(|disk| disk["state"] == "completed").map(|disk| disk["transferred_bytes"].as_i64().unwrap()).sum()
}

#[test]
fn every_row_of_every_table_has_a_verdict_and_every_event_a_name() {
    let plan = fixture();
    let rows = |table: Table| plan.counts.iter().filter(|count| count.table == table).map(|count| count.rows).sum::<u64>();
    assert_eq!(Table::ALL.map(rows), [5, 5, 14, 7, 3, 5, 2]);
    let taken: u64 = plan.counts.iter().filter(|count| count.verdict == Verdict::Taken).map(|count| count.rows).sum();
    let ids: std::collections::BTreeSet<&str> = plan.events.iter().map(|event| event["id"].as_str().unwrap()).collect();
    assert_eq!((taken, plan.events.len(), ids.len()), (22, 22, 22));
    assert_eq!(fixture(), plan, "the same dump makes the same events");
}

#[test]
fn h1_a_backup_of_several_disks_is_one_run_whose_bytes_are_counted_once() {
    let plan = fixture();
    assert_eq!(count(&plan, Table::BackupJobs, Verdict::Taken, "a run, with its parts and disks"), 2);
    assert_eq!(count(&plan, Table::BackupJobs, Verdict::Folded, "a disk of its parent's run"), 2);
    assert_eq!(count(&plan, Table::BackupDisks, Verdict::Folded, "a disk of its run"), 5);
    let first = runs(&plan, "vm-101", "vc1.acme.example")[0];
    assert_eq!((first["data"]["disks"].as_array().unwrap().len(), bytes(first)), (2, 4_700));
}

#[test]
fn h1_without_rows_of_disks_the_parts_tell_the_bytes() {
    let plan = plan_with(|name, rows| if name == "backup_disks" { String::new() } else { rows.to_owned() });
    let first = runs(&plan, "vm-101", "vc1.acme.example")[0];
    assert_eq!((first["data"]["disks"].as_array().unwrap().len(), bytes(first)), (2, 4_700));
}

#[test]
fn h2_two_machines_of_one_name_and_one_second_are_two_runs_and_one_row_twice_is_one() {
    let plan = fixture();
    let named = |plan: &Plan| plan.events.iter().filter(|event| event["subject"] == "backup-web01-1760061600").count();
    assert_eq!(named(&plan), 2);
    assert_eq!(bytes(runs(&plan, "vm-101", "vc2.acme.example")[0]), 200);
    assert_eq!(bytes(runs(&plan, "vm-101", "vc1.acme.example")[1]), 300, "each has its own disks");
    let twice = plan_with(|name, rows| if name == "backup_jobs" { rows.repeat(2) } else { rows.to_owned() });
    assert_eq!(twice.events, plan.events);
    let left = count(&plan, Table::BackupCopies, Verdict::LeftOut, "its backup's id names several runs");
    assert_eq!(left, 1, "which of the two was copied, nobody knows");
    // One row's machine is gone, twice, and is counted there.
    assert_eq!(count(&twice, Table::BackupJobs, Verdict::Folded, "the same row again"), 13);
}

#[test]
fn h3_a_job_that_failed_and_completed_later_is_two_events_of_one_run() {
    let later = plan_with(|_, rows| {
        rows.lines()
            .map(|line| {
                let is_late = line.starts_with("backup-web01-1760148000") || line.starts_with("for 300 s");
                let line = if is_late { line.replace("\tfailed\t", "\tcompleted\t") } else { line.to_owned() };
                if line.starts_with("for 300 s") {
                    line.replace("\t\\N", "\t2025-10-11 02:09:00\n").trim_end().to_owned() + "\n"
                } else {
                    line + "\n"
                }
            })
            .collect()
    });
    let of = |plan: &Plan| plan.events.iter().find(|event| event["subject"] == "backup-web01-1760148000").unwrap().clone();
    let (before, after) = (of(&fixture()), of(&later));
    assert_eq!((&before["type"], &after["type"]), (&"backup.failed".into(), &"backup.completed".into()));
    assert_eq!(before["data"]["run_id"], after["data"]["run_id"]);
    assert_ne!(before["id"], after["id"]);
    assert_eq!((bytes(&before), bytes(&after)), (0, 150));
}

#[test]
fn h4_what_lost_its_parent_is_left_out_and_parts_without_one_are_one_run() {
    let plan = fixture();
    let left = |table, reason| count(&plan, table, Verdict::LeftOut, reason);
    assert_eq!(left(Table::BackupJobs, "its machine is in neither table of contexts"), 1);
    assert_eq!(left(Table::BackupDisks, "its job is not in the dump"), 1);
    assert_eq!(left(Table::BackupCopies, "its backup is no run of the dump"), 1);
    assert_eq!(left(Table::BackupChains, "its full backup is no run of the dump"), 1);
    assert_eq!(count(&plan, Table::BackupJobs, Verdict::Taken, "a run whose parent row is gone"), 1);
    assert_eq!(count(&plan, Table::BackupJobs, Verdict::Folded, "a disk of a run without a parent"), 1);
    let parts = runs(&plan, "vm-102", "vc1.acme.example")[0];
    assert_eq!((parts["type"].as_str().unwrap(), bytes(parts)), ("backup.failed", 600), "one disk was lost, the other was carried");
}

#[test]
fn h5_bytes_are_those_of_completed_disks_whatever_the_parent_or_a_failed_job_says() {
    let plan = fixture();
    let failed = runs(&plan, "vm-102", "vc1.acme.example")[1];
    assert_eq!((failed["type"].as_str().unwrap(), bytes(failed)), ("backup.failed", 0));
    let all: i64 = plan.events.iter().filter(|event| event["data"]["disks"].is_array()).map(bytes).sum();
    assert_eq!(all, 6_300);
}

#[test]
fn h6_timestamps_are_in_the_named_zone_datetimes_in_utc_and_nothing_ends_before_it_begins() {
    let plan = fixture();
    let of = |id: &str| plan.events.iter().find(|event| event["subject"] == id).unwrap()["data"].clone();
    let night = of("backup-web01-1762062600");
    assert_eq!((&night["started_at"], &night["ended_at"]), (&"2025-11-02T05:50:00Z".into(), &"2025-11-02T06:10:00Z".into()));
    // Given up without an end: the last that was heard of it is a datetime, 02:05 in UTC, long before 02:00 in New York.
    let silent = of("backup-web01-1760148000");
    assert_eq!((&silent["started_at"], &silent["ended_at"]), (&"2025-10-11T06:00:05Z".into(), &"2025-10-11T06:00:05Z".into()));
}

#[test]
fn h7_stored_bytes_come_from_the_gauge_of_a_repository_and_from_nothing_else() {
    let plan = fixture();
    let samples: Vec<_> = plan.events.iter().filter(|event| event["type"] == "repository.sampled").collect();
    let used: Vec<_> = samples.iter().map(|sample| sample["data"]["used_bytes"].as_i64().unwrap() >> 30).collect();
    assert_eq!(used, [12, 7]);
    assert_eq!(count(&plan, Table::BackupRepositories, Verdict::LeftOut, "nobody has looked how full it is"), 1);
    assert_eq!(count(&plan, Table::BackupChains, Verdict::Taken, "how much a chain holds, within its repository"), 1);
}

#[test]
fn h8_a_copy_is_stored_twice_and_protected_once() {
    let plan = fixture();
    assert_eq!(count(&plan, Table::BackupCopies, Verdict::Taken, "a copy of a run"), 1);
    assert_eq!(count(&plan, Table::BackupCopies, Verdict::Taken, "a copy that failed"), 1);
    assert_eq!(count(&plan, Table::BackupCopies, Verdict::LeftOut, "it has not ended; a later dump brings it"), 1);
    let copy = plan.events.iter().find(|event| event["type"] == "copy.completed").unwrap();
    assert_eq!(copy["data"]["run_id"], runs(&plan, "vm-101", "vc1.acme.example")[0]["data"]["run_id"]);
    let copies: Vec<_> = plan.events.iter().filter(|event| event["data"]["repository"]["is_copy"] == true).collect();
    assert_eq!((copies.len(), copies[0]["data"]["repository"]["vendor_id"].as_str()), (1, Some("repo-s3")));
    assert_eq!(plan.events.iter().filter(|event| event["type"].as_str().unwrap().starts_with("backup.")).count(), 9);
}

#[test]
fn h9_a_machine_in_both_tables_of_contexts_is_one_and_discovered_is_not_protected() {
    let plan = fixture();
    let taken = |table, reason| count(&plan, table, Verdict::Taken, reason);
    assert_eq!(taken(Table::VmReplicationContexts, "a machine that is replicated"), 2);
    assert_eq!(taken(Table::VmReplicationContexts, "a machine that was discovered; nothing is replicated"), 2);
    assert_eq!(taken(Table::VmReplicationContexts, "a machine whose backups name no other context"), 1);
    assert_eq!(taken(Table::VmBackupContexts, "a machine that is backed up"), 3);
    assert_eq!(count(&plan, Table::VmBackupContexts, Verdict::Folded, "the same machine, replicated since before"), 1);
    assert_eq!(count(&plan, Table::VmBackupContexts, Verdict::Folded, "the same machine in another repository"), 1);
    assert_eq!(machine(&plan, "machine.protected", "vm-102").len(), 1);
    assert!(machine(&plan, "machine.protected", "vm-107").is_empty());
    let tiers: Vec<_> = machine(&plan, "machine.protected", "vm-111")
        .iter()
        .map(|event| (event["data"]["tier"].clone(), event["data"]["from"].clone()))
        .collect();
    assert_eq!(tiers, [("replication".into(), "2025-10-20".into()), ("backup".into(), "2025-10-10".into())]);
    let lab = machine(&plan, "machine.discovered", "vm-107")[0];
    assert_eq!(lab["data"]["name"], "lab \"7\"\n(do not\\touch)");
}

#[test]
fn what_cannot_be_read_is_named_with_table_row_and_column() {
    let refusal = |rows: &str| {
        let mut tables = Tables::default();
        let (_, definition, _) = FILES[6];
        tables.add_tab(Table::BackupChains, definition, rows.as_bytes()).unwrap_err().to_string()
    };
    assert_eq!(refusal("a\tb\n"), "backup_chains: row 1 has 2 columns instead of 8");
    let mut tables = Tables::default();
    let said = tables.add_csv(Table::BackupCopies, b"id,status\n").unwrap_err().to_string();
    assert_eq!(said, "backup_copies: it lacks the columns source_backup_id, repository_id");
    let repositories = "id,name,repository_type,used_size_bytes,last_check_at\nr,R,nfs,twelve,2025-10-01 00:00:00\n";
    tables.add_csv(Table::BackupRepositories, repositories.as_bytes()).unwrap();
    let said = plan(&tables, &TimeZone::UTC, "sha").unwrap_err().to_string();
    assert_eq!(said, "backup_repositories, row 1: used_size_bytes 'twelve' is not a number");
}

#[test]
fn the_same_tables_as_csv_are_the_same_events() {
    let mut tables = Tables::default();
    let contexts = "created_at,context_id,vm_name,vmware_vm_id,vcenter_host,vm_path\n\
                    2025-10-08 10:00:00,b-1,\"web, \"\"1\"\"\",vm-1,vc1,\\N\n";
    let jobs = "id,vm_backup_context_id,vm_context_id,repository_id,backup_type,status,repository_path,bytes_transferred,error_message,created_at,completed_at,last_telemetry_at\n\
                backup-web-1,b-1,r-1,repo,full,failed,/r,5,\"two\nlines\",2025-10-09 02:00:00,NULL,2025-10-09 06:05:00.250\n";
    tables.add_csv(Table::VmBackupContexts, contexts.as_bytes()).unwrap();
    tables.add_csv(Table::BackupJobs, jobs.as_bytes()).unwrap();
    let plan = plan(&tables, &TimeZone::get("America/New_York").unwrap(), "sha").unwrap();
    let [machine, run] = plan.events.as_slice() else { panic!("{:?}", plan.events) };
    assert_eq!(machine["data"]["name"], "web, \"1\"");
    assert_eq!((&run["data"]["error"], &run["data"]["ended_at"]), (&"two\nlines".into(), &"2025-10-09T06:05:00.25Z".into()));
}
