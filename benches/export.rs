//! What the nightly export costs beside the bare `COPY` of the same rows: `cargo bench --bench export`, smaller with
//! `-- --rows 200000 --customers 10 --quiet 100`.
//!
//! Postgres is our own. Every customer has as many `backup_runs` (15 columns, three months). "Bare" are as many psql as there are
//! connections, each sending `copy … to stdout (format binary)` of its customers to nowhere. Ours is the night's export of that dataset
//! in a process of its own: sorted, zstd, sealed, stored, committed. It reads as many silos at a time as there are
//! connections; tickets and commits take further ones for a moment. Rounds alternate, the best of each counts. CPU is that of the
//! process, and of the server with all its backends. With `PEERS_PYTHON` naming a Python that has them, DuckDB's postgres extension and
//! ADBC with pyarrow write the same rows, sorted, as plain zstd Parquet beside it.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use granary_db::embedded::Server;
use granary_db::{Database, DatabaseConfig};
use granary_foundation::config::S3Config;
use granary_foundation::{Secret, Silent};
use granary_lake::{Lake, Tuning};
use granary_tenants::{NewContract, NewCustomer, Tenants};
use granary_types::{Clock, Currency, Tier};
use granary_vault::{Keys, MasterKey, Objects};
use jiff::civil::date;
use serde_json::{Value, json};

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const ROUNDS: usize = 2;
const PROVISIONING: usize = 4;
const COLUMNS: &str = "id, source, vendor_id, machine_id, kind, state, started_at, ended_at, service_on, billing_on, attempt_count,
    transferred_bytes, protected_bytes, duration_ms, error";
const PEERS: [(&str, &str); 2] = [("DuckDB's postgres extension", "duckdb"), ("ADBC and pyarrow", "adbc")];

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if let Some(readers) = argument("--child") {
        println!("{}", runtime.block_on(child(readers)));
        return;
    }
    let (rows, customers) = (argument("--rows").unwrap_or(10_000_000), argument("--customers").unwrap_or(50));
    println!("{:<62} {:>10} {:>10} {:>7} {:>7}", "promise", "measured", "beside", "ratio", "limit");
    runtime.block_on(wire_speed(rows, customers));
    match argument("--quiet").unwrap_or(1_000) {
        0 => {}
        quiet => runtime.block_on(nothing_changed(quiet)),
    }
}

fn argument(flag: &str) -> Option<usize> {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    arguments.nth(1).map(|text| text.parse().unwrap())
}

fn line(promise: &str, measured: f64, beside: f64, limit: f64) {
    println!("{promise:<62} {measured:>10.2} {beside:>10.2} {:>7.2} {limit:>7.2}", measured / beside);
}

fn figure(name: &str, measured: f64, beside: f64) {
    println!("{name:<62} {measured:>10.2} {beside:>10.2}");
}

/// A data directory with its own Postgres, an MSP made by the binary, and customers.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
    schemas: Vec<String>,
}

impl Place {
    async fn new(customers: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let server = Server::start(folder.path(), Silent::shared()).await.unwrap();
        let mut place = Self { folder, server, schemas: Vec::new() };
        let mut made = Command::new(GRANARY);
        made.args(["msp", "add", "NORTH", "--name", "Northern Backup", "--data-dir"]).arg(place.folder.path());
        assert!(made.env("GRANARY_LOG", "error").stdout(Stdio::null()).status().unwrap().success());
        provision(&rooms(place.folder.path(), place.server.url()).await.0, customers).await;
        place.schemas = place.ask("select schema_name from control.customers order by code").lines().map(ToOwned::to_owned).collect();
        place
    }

