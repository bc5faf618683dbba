//! What the walls cost, and that they stand under load.
//!
//! `cargo bench -p granary-tenants --bench isolation -- --seconds 600` runs on a server of its own with fsync on: first one
//! request in a tenant's transaction beside the same query without it, then a mixed load of fifty connections over a thousand
//! tenants. Prints one line a promise: what was measured, the limit, and their ratio (below 1 is kept).
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on has failed, and it prints")]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use granary_db::{Database, DatabaseConfig};
use granary_foundation::Secret;
use granary_tenants::{NewContract, NewCustomer, NewMsp, TenantScope, TenantTx, Tenants};
use granary_test_support::TestDatabase;
use granary_types::{Currency, Tier};
use jiff::civil::date;
use jiff::tz::TimeZone;

const ALTERNATING: usize = 200;
const ROUNDS: usize = 20;

fn argument(name: &str, default: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != name);
    arguments.nth(1).map_or(default, |value| value.parse().unwrap())
}

fn line(promise: &str, measured: f64, limit: f64) {
    println!("{promise:<72} {measured:>10.2} {limit:>8.1} {:>6.2}", measured / limit);
}

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (tenants, connections) = (argument("--tenants", 1_000), argument("--connections", 50));
        let test = TestDatabase::alone(4).await;
        let scopes = Arc::new(provision(&test, tenants.max(ALTERNATING)).await);
        println!("{:<72} {:>10} {:>8} {:>6}", "promise", "measured", "limit", "ratio");
        request(&test, &scopes).await;
        let seconds = argument("--seconds", 20) as u64;
        Load::new(&test, scopes, connections).await.run(&test, Duration::from_secs(seconds)).await;
    });
}

/// Makes an MSP with customers that have one machine each: the same ids everywhere, another name.
async fn provision(test: &TestDatabase, count: usize) -> Vec<TenantScope> {
    let begun = Instant::now();
    let zone = TimeZone::get("America/New_York").unwrap();
    let msp = test.tenants().create_msp(&NewMsp::new("NORTH", "Northern Backup", zone.clone())).await.unwrap();
    let numbers = Arc::new(AtomicU64::new(0));
    let workers: Vec<_> = (0..4)
        .map(|_| {
            let (tenants, msp, zone, numbers) = (test.tenants().clone(), msp.clone(), zone.clone(), Arc::clone(&numbers));
            tokio::spawn(async move {
                let mut scopes = Vec::new();
                loop {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    if number as usize >= count {
                        break;
                    }
                    let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 1_000);
                    let code = format!("C{number:04}").parse().unwrap();
                    let new = NewCustomer::new(msp.id, code, format!("Customer {number}"), zone.clone(), contract);
                    let customer = tenants.provision_customer(&new).await.unwrap();
                    let scope = TenantScope::for_job(msp.clone(), customer, "bench");
                    let tx = tenants.begin_tenant(&scope).await.unwrap();
                    tx.execute(ADD_MACHINE, &[&scope.customer.name]).await.unwrap();
                    tx.commit().await.unwrap();
                    scopes.push(scope);
                }
                scopes
            })
        })
        .collect();
    let mut scopes = Vec::new();
    for worker in workers {
        scopes.extend(worker.await.unwrap());
    }
    println!("{count} tenants provisioned in {:.0} s", begun.elapsed().as_secs_f64());
    scopes
}

const ADD_MACHINE: &str = "
    insert into machines (id, source_system, vendor_id, name, discovered_at)
    values ('00000000-0000-0000-0000-00000000000a', 'veeam', 'vm-1', $1, now())";
const FIND_MACHINE: &str = "select name from machines where source_system = $1 and vendor_id = $2";

