//! How long a customer waits while its silo moves under writes, and what the move costs beside a bare `COPY` of the same rows.
//!
//! `cargo bench -p granary-tenants --bench moving` runs on a server of its own with fsync on; the other cluster is another database
//! of that server, so that both sides share the machine. Smaller with `-- --rows 100000`. Prints one line a promise: what was
//! measured, the limit, and their ratio (below 1 is kept).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed, and it prints")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::{SinkExt, StreamExt};
use granary_foundation::Silent;
use granary_tenants::{Actor, Fleet, Residency, TenantScope, Tenants};
use granary_test_support::TestDatabase;
use tokio_postgres::Client;

const WRITERS: usize = 4;
const TABLES: [&str; 2] = ["machines", "backup_runs"];

const ADD_MACHINES: &str = "
    insert into machines (id, source_system, vendor_id, name, discovered_at)
    select md5(n::text)::uuid, 'veeam', 'vm-' || n, 'machine ' || n, now() from generate_series(1, 1000) n";
const ADD_RUNS: &str = "
    insert into backup_runs (id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
        attempt_count, kind, state, source, vendor_id)
    select gen_random_uuid(), md5((1 + n % 1000)::text)::uuid, '2025-01-01'::timestamptz + n * interval '25 s',
        '2025-01-01'::timestamptz + n * interval '25 s' + interval '20 min', n, 2 * n, 1200000, '2025-01-01'::date + n / 3456,
        '2025-01-01'::date + n / 3456, 1, 'incremental', 'completed', 'vbr', 'run-' || n
    from generate_series($1::int, $2::int) n";
const ADD_RUN: &str = "
    insert into backup_runs (id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
        attempt_count, kind, state, source, vendor_id)
    values (gen_random_uuid(), md5('1')::uuid, now(), now(), 1, 1, 1, '2025-11-10', '2025-11-10', 1, 'full', 'running', 'writer', 'w')";
const CHANGE_RUN: &str = "update backup_runs set duration_ms = duration_ms + 1 where id = (select id from backup_runs where source = 'vbr' and billing_on = '2025-01-10' limit 1)";
const COUNT: &str = "select count(*), count(*) filter (where source = 'writer'), sum(duration_ms)::bigint from backup_runs";

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn line(promise: &str, measured: f64, limit: f64) {
    println!("{promise:<72} {measured:>10.2} {limit:>10.2} {:>6.2}", measured / limit);
}

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(argument("--rows", 1_000_000)));
}

async fn measure(rows: usize) {
    let test = TestDatabase::alone(16).await;
    let them = test.two_customers().await;
    let cluster = test.cluster("eu1", "eu").await;
    let tenants = test.tenants_over(vec![cluster.clone()]);
    let scope = them.acme_scope();
    let begun = Instant::now();
    let tx = tenants.begin_tenant(&scope).await.unwrap();
    tx.execute(ADD_MACHINES, &[]).await.unwrap();
    tx.commit().await.unwrap();
    for from in (1..=rows).step_by(100_000) {
        let (from, to) = (i32::try_from(from).unwrap(), i32::try_from((from + 99_999).min(rows)).unwrap());
        let tx = tenants.begin_tenant(&scope).await.unwrap();
        tx.execute(ADD_RUNS, &[&from, &to]).await.unwrap();
        tx.commit().await.unwrap();
    }
    println!("{rows} runs written in {:.0} s", begun.elapsed().as_secs_f64());
    println!("{:<72} {:>10} {:>10} {:>6}", "promise", "measured", "limit", "ratio");
    // A connection of its own makes the cluster known before anything is timed.
    tenants.clusters().get("eu1").await.unwrap();
    let (home, there) = (test.superuser().await, test.superuser_of(&cluster).await);
    home.batch_execute("checkpoint").await.unwrap();
    let bare = bare_copy(&home, &scope.customer.schema_name, &there).await;
    home.batch_execute("checkpoint").await.unwrap();

    let load = Load::begin(&tenants, &scope);
    tokio::time::sleep(Duration::from_secs(1)).await;
    let before = load.committed.load(Ordering::Relaxed);
    let begun = Instant::now();
    let report =
        tenants.move_customer(scope.customer.id, "eu1", Residency::Kept, Actor::System("bench"), &Silent::shared()).await.unwrap().unwrap();
    let took = begun.elapsed().as_secs_f64();
    let during = load.committed.load(Ordering::Relaxed) - before;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (committed, longest_ms) = load.end().await;

    let tx = tenants.begin_tenant(&scope).await.unwrap();
    let row = tx.query_one(COUNT, &[]).await.unwrap();
    tx.commit().await.unwrap();
    let (all, written, sum): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    let committed = i64::try_from(committed).unwrap();
    let expected = rows as i64 * 1_200_000 + committed * 2;
    let lost = (rows as i64 + committed - all).abs() + (committed - written).abs() + (expected - sum).abs();
    line("pause of a customer's move under writes, ms", report.pause_ms.unwrap() as f64, 2_000.0);
    line("longest transaction of a writer meanwhile, ms", longest_ms as f64, 2_000.0);
    println!("{:<72} {lost:>10} {:>10} {:>6}", "rows lost, double or changed wrongly", 0, if lost == 0 { "" } else { "!" });
    println!("{:<72} {took:>10.2} {bare:>10.2} {:>6.2}", "move, s, beside a bare COPY of the same rows", took / bare);
    println!(
        "{:?} copied in the snapshot, {} followed, {} in the pause; {during} transactions of {WRITERS} writers during the move",
        report.rows_copied, report.rows_followed, report.rows_in_pause
    );
}

