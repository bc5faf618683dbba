//! The promise about usage, on a month of 10,000 machines and about a million runs: `cargo bench -p granary-metering --bench usage`, smaller with
//! `-- --machines 1000`.
//!
//! Postgres is our own with fsync on. "warm" asks as the API does, again and again; beside it stands the plain SQL that adds the
//! month up from the daily table on the same server. Before that it prints what the first question of a minute costs, which
//! measures the open month, beside the same SQL. One line a promise: measured, beside, their ratio, and the limit in ms.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::time::{Duration, Instant};

use granary_metering::{live_usage, rebuild_days};
use granary_tenants::{NewContract, NewCustomer, NewMsp, TenantScope, Tenants};
use granary_test_support::TestDatabase;
use granary_types::{Currency, Period, Tier};
use jiff::civil::date;
use jiff::tz::TimeZone;

/// Runs of a machine in a month, over its 30 days: in all about a million with 10,000 machines.
const RUNS_A_DAY: i64 = 3;
const DAYS: i64 = 30;
const QUESTIONS: usize = 300;
const LIMIT_MS: f64 = 50.0;

/// Runs as the projection writes them, without the events that said so: the question reads tables.
const MACHINES: &str = "
    insert into machines (id, source_system, vendor_id, name, discovered_at)
    select md5('m' || n)::uuid, 'veeam', 'vm-' || n, 'vm-' || n, '2025-10-01' from generate_series(1, $1::bigint) as n";
const TIERS: &str = "
    insert into tier_assignments (machine_id, tier, valid_from, reason)
    select md5('m' || n)::uuid, case when n % 10 = 0 then 'replication' when n % 3 = 0 then 'enterprise' else 'backup' end, '2025-10-01', 'protected'
    from generate_series(1, $1::bigint) as n";
const RUNS: &str = "
    insert into backup_runs (id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
        attempt_count, kind, state, source, vendor_id)
    select md5('r' || n || '-' || day || '-' || run)::uuid, md5('m' || n)::uuid, at, at + interval '20 minutes', 1000000000, 50000000000, 1200000,
        at::date, at::date, 1, 'incremental', case when (n + day + run) % 97 = 0 then 'failed' else 'completed' end, 'bench', n || '-' || day || '-' || run
    from generate_series(1, $1::bigint) as n, generate_series(1, $2::bigint) as run,
        lateral (select timestamptz '2025-11-01 01:00Z' + make_interval(days => $3::int, hours => run::int * 5) as at) as moment,
        lateral (select $3::int as day) as of";
const PLAIN: &str = "
    with billed as (
        select machine_id, max(tier) as tier from machine_days
        where billing_on between '2025-11-01' and '2025-11-30' and runs_completed + cycles_completed > 0 group by machine_id
    ),
    days as (
        select billing_on, count(*) filter (where is_in_protection) as machines, sum(runs_completed) as completed, sum(runs_failed) as failed,
            sum(transferred_bytes) as bytes
        from machine_days where billing_on between '2025-11-01' and '2025-11-30' group by billing_on
    )
    select (select count(*) from billed), (select count(*) from days), (select sum(completed)::bigint from days)";

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(number("--machines", 10_000)));
}

fn number(flag: &str, otherwise: i64) -> i64 {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    arguments.nth(1).map_or(otherwise, |text| text.parse().unwrap())
}

fn line(promise: &str, measured: f64, beside: f64) {
    println!("{promise:<62} {measured:>10.2} {beside:>10.2} {:>7.2} {LIMIT_MS:>7.2}", measured / beside);
}

fn p95(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() * 95 / 100].as_secs_f64() * 1_000.0
}

async fn measure(machines: i64) {
    let test = TestDatabase::alone(8).await;
    test.clock().set("2025-12-01T02:00:00Z".parse().unwrap());
    let tenants = test.tenants().clone();
    let scope = customer(&tenants).await;
    let period: Period = "2025-11".parse().unwrap();
    fill(&tenants, &scope, machines, period).await;

    let plain = plain(&tenants, &scope).await;
    println!("{:<62} {:>10} {:>10} {:>7} {:>7}", "promise", "measured", "beside", "ratio", "limit");
    let begun = Instant::now();
    let first = live_usage(&tenants, &scope, period).await.unwrap();
    println!("{:<62} {:>10.2} {plain:>10.2}", "the first question of a minute, ms", begun.elapsed().as_secs_f64() * 1_000.0);
    assert_eq!(first.usage.series.len(), usize::try_from(DAYS).unwrap());
    let mut times = Vec::with_capacity(QUESTIONS);
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        let usage = live_usage(&tenants, &scope, period).await.unwrap().usage;
        times.push(begun.elapsed());
        assert_eq!(usage.runs_completed, first.usage.runs_completed);
    }
    let runs = first.usage.runs_completed + first.usage.runs_failed;
    line(&format!("usage of {machines} machines, {runs} runs, warm, p95 ms"), p95(times), plain);
}

async fn customer(tenants: &Tenants) -> TenantScope {
    let past = Some("2025-01-01T05:00:00Z".parse().unwrap());
    let new = NewMsp { created_at: past, ..NewMsp::new("NORTH", "Northern Backup", TimeZone::UTC) };
    let msp = tenants.create_msp(&new).await.unwrap();
    let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
    let new = NewCustomer { created_at: past, ..NewCustomer::new(msp.id, "ACME".parse().unwrap(), "Acme", TimeZone::UTC, contract) };
    let customer = tenants.provision_customer(&new).await.unwrap();
    TenantScope::for_job(msp, customer, "bench")
}

async fn fill(tenants: &Tenants, scope: &TenantScope, machines: i64, period: Period) {
    let tx = tenants.begin_tenant(scope).await.unwrap();
    tx.execute(MACHINES, &[&machines]).await.unwrap();
    tx.execute(TIERS, &[&machines]).await.unwrap();
    tx.commit().await.unwrap();
    for day in 0..DAYS {
        let tx = tenants.begin_tenant(scope).await.unwrap();
        tx.execute(RUNS, &[&machines, &RUNS_A_DAY, &i32::try_from(day).unwrap()]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let tx = tenants.begin_tenant(scope).await.unwrap();
    rebuild_days(&tx, period, period).await.unwrap();
    tx.commit().await.unwrap();
}

/// The median of the plain SQL, in ms.
async fn plain(tenants: &Tenants, scope: &TenantScope) -> f64 {
    let mut times = Vec::new();
    for _ in 0..15 {
        let tx = tenants.begin_tenant(scope).await.unwrap();
        let begun = Instant::now();
        tx.query_one(PLAIN, &[]).await.unwrap();
        times.push(begun.elapsed());
        tx.commit().await.unwrap();
    }
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1_000.0
}
