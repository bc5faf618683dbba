//! What an event costs: CPU in this process and in its Postgres backend, by the batch size.
//!
//! `cargo bench -p granary-metering --bench ingest` prints one line a batch size. Customers have 50 machines with a run a day,
//! every other run with two disks, and some summaries beside them, as in the demo.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed, and it prints")]

use std::time::Instant;

use granary_metering::{ingest, rebuild_days};
use granary_tenants::TenantScope;
use granary_test_support::TestDatabase;

const MACHINES: u32 = 50;

/// Returns the CPU that a process has used, in microseconds.
fn cpu_micros(pid: &str) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks * 10_000.0
}

/// Writes the events of one day as the simulator would.
fn day(number: u32, out: &mut Vec<String>) {
    let date = jiff::civil::date(2024, 1, 1).saturating_add(jiff::Span::new().days(i64::from(number)));
    let source = "https://vbr.acme.example";
    if number == 0 {
        for machine in 0..MACHINES {
            out.push(format!(
                r#"{{"specversion":"1.0","id":"p-{machine}","source":"{source}","type":"machine.protected","time":"{date}T00:00:00Z","data":{{"source_system":"vcenter-1","vendor_id":"vm-{machine}","name":"web-{machine}","tier":"backup","from":"{date}"}}}}"#
            ));
        }
    }
    for machine in 0..MACHINES {
        let size = 100_000_000_000_u64 + u64::from(machine);
        let second = if machine % 2 == 0 {
            format!(r#",{{"index":1,"size_bytes":{size},"transferred_bytes":77777777,"state":"completed"}}"#)
        } else {
            String::new()
        };
        out.push(format!(
            r#"{{"specversion":"1.0","id":"r-{machine}-{date}-1","source":"{source}","type":"backup.completed","subject":"vm-{machine}","time":"{date}T02:31:07Z","data":{{"run_id":"r-{machine}-{date}","machine":{{"source_system":"vcenter-1","vendor_id":"vm-{machine}"}},"kind":"incremental","attempt":1,"has_warning":false,"started_at":"{date}T02:00:00Z","ended_at":"{date}T02:31:07Z","disks":[{{"index":0,"size_bytes":{size},"transferred_bytes":1234567890,"state":"completed"}}{second}]}}}}"#
        ));
    }
    out.push(format!(
        r#"{{"specversion":"1.0","id":"s-{date}","source":"{source}","type":"repository.sampled","time":"{date}T23:00:00Z","data":{{"repository":{{"vendor_id":"repo","name":"Main","kind":"nfs"}},"used_bytes":5000000000,"sampled_at":"{date}T23:00:00Z"}}}}"#
    ));
    out.push(format!(
        r#"{{"specversion":"1.0","id":"h-{date}","source":"{source}","type":"heartbeat.summary","time":"{date}T23:00:00Z","data":{{"day":"{date}","received":96,"expected":96,"last_at":"{date}T23:00:00Z"}}}}"#
    ));
}

async fn measure(test: &TestDatabase, scope: &TenantScope, batch_size: usize) {
    let mut events = Vec::new();
    (0..540).for_each(|number| day(number, &mut events));
    let batches: Vec<Vec<u8>> = events.chunks(batch_size).map(|chunk| format!("[{}]", chunk.join(",")).into_bytes()).collect();
    let mut spent = (0.0, 0.0);
    let started = Instant::now();
    for batch in &batches {
        let tx = test.tenants().begin_tenant(scope).await.unwrap();
        let pid = tx.query_one("select pg_backend_pid()", &[]).await.unwrap().get::<_, i32>(0).to_string();
        let before = (cpu_micros("self"), cpu_micros(&pid));
        let report = ingest(&tx, None, batch).await.unwrap();
        assert_eq!(report.invalid + report.conflicts, 0);
        tx.commit().await.unwrap();
        spent = (spent.0 + cpu_micros("self") - before.0, spent.1 + cpu_micros(&pid) - before.1);
    }
    let wall = started.elapsed().as_secs_f64();
    let count = f64::from(u32::try_from(events.len()).unwrap());
    let tx = test.tenants().begin_tenant(scope).await.unwrap();
    let started = Instant::now();
    rebuild_days(&tx, "2024-01".parse().unwrap(), "2025-06".parse().unwrap()).await.unwrap();
    let first = started.elapsed().as_secs_f64();
    let started = Instant::now();
    rebuild_days(&tx, "2024-01".parse().unwrap(), "2025-06".parse().unwrap()).await.unwrap();
    tx.commit().await.unwrap();
    println!(
        "batches of {batch_size:>6}: {:>6.0} events/s, client {:>5.1} µs/event, server {:>5.1} µs/event; {count} machine-days rebuilt in {first:.2} s, again in {:.2} s",
        count / wall,
        spent.0 / count,
        spent.1 / count,
        started.elapsed().as_secs_f64(),
    );
}

#[tokio::main]
async fn main() {
    let test = TestDatabase::new().await;
    let customers = test.two_customers().await;
    measure(&test, &customers.acme_scope(), 1_000).await;
    measure(&test, &customers.globex_scope(), 5_000).await;
    measure(&test, &customers.south_acme_scope(), 100).await;
}
