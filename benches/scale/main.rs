//! What a lake of many customers and months costs before a row is read, and what the overview costs over it:
//! `cargo bench --bench scale`, smaller with `-- --customers 100 --months 12`.
//!
//! The manifest is real (rows in our own Postgres, every key wrapped by its customer's), the customers' files are not there: measured
//! is what it takes to know them. The marts are there. Prints one line a figure; `docs/scale.md` reckons with them.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

mod overview;

use std::io::{BufWriter, Write};
use std::process::{Command, Stdio};
use std::time::Instant;

use futures::{StreamExt, TryStreamExt};
use granary_db::embedded::Server;
use granary_db::{Database, DatabaseConfig};
use granary_foundation::config::LakeConfig;
use granary_foundation::{Secret, Silent};
use granary_lake::Lake;
use granary_tenants::{Granted, NewContract, NewCustomer, ReadGrant, Tenants};
use granary_types::{Clock, Currency, CustomerId, Dataset, MspId, Role, Source, Tier};
use granary_vault::{FileKey, Keys, MasterKey, Objects, Owner};
use granary_warehouse::{Budget, Warehouse};
use jiff::civil::date;
use uuid::Uuid;

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const CONNECTIONS: usize = 4;
/// Columns of the manifest that a file fills.
const COLUMNS: &str =
    "id, msp_id, customer_id, dataset, month, path, size_bytes, footer_bytes, row_count, statistics, source_hash, wrapped_key,
    key_version, added_version";

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(measure(number("--customers", 1_000), number("--months", 36)));
}

fn number(flag: &str, otherwise: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    arguments.nth(1).map_or(otherwise, |text| text.parse().unwrap())
}

fn line(figure: &str, measured: f64) {
    println!("{figure:<74} {measured:>12.2}");
}

