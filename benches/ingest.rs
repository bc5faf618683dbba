//! What taking usage events costs beside the merge itself: `cargo bench --bench ingest`, shorter with `-- --batches 4`.
//!
//! The binary serves on a Postgres of its own with fsync on; clients send batches of 1,000 events of 50 customers over HTTP, all of
//! them new. Beside it as many psql run the same merge from staged tables into 50 other silos: one transaction a batch, the lock, the
//! insert of events that are not there yet, machines, runs, disks and the marks for the lake. Prints events a second of both, and what
//! an event costs the server and Postgres in CPU.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use granary_db::embedded::Server;
use granary_foundation::Silent;
use reqwest::Client;
use serde_json::json;

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const CUSTOMERS: usize = 50;
const CONNECTIONS: usize = 4;
const BATCH: usize = 1_000;
const SHARE: f64 = 0.6;
const LEAST: f64 = 20_000.0;

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let mut arguments = std::env::args().skip_while(|argument| argument != "--batches");
    let batches: usize = arguments.nth(1).map_or(20, |text| text.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let postgres = runtime.block_on(Server::start(folder.path(), Silent::shared())).unwrap();
    run(folder.path(), &["msp", "add", "NORTH", "--name", "Northern Backup"]);
    let keys: Vec<String> = (0..CUSTOMERS).map(|number| customer(folder.path(), number)).collect();
    let (mut server, base) = serve(folder.path());
    // Everybody is known once before anything is measured.
    runtime.block_on(send(&base, &keys, 0..1));
    let events = f64::from(u32::try_from(CUSTOMERS * batches * BATCH).unwrap());
    let cpu = (cpu_seconds(&[server.id()]), cpu_seconds(&backends(&postgres)));
    let begun = Instant::now();
    runtime.block_on(send(&base, &keys, 1..batches + 1));
    let measured = events / begun.elapsed().as_secs_f64();
    let spent = (cpu_seconds(&[server.id()]) - cpu.0, cpu_seconds(&backends(&postgres)) - cpu.1);
    Command::new("kill").args(["-INT", &server.id().to_string()]).status().unwrap();
    server.wait().unwrap();
    let begun = stage(&postgres, folder.path());
    merge(folder.path(), &postgres, 1..batches + 1);
    let beside = events / begun.elapsed().as_secs_f64();
    println!("{:<62} {:>10} {:>10} {:>7} {:>7}", "promise", "measured", "beside", "ratio", "limit");
    println!(
        "{:<62} {measured:>10.0} {beside:>10.0} {:>7.2} {SHARE:>7.2}",
        "events a second over HTTP, and by psql from tables",
        measured / beside
    );
    println!("{:<62} {measured:>10.0} {LEAST:>10.0} {:>7.2} {:>7.2}", "events a second over HTTP", measured / LEAST, 1.0);
    println!("CPU an event: {:.1} µs in the server, {:.1} µs in Postgres", spent.0 * 1e6 / events, spent.1 * 1e6 / events);
    runtime.block_on(postgres.stop()).unwrap();
}

/// Adds a customer, one more to compare with, and a key; the customers of both kinds have codes in the same order.
fn customer(data: &Path, number: usize) -> String {
    run(data, &["customer", "add", &format!("H{number}"), "--name", "Over HTTP", "--source", "vbr"]);
    run(data, &["customer", "add", &format!("P{number}"), "--name", "By psql"]);
    let key = run(data, &["api-key", "add", "--customer", &format!("H{number}")]);
    key.split('"').find(|word| word.starts_with("grn_live_")).unwrap().to_owned()
}

/// Sends a range of batches of every customer, over as many connections as there are.
async fn send(base: &str, keys: &[String], batches: std::ops::Range<usize>) {
    let next = Arc::new(AtomicUsize::new(batches.start * CUSTOMERS));
    let client = Client::new();
    let mut senders = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let (client, url, keys, next) = (client.clone(), format!("{base}/api/v1/usage/events"), keys.to_vec(), Arc::clone(&next));
        let end = batches.end * CUSTOMERS;
        senders.spawn(async move {
            loop {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                if turn >= end {
                    return;
                }
                let request = client.post(&url).bearer_auth(&keys[turn % CUSTOMERS]);
                let request = request.header("content-type", "application/cloudevents-batch+json").body(batch(turn / CUSTOMERS));
                let response = request.send().await.unwrap();
                assert!(response.status().is_success(), "{}", response.text().await.unwrap());
            }
        });
    }
    senders.join_all().await;
}