/// One request in a tenant's transaction beside the bare query, turn by turn, warm.
async fn request(test: &TestDatabase, scopes: &[TenantScope]) {
    let tenants = test.tenants();
    let mut scopes: Vec<&TenantScope> = scopes.iter().collect();
    scopes.sort_by_key(|scope| scope.customer.bucket);
    let scopes = &scopes[..ALTERNATING];
    let bare = test.superuser().await;
    let mut statements = Vec::new();
    for scope in scopes {
        statements
            .push(bare.prepare(&FIND_MACHINE.replace("machines", &format!("{}.machines", scope.customer.schema_name))).await.unwrap());
    }
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS + 2 {
        for (scope, statement) in scopes.iter().zip(&statements) {
            let begun = Instant::now();
            let name: String = bare.query_one(statement, &[&"veeam", &"vm-1"]).await.unwrap().get(0);
            let took_bare = begun.elapsed();
            let begun = Instant::now();
            let tx = tenants.begin_tenant(scope).await.unwrap();
            let row = tx.query_one(FIND_MACHINE, &[&"veeam", &"vm-1"]).await.unwrap();
            tx.commit().await.unwrap();
            let took = begun.elapsed();
            assert_eq!((row.get::<_, String>(0), &name), (scope.customer.name.clone(), &scope.customer.name));
            if round >= 2 {
                theirs.push(took_bare.as_secs_f64() * 1e3);
                ours.push(took.as_secs_f64() * 1e3);
            }
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("bare query {theirs:.3} ms, tenant transaction {ours:.3} ms at the median of {} each", ROUNDS * ALTERNATING);
    line("a request in a tenant's transaction, ms more than the bare query", ours - theirs, 0.3);
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// What every tenant should hold at the end.
struct Load {
    tenants: Tenants,
    scopes: Arc<Vec<TenantScope>>,
    committed: Arc<Vec<AtomicI64>>,
    connections: usize,
    times: Arc<Mutex<Vec<f64>>>,
    kinds: Arc<[AtomicU64; 6]>,
}

const CONTEXT: &str = "select current_user::text, current_schema()::text, (select string_agg(name, ',') from machines)";
const ADD: &str = "insert into audit_log (actor, action, subject, happened_at) values ($1, $2, 'bench', now())";
/// Touches every table that grows: the worst for a backend's memory.
const WIDE: &str = "
    select (select count(*) from machines) + (select count(*) from tier_assignments) + (select count(*) from repositories)
        + (select count(*) from schedules) + (select count(*) from skipped_runs) + (select count(*) from backup_runs)
        + (select count(*) from backup_disks) + (select count(*) from restore_runs) + (select count(*) from replication_cycles)
        + (select count(*) from storage_samples) + (select count(*) from tickets) + (select count(*) from heartbeats)
        + (select count(*) from activity) + (select count(*) from usage_events) + (select count(*) from machine_days)
        + (select count(*) from storage_days) + (select count(*) from rated_lines) + (select count(*) from idempotency_keys)
        + (select count(*) from audit_log) + (select count(*) from dirty)";
const KINDS: [&str; 6] = ["added and committed", "read all tables", "rolled back", "failed", "given up midway", "of the MSP"];

impl Load {
    async fn new(test: &TestDatabase, scopes: Arc<Vec<TenantScope>>, connections: usize) -> Self {
        let config = DatabaseConfig {
            url: test.url(),
            app_password: Secret::new("not-a-secret"),
            max_connections: connections,
            connections_per_tenant: connections.div_ceil(4),
        };
        let database = Database::connect(&config, test.clock().clone()).await.unwrap();
        let committed = scopes.iter().map(|_| AtomicI64::new(0)).collect::<Vec<_>>();
        Self {
            tenants: Tenants::new(database, test.keys().clone()),
            scopes,
            committed: Arc::new(committed),
            connections,
            times: Arc::default(),
            kinds: Arc::default(),
        }
    }

    async fn run(self, test: &TestDatabase, lasts: Duration) {
        let is_over = Arc::new(AtomicBool::new(false));
        let sampled = tokio::spawn(watch(test.superuser().await, Arc::clone(&is_over)));
        let begun = Instant::now();
        let workers: Vec<_> =
            (0..self.connections as u64).map(|worker| tokio::spawn(self.clone_parts().work(worker, begun + lasts))).collect();
        for worker in workers {
            worker.await.unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        let peak = sampled.await.unwrap();
        let took = begun.elapsed().as_secs_f64();
        let mut times = std::mem::take(&mut *self.times.lock().unwrap());
        let middle = median(&mut times);
        let mix: Vec<String> =
            KINDS.iter().zip(self.kinds.iter()).map(|(name, count)| format!("{} {name}", count.load(Ordering::Relaxed))).collect();
        println!(
            "{} transactions in {took:.0} s ({:.0}/s), median {middle:.1} ms, p99 {:.1} ms: {}",
            times.len(),
            times.len() as f64 / took,
            times[times.len() * 99 / 100],
            mix.join(", ")
        );
        println!("{} sessions served; most at once {}", peak.sessions, peak.at_once);
        line("largest backend, RSS without what is shared, MB", peak.private_kb / 1000.0, 60.0);
        line("largest backend, PSS, MB", peak.pss_kb / 1000.0, 60.0);
        let wrong = self.count_wrong(test).await;
        println!("{:<72} {wrong:>10} {:>8}", format!("tenants of {} whose rows are not exactly their own", self.scopes.len()), 0);
        assert_eq!(wrong, 0);
    }

    fn clone_parts(&self) -> Self {
        Self {
            tenants: self.tenants.clone(),
            scopes: Arc::clone(&self.scopes),
            committed: Arc::clone(&self.committed),
            connections: self.connections,
            times: Arc::clone(&self.times),
            kinds: Arc::clone(&self.kinds),
        }
    }

    async fn work(self, worker: u64, until: Instant) {
        let mut random = worker.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random >> 11) as usize % bound
        };
        let mut times = Vec::new();
        while Instant::now() < until {
            let (tenant, dice) = (next(self.scopes.len()), next(100));
            let begun = Instant::now();
            let kind = self.one(tenant, dice).await;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
            self.kinds[kind].fetch_add(1, Ordering::Relaxed);
        }
        self.times.lock().unwrap().extend(times);
    }

    /// One transaction; returns its kind.
    async fn one(&self, tenant: usize, dice: usize) -> usize {
        let scope = &self.scopes[tenant];
        if dice < 10 {
            let msp = granary_tenants::MspScope::for_job(scope.msp.clone(), "bench");
            let tx = self.tenants.begin_msp(&msp).await.unwrap();
            tx.query("select code from customers where id = $1", &[&scope.customer.id]).await.unwrap();
            tx.commit().await.unwrap();
            return 5;
        }
        let tx = self.tenants.begin_tenant(scope).await.unwrap();
        check_context(&tx, scope).await;
        match dice {
            10..60 => {
                tx.execute(ADD, &[&scope.customer.schema_name, &"commit"]).await.unwrap();
                tx.commit().await.unwrap();
                self.committed[tenant].fetch_add(1, Ordering::Relaxed);
                0
            }
            60..90 => {
                tx.query_one(WIDE, &[]).await.unwrap();
                tx.commit().await.unwrap();
                1
            }
            90..94 => {
                tx.execute(ADD, &[&scope.customer.schema_name, &"rollback"]).await.unwrap();
                tx.rollback().await.unwrap();
                2
            }
            94..98 => {
                tx.execute(ADD, &[&scope.customer.schema_name, &"failed"]).await.unwrap();
                tx.query("select 1 / 0", &[]).await.unwrap_err();
                assert!(tx.commit().await.is_err());
                3
            }
            _ => {
                tx.execute(ADD, &[&scope.customer.schema_name, &"given up"]).await.unwrap();
                let asleep = tx.query("select pg_sleep(1)", &[]);
                assert!(tokio::time::timeout(Duration::from_millis(3), asleep).await.is_err());
                4
            }
        }
    }

    /// Counts tenants whose rows are not those that were committed for them.
    async fn count_wrong(&self, test: &TestDatabase) -> usize {
        let superuser = test.superuser().await;
        let mut wrong = 0;
        for (scope, committed) in self.scopes.iter().zip(self.committed.iter()) {
            let schema = &scope.customer.schema_name;
            let sql = format!("select count(*), count(*) filter (where actor = '{schema}' and action = 'commit') from {schema}.audit_log");
            let row = superuser.query_one(&sql, &[]).await.unwrap();
            let expected = committed.load(Ordering::Relaxed);
            wrong += usize::from((row.get::<_, i64>(0), row.get::<_, i64>(1)) != (expected, expected));
        }
        wrong
    }
}

async fn check_context(tx: &TenantTx, scope: &TenantScope) {
    let row = tx.query_one(CONTEXT, &[]).await.unwrap();
    let found = [0, 1, 2].map(|column| row.get::<_, String>(column));
    assert_eq!(found, [scope.customer.role_name.clone(), scope.customer.schema_name.clone(), scope.customer.name.clone()]);
}

#[derive(Debug, Default)]
struct Peak {
    private_kb: f64,
    pss_kb: f64,
    sessions: usize,
    at_once: usize,
}

/// Looks at the memory of every session again and again.
async fn watch(superuser: tokio_postgres::Client, is_over: Arc<AtomicBool>) -> Peak {
    let mut peak = Peak::default();
    let mut seen = BTreeMap::new();
    while !is_over.load(Ordering::Relaxed) {
        let sql = "select pid from pg_stat_activity where application_name = 'granary' and datname = current_database()";
        let rows = superuser.query(sql, &[]).await.unwrap();
        peak.at_once = peak.at_once.max(rows.len());
        for row in rows {
            let pid: i32 = row.get(0);
            seen.insert(pid, ());
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            let of = |name: &str| -> f64 {
                let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next());
                value.map_or(0.0, |value| value.parse().unwrap())
            };
            peak.private_kb = peak.private_kb.max(of("Private_Clean:") + of("Private_Dirty:"));
            peak.pss_kb = peak.pss_kb.max(of("Pss:"));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    peak.sessions = seen.len();
    peak
}