/// The rows over two plain connections into tables with the same keys and indexes, without triggers: what the disk and the two servers
/// need at least.
async fn bare_copy(home: &Client, schema: &str, there: &Client) -> f64 {
    let mut made = "create schema bare; set search_path = bare;".to_owned();
    for migration in Fleet::known_migrations() {
        made += migration.sql().unwrap();
        made += "\n;";
    }
    there.batch_execute(&made).await.unwrap();
    let begun = Instant::now();
    there.batch_execute("begin").await.unwrap();
    for table in TABLES {
        there.batch_execute(&format!("alter table bare.{table} disable trigger user")).await.unwrap();
        let mut rows = std::pin::pin!(home.copy_out(&format!("copy {schema}.{table} to stdout (format binary)")).await.unwrap());
        let into = format!("copy bare.{table} from stdin (format binary)");
        let mut sink = std::pin::pin!(there.copy_in::<_, bytes::Bytes>(&into).await.unwrap());
        while let Some(chunk) = rows.next().await {
            sink.feed(chunk.unwrap()).await.unwrap();
        }
        sink.finish().await.unwrap();
    }
    there.batch_execute("commit").await.unwrap();
    let took = begun.elapsed().as_secs_f64();
    there.batch_execute("drop schema bare cascade; set search_path = public").await.unwrap();
    took
}

/// Writers that add a run and change another, over and over.
struct Load {
    stop: Arc<AtomicBool>,
    committed: Arc<AtomicU64>,
    longest_ms: Arc<AtomicU64>,
    writers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(tenants: &Tenants, scope: &TenantScope) -> Self {
        let (stop, committed, longest_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let writers = (0..WRITERS)
            .map(|_| {
                let (tenants, scope) = (tenants.clone(), scope.clone());
                let (stop, committed, longest_ms) = (Arc::clone(&stop), Arc::clone(&committed), Arc::clone(&longest_ms));
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let begun = Instant::now();
                        let tx = tenants.begin_tenant(&scope).await.unwrap();
                        tx.execute(ADD_RUN, &[]).await.unwrap();
                        tx.execute(CHANGE_RUN, &[]).await.unwrap();
                        tx.commit().await.unwrap();
                        committed.fetch_add(1, Ordering::Relaxed);
                        longest_ms.fetch_max(u64::try_from(begun.elapsed().as_millis()).unwrap(), Ordering::Relaxed);
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                })
            })
            .collect();
        Self { stop, committed, longest_ms, writers }
    }

    async fn end(self) -> (u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.await.unwrap();
        }
        (self.committed.load(Ordering::Relaxed), self.longest_ms.load(Ordering::Relaxed))
    }
}