/// A day of 995 machines' runs, every other with two disks, and five summaries.
fn batch(number: usize) -> String {
    let day = jiff::civil::date(2024, 1, 1).saturating_add(jiff::Span::new().days(i64::try_from(number).unwrap()));
    let event = |id: String, kind: &str, data: serde_json::Value| json!({"specversion": "1.0", "source": "vbr", "id": id, "type": kind, "subject": "fleet", "time": format!("{day}T02:31:07Z"), "data": data});
    let disk =
        |index: usize| json!({"index": index, "size_bytes": 107_374_182_400_u64, "transferred_bytes": 1_234_567_890, "state": "completed"});
    let mut events: Vec<_> = (0..BATCH - 5)
        .map(|machine| {
            let disks: Vec<_> = (0..=machine % 2).map(disk).collect();
            event(
                format!("{number}-run-{machine}"),
                "backup.completed",
                json!({"run_id": format!("{number}-{machine}"), "machine": {"source_system": "vcenter-1", "vendor_id": format!("vm-{machine}")},
                    "kind": "incremental", "attempt": 1, "has_warning": false, "started_at": format!("{day}T02:00:00Z"),
                    "ended_at": format!("{day}T02:31:07Z"), "disks": disks}),
            )
        })
        .collect();
    events.extend((0..5).map(|hour| {
        let at = format!("{day}T0{hour}:00:00Z");
        let data =
            json!({"repository": {"vendor_id": "repo", "name": "Main", "kind": "nfs"}, "used_bytes": 5_000_000_000_u64, "sampled_at": at});
        event(format!("{number}-sample-{hour}"), "repository.sampled", data)
    }));
    serde_json::to_string(&events).unwrap()
}

/// Keeps what came over HTTP in tables beside the silos, by batch, and returns when that was done.
fn stage(postgres: &Server, folder: &Path) -> Instant {
    let mut script = "create schema staged;\n".to_owned();
    for (number, schema) in schemas(postgres, 'H').iter().enumerate() {
        for (table, batch) in [
            ("usage_events", "split_part(id, '-', 1)::int"),
            ("backup_runs", "split_part(vendor_id, '-', 1)::int"),
            ("storage_samples", "(sampled_at::date - date '2024-01-01')"),
        ] {
            writeln!(script, "create table staged.{table}_{number} as select {batch} as batch, * from {schema}.{table} order by 1;")
                .unwrap();
            writeln!(script, "create index on staged.{table}_{number} (batch);").unwrap();
        }
        writeln!(
            script,
            "create table staged.backup_disks_{number} as select split_part(r.vendor_id, '-', 1)::int as batch, d.*
                from {schema}.backup_disks d join {schema}.backup_runs r on r.id = d.run_id order by 1;
             create index on staged.backup_disks_{number} (batch); create table staged.machines_{number} as select * from {schema}.machines;
             create table staged.repositories_{number} as select * from {schema}.repositories;"
        )
        .unwrap();
    }
    // Each silo is written into once before, as over HTTP.
    script.push_str("vacuum analyze;\n");
    psql(postgres, folder, "stage", &script);
    merge(folder, postgres, 0..1);
    Instant::now()
}