    fn ask(&self, sql: &str) -> String {
        let output = self.psql().args(["-Atc", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn psql(&self) -> Command {
        let mut command = Command::new("psql");
        command.args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", self.server.url_of("granary").reveal()]);
        command
    }

    /// Runs one psql a share of the customers, all at the same time.
    fn in_shares(&self, shares: usize, write: impl Fn(&str) -> String) {
        let files: Vec<_> = (0..shares)
            .map(|share| {
                let schemas = self.schemas.iter().skip(share).step_by(shares);
                let path = self.folder.path().join(format!("share-{share}.sql"));
                std::fs::write(&path, schemas.map(|schema| write(schema)).collect::<String>()).unwrap();
                path
            })
            .collect();
        let started: Vec<_> = files.iter().map(|file| self.psql().arg("-f").arg(file).stdout(Stdio::null()).spawn().unwrap()).collect();
        for mut psql in started {
            assert!(psql.wait().unwrap().success());
        }
    }

    /// The CPU that the server has used, with all its backends, those that ended too.
    fn server_cpu(&self) -> f64 {
        let file = std::fs::read_to_string(self.folder.path().join("postgres/data/postmaster.pid")).unwrap();
        let postmaster: u32 = file.lines().next().unwrap().parse().unwrap();
        let listed = Command::new("ps").args(["-o", "pid=", "--ppid", &postmaster.to_string()]).output().unwrap();
        let living = String::from_utf8(listed.stdout).unwrap();
        let living: f64 = living.split_whitespace().map(|pid| cpu_of(pid.parse().unwrap(), &[11, 12])).sum();
        living + cpu_of(postmaster, &[11, 12, 13, 14])
    }

    /// Exports everything anew in a process of its own.
    fn export(&self, readers: usize) -> Value {
        self.ask("truncate control.lake_files, control.lake_versions, control.lake_heads, control.lake_exports, control.nights");
        self.ask("checkpoint");
        self.run_child(readers, "backup_runs")
    }

    /// Exports what changed, of one dataset or of all.
    fn run_child(&self, readers: usize, dataset: &str) -> Value {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--child", &readers.to_string()]).env("PLACE", self.folder.path()).env("URL", self.server.url().reveal());
        command.env("DATASET", dataset);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The CPU seconds of a process, summed over fields of its `stat`; one that ended counts nothing.
fn cpu_of(process: u32, fields: &[usize]) -> f64 {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{process}/stat")) else { return 0.0 };
    let values: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields.iter().map(|field| values[*field].parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// The binary's own rooms, in this process.
async fn rooms(folder: &Path, url: &Secret) -> (Tenants, Keys) {
    let keys = folder.join("keys");
    let app_password = Secret::new(std::fs::read_to_string(keys.join("app-password")).unwrap().trim());
    let config = DatabaseConfig { url: url.clone(), app_password, max_connections: 16, connections_per_tenant: 4 };
    let database = Database::connect(&config, Clock::System).await.unwrap();
    let keys = Keys::new(database.clone(), MasterKey::load_or_create(&keys.join("master")).unwrap());
    (Tenants::new(database, keys.clone()), keys)
}

async fn provision(tenants: &Tenants, count: usize) {
    let msp = tenants.find_msp_by_code("NORTH").await.unwrap().unwrap();
    futures::stream::iter(0..count)
        .map(|index| {
            let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
            let new = NewCustomer::new(msp.id, format!("C{index}").parse().unwrap(), "Customer", msp.time_zone.clone(), contract);
            async move { tenants.provision_customer(&new).await.map(drop) }
        })
        .buffer_unordered(PROVISIONING)
        .try_collect::<()>()
        .await
        .unwrap();
    tenants.db().close();
}

/// One export, as the night does it; what it took goes to standard output.
#[expect(clippy::disallowed_methods, reason = "what a measurement tells its own child, not configuration")]
async fn child(readers: usize) -> Value {
    let (folder, url) = (std::env::var("PLACE").unwrap(), Secret::new(std::env::var("URL").unwrap()));
    let (tenants, keys) = rooms(Path::new(&folder), &url).await;
    let objects = Objects::open(&format!("file://{folder}/lake"), &S3Config::default()).unwrap();
    let only = std::env::var("DATASET").unwrap();
    let mut datasets = [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS].concat();
    datasets.retain(|dataset| only.is_empty() || dataset.name == only);
    let lake = Lake::new(tenants.clone(), keys, objects, datasets).tuned(Tuning { readers, ..Tuning::default() });
    let begun = Instant::now();
    let report = lake.export_night(date(2025, 12, 1), Silent::shared()).await.unwrap();
    let seconds = begun.elapsed().as_secs_f64();
    assert_eq!(report.failures().count(), 0, "{report:?}");
    tenants.db().close();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak_kib: f64 = peak.split_whitespace().next().unwrap().parse().unwrap();
    let cpu = cpu_of(std::process::id(), &[11, 12]);
    json!({"seconds": seconds, "cpu": cpu, "peak_mib": peak_kib / 1_024.0, "files": report.files_written(), "rows": report.rows_written()})
}

/// What one way of reading everything took, the best of several rounds.
#[derive(Debug, Clone, Copy)]
struct Took {
    seconds: f64,
    own_cpu: f64,
    server_cpu: f64,
}

impl Took {
    const NEVER: Self = Self { seconds: f64::INFINITY, own_cpu: 0.0, server_cpu: 0.0 };

    fn better(self, other: Self) -> Self {
        if other.seconds < self.seconds { other } else { self }
    }
}

async fn wire_speed(rows: usize, customers: usize) {
    let place = Place::new(customers).await;
    let each = rows / customers;
    place.in_shares(2, |schema| fill(schema, each));
    place.ask("checkpoint");
    println!("{customers} customers with {each} backup runs each, {} of tables", place.ask(&sizes(&place.schemas)));
    for (connections, limit) in [(1, 1.25), (2, 2.2)] {
        let (mut bare, mut ours, mut peak, mut said) = (Took::NEVER, Took::NEVER, 0.0_f64, Value::Null);
        for _ in 0..ROUNDS {
            let (begun, before) = (Instant::now(), place.server_cpu());
            place.in_shares(connections, |schema| {
                format!("set search_path = {schema}; copy (select {COLUMNS} from backup_runs) to stdout (format binary);\n")
            });
            let seconds = begun.elapsed().as_secs_f64();
            bare = bare.better(Took { seconds, own_cpu: 0.0, server_cpu: place.server_cpu() - before });
            let before = place.server_cpu();
            said = place.export(connections);
            let number = |name: &str| said[name].as_f64().unwrap();
            assert!(said["rows"].as_u64().unwrap() >= (each * customers) as u64, "{said}");
            peak = peak.max(number("peak_mib"));
            ours = ours.better(Took { seconds: number("seconds"), own_cpu: number("cpu"), server_cpu: place.server_cpu() - before });
        }
        let name = |what: &str| format!("{what}, {connections} connection{}", if connections == 1 { "" } else { "s" });
        line(&name("export beside COPY to nowhere, s"), ours.seconds, bare.seconds, limit);
        figure(&name("CPU of Postgres, s"), ours.server_cpu, bare.server_cpu);
        figure(&name("CPU of the exporter, s"), ours.own_cpu, bare.own_cpu);
        line(&name("peak memory of the exporter, MiB"), peak, 500.0, 1.0);
        let bytes: f64 = place.ask("select sum(size_bytes) from control.lake_files").parse().unwrap();
        figure(&name(&format!("MiB in {} files, and bytes a row", said["files"])), bytes / 1_048_576.0, bytes / (each * customers) as f64);
        for (peer, program) in PEERS {
            beside_a_peer(&place, peer, program, connections, ours.seconds);
        }
    }
    place.server.stop().await.unwrap();
}

/// Rows as a control plane sends them: 200 machines, three months, distinct ids, few kinds.
fn fill(schema: &str, rows: usize) -> String {
    format!(
        "set search_path = {schema}; set synchronous_commit = off;
         insert into backup_runs ({COLUMNS})
         select gen_random_uuid(), 'https://vbr.example', 'run-' || n, md5((n % 200)::text)::uuid,
             case when n % 7 = 0 then 'full' else 'incremental' end, case when n % 50 = 0 then 'failed' else 'completed' end,
             ended_at - taken, ended_at, ended_at::date, ended_at::date, 1 + (n % 40 = 0)::int, (random() * 1e10)::bigint,
             (random() * 1e11)::bigint, (extract(epoch from taken) * 1000)::bigint, case when n % 50 = 0 then 'the repository is full' end
         from (select n, timestamptz '2025-09-01 00:00:00+00' + n * (interval '91 days' / {rows}) + random() * interval '1 minute' as ended_at,
             random() * interval '1 hour' as taken from generate_series(0, {rows} - 1) n) as drawn;
         vacuum (analyze) backup_runs;\n"
    )
}

fn sizes(schemas: &[String]) -> String {
    let tables: Vec<String> = schemas.iter().map(|schema| format!("pg_table_size('{schema}.backup_runs')")).collect();
    format!("select pg_size_pretty({})", tables.join(" + "))
}

/// Has a peer write the same rows, as plain files.
#[expect(clippy::disallowed_methods, reason = "where a measurement finds its peers, not configuration")]
fn beside_a_peer(place: &Place, peer: &str, program: &str, connections: usize, ours: f64) {
    let Ok(python) = std::env::var("PEERS_PYTHON") else { return };
    let folder = place.folder.path().join(program);
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        std::fs::create_dir_all(&folder).unwrap();
        let begun = Instant::now();
        let mut command = Command::new(&python);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/export_peers.py")).arg(program).arg(&folder);
        command.args([connections.to_string(), COLUMNS.to_owned()]).args(&place.schemas);
        command.env("URL", place.server.url_of("granary").reveal());
        if !command.status().unwrap().success() {
            println!("{peer} could not be measured");
            return;
        }
        best = best.min(begun.elapsed().as_secs_f64());
        std::fs::remove_dir_all(&folder).unwrap();
    }
    let name = format!("export beside {peer}, {connections} at a time, s");
    line(&name, ours, best, 1.0);
}

/// A night after which nobody has changed anything.
async fn nothing_changed(customers: usize) {
    let place = Place::new(customers).await;
    place.run_child(2, "");
    let stored = || std::fs::read_dir(place.folder.path().join("lake")).map_or(0, |_| count_files(&place.folder.path().join("lake")));
    let (before, version) = (stored(), place.ask("select max(version) from control.lake_versions"));
    let seconds = (0..ROUNDS).map(|_| place.run_child(2, "")["seconds"].as_f64().unwrap()).fold(f64::INFINITY, f64::min);
    assert_eq!((stored(), place.ask("select max(version) from control.lake_versions")), (before, version), "something was written");
    line(&format!("nothing changed since last night, {customers} customers, s"), seconds, 5.0, 1.0);
    place.server.stop().await.unwrap();
}

fn count_files(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries.map(|entry| if entry.file_type().unwrap().is_dir() { count_files(&entry.path()) } else { 1 }).sum()
}