async fn measure(customers: usize, months: usize) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = Server::start(folder.path(), Silent::shared()).await.unwrap();
    let added = Command::new(GRANARY)
        .args(["msp", "add", "NORTH", "--name", "Northern Backup", "--data-dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(added.unwrap().success());
    let secrets = folder.path().join("keys");
    let app_password = Secret::new(std::fs::read_to_string(secrets.join("app-password")).unwrap().trim());
    let config = DatabaseConfig { url: server.url().clone(), app_password, max_connections: 16, connections_per_tenant: 4 };
    let database = Database::connect(&config, Clock::System).await.unwrap();
    let keys = Keys::new(database.clone(), MasterKey::load_or_create(&secrets.join("master")).unwrap());
    let tenants = Tenants::new(database, keys.clone());
    let msp = tenants.find_msp_by_code("NORTH").await.unwrap().unwrap();
    let ids = provision(&tenants, customers).await;

    let datasets =
        [granary_tenants::DATASETS, granary_metering::DATASETS, granary_billing::DATASETS, granary_intelligence::DATASETS].concat();
    let manifest = folder.path().join("manifest.csv");
    let files = write_manifest(&manifest, &keys, msp.id, &ids, &datasets, months).await;
    let psql = |sql: &str| {
        let output =
            Command::new("psql").args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", server.url_of("granary").reveal(), "-c", sql]).output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let begun = Instant::now();
    psql(&format!("\\copy control.lake_files ({COLUMNS}) from '{}' csv", manifest.display()));
    psql(&format!("insert into control.lake_heads values ('{}', 1)", msp.id));
    psql("vacuum analyze control.lake_files");
    line("files in the manifest", files as f64);
    line("seconds to write them", begun.elapsed().as_secs_f64());
    let bytes: f64 = psql("select pg_total_relation_size('control.lake_files')").parse().unwrap();
    line("bytes of the manifest a file, indexes included", bytes / files as f64);

    let objects = Objects::open_regions(&format!("file://{}/lake", folder.path().display()), &LakeConfig::default()).unwrap();
    let lake = Lake::new(tenants.clone(), keys, objects, datasets);
    let warehouse = Warehouse::new(lake.clone(), Budget { files: usize::MAX, ..Budget::default() }).unwrap();
    let everybody = ReadGrant { msp: msp.id, customers: Granted::All, role: Role::MspAdmin, can_read_billing: true };
    let one = ReadGrant { customers: Granted::Only([ids[0]].into()), ..everybody.clone() };
    open_sessions(&warehouse, &one, &everybody).await;
    overview::publish(&lake, &warehouse, &everybody, &ids, months.min(24)).await;
    overview::measure(folder.path()).await;
    tenants.db().close();
    server.stop().await.unwrap();
}

/// Opens a session of one customer and of all, and plans over them without opening a file.
async fn open_sessions(warehouse: &Warehouse, one: &ReadGrant, everybody: &ReadGrant) {
    for (name, grant) in [("one customer", one), ("every customer", everybody), ("every customer, again", everybody)] {
        let (begun, before) = (Instant::now(), resident());
        let session = warehouse.session(grant).await.unwrap();
        line(&format!("session of {name}, ms"), begun.elapsed().as_secs_f64() * 1e3);
        for (what, sql) in [
            ("a mart", "explain select * from revenue_by_month"),
            (
                "one customer and month of runs",
                "explain select sum(duration_ms) from lake.backup_runs where customer_code = 'C0' and month = '2025-10'",
            ),
            ("one month of runs", "explain select sum(duration_ms) from lake.backup_runs where month = '2025-10'"),
            ("all runs", "explain select sum(duration_ms) from lake.backup_runs"),
        ] {
            let begun = Instant::now();
            session.query(sql).await.unwrap();
            line(&format!("  planning over {what}, ms"), begun.elapsed().as_secs_f64() * 1e3);
        }
        line("  memory it took, MiB", (resident() - before) / f64::from(1 << 20));
    }
}

async fn provision(tenants: &Tenants, count: usize) -> Vec<CustomerId> {
    let msp = tenants.find_msp_by_code("NORTH").await.unwrap().unwrap();
    futures::stream::iter(0..count)
        .map(|index| {
            let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
            let new = NewCustomer::new(msp.id, format!("C{index}").parse().unwrap(), "Customer", msp.time_zone.clone(), contract);
            async move { tenants.provision_customer(&new).await.map(|customer| customer.id) }
        })
        .buffer_unordered(CONNECTIONS)
        .try_collect()
        .await
        .unwrap()
}

/// Writes a file a customer, dataset and month, the newest 2026-10; returns how many.
async fn write_manifest(
    path: &std::path::Path,
    keys: &Keys,
    msp: MspId,
    customers: &[CustomerId],
    datasets: &[Dataset],
    months: usize,
) -> usize {
    let mut out = BufWriter::new(std::fs::File::create(path).unwrap());
    let mut count = 0;
    for customer in customers {
        for dataset in datasets.iter().filter(|dataset| dataset.source == Source::Tenant) {
            let months: Vec<String> = match dataset.month_column {
                Some(_) => (0..months)
                    .map(|back| {
                        date(2026, 10, 1)
                            .saturating_sub(jiff::Span::new().months(i64::try_from(back).unwrap()))
                            .strftime("%Y-%m")
                            .to_string()
                    })
                    .collect(),
                None => vec!["all".to_owned()],
            };
            let columns: Vec<String> = dataset
                .columns
                .iter()
                .map(|column| format!(r#"""{}"":{{""min"":""1761955200000000"",""max"":""1764547199000000"",""nulls"":0}}"#, column.name))
                .collect();
            for month in months {
                let file = Uuid::now_v7();
                let name = format!("lake/00/{customer}/{}/{month}/{file}.parquet", dataset.name);
                let wrapped = keys.wrap(Owner::Customer(*customer), &FileKey::random().unwrap(), name.as_bytes()).await.unwrap();
                writeln!(
                    out,
                    "{file},{msp},{customer},{},{month},{name},40000,6000,1200,\"{{{}}}\",\\x{},\\x{},{},1",
                    dataset.name,
                    columns.join(","),
                    "00".repeat(32),
                    hex(&wrapped.bytes),
                    wrapped.key_version
                )
                .unwrap();
                count += 1;
            }
        }
    }
    out.flush().unwrap();
    count
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Memory of this process that is in use, in bytes.
fn resident() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).and_then(|rest| rest.split_whitespace().next()).unwrap();
    kib.parse::<f64>().unwrap() * 1024.0
}