/// Runs the merge of a range of batches, over as many psql as there are connections.
fn merge(folder: &Path, postgres: &Server, batches: std::ops::Range<usize>) {
    let peers = schemas(postgres, 'P');
    let mut scripts = vec![String::new(); CONNECTIONS];
    for (turn, batch) in batches.flat_map(|batch| (0..CUSTOMERS).map(move |_| batch)).enumerate() {
        let number = turn % CUSTOMERS;
        write_merge(&mut scripts[turn % CONNECTIONS], &peers[number], number, batch);
    }
    let children: Vec<Child> = scripts
        .iter()
        .enumerate()
        .map(|(index, script)| {
            let file = folder.join(format!("merge-{index}.sql"));
            std::fs::write(&file, script).unwrap();
            let mut psql = Command::new("psql");
            psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", postgres.url().reveal(), "-f"]).arg(&file);
            psql.stdout(Stdio::null()).spawn().unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
}

/// One batch as the server merges it: what is there already is left out, then each table is written by one statement.
fn write_merge(script: &mut String, schema: &str, number: usize, batch: usize) {
    let insert = |script: &mut String, table: &str, key: &str| {
        let columns = match table {
            "usage_events" => "occurred_at, received_at, source, id, type, subject, content_hash, data",
            "backup_runs" => {
                "id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on, attempt_count, kind, state, source, vendor_id, error"
            }
            "backup_disks" => "run_id, size_bytes, transferred_bytes, ended_at, disk_index, attempt, state, corrected_at",
            _ => "repository_id, sampled_at, billing_on, used_bytes",
        };
        writeln!(
            script,
            "insert into {table} ({columns}) select {columns} from staged.{table}_{number} as given where batch = {batch}
                and not exists (select from {table} as known where {key});"
        )
        .unwrap();
    };
    writeln!(script, "begin; set local search_path = {schema}; select pg_advisory_xact_lock(7301, hashtext(current_schema()));").unwrap();
    insert(script, "usage_events", "known.source = given.source and known.id = given.id");
    writeln!(
        script,
        "insert into machines (id, source_system, vendor_id, name, discovered_at)
            select id, source_system, vendor_id, vendor_id, discovered_at from staged.machines_{number}
            on conflict (id) do update set discovered_at = excluded.discovered_at where excluded.discovered_at < machines.discovered_at;
         insert into repositories select * from staged.repositories_{number} on conflict (id) do update set updated_at = excluded.updated_at;"
    )
    .unwrap();
    insert(script, "backup_runs", "known.id = given.id");
    insert(script, "backup_disks", "known.run_id = given.run_id and known.disk_index = given.disk_index");
    insert(script, "storage_samples", "known.repository_id = given.repository_id and known.sampled_at = given.sampled_at");
    writeln!(script, "commit;").unwrap();
}

/// Returns the schemas of the customers whose codes begin so, in the order of their numbers.
fn schemas(postgres: &Server, first: char) -> Vec<String> {
    let sql = format!("select schema_name from control.customers where code like '{first}%' order by substr(code, 2)::int");
    let output = Command::new("psql").args(["-qXAt", "-d", postgres.url().reveal(), "-c", &sql]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn psql(postgres: &Server, folder: &Path, name: &str, script: &str) {
    let file = folder.join(format!("{name}.sql"));
    std::fs::write(&file, script).unwrap();
    let mut psql = Command::new("psql");
    psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", postgres.url().reveal(), "-f"]).arg(&file);
    assert!(psql.status().unwrap().success());
}

/// The server's processes of now.
fn backends(postgres: &Server) -> Vec<u32> {
    let sql = "select pid from pg_stat_activity where pid <> pg_backend_pid()";
    let output = Command::new("psql").args(["-qXAt", "-d", postgres.url().reveal(), "-c", sql]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect()
}

/// The CPU that processes have used; one that ended counts nothing.
fn cpu_seconds(processes: &[u32]) -> f64 {
    let of = |process: &u32| -> Option<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        Some((fields[11].parse::<f64>().ok()? + fields[12].parse::<f64>().ok()?) / 100.0)
    };
    processes.iter().filter_map(of).sum()
}

fn serve(data: &Path) -> (Child, String) {
    let mut command = Command::new(GRANARY);
    command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(data);
    let mut server = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.contains("listening on")).unwrap();
    let base = line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned();
    std::thread::spawn(move || lines.for_each(drop));
    (server, base)
}

fn run(data: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(GRANARY);
    command.args(arguments).arg("--data-dir").arg(data).stdin(Stdio::piped()).stdout(Stdio::piped()).env("GRANARY_LOG", "error");
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().flush().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}
