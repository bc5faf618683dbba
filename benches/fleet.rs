//! The promises about the fleet, measured against the same statements sent by psql in the same run: `cargo bench --bench fleet`,
//! smaller with `-- --tenants 100 --many 500`.
//!
//! Postgres is our own with fsync on. "bare" is `begin`, path, lock, the statements, the history's row and `commit`, by as many
//! psql as we have connections. Prints one line a promise: measured, bare or limit, and their ratio.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that fails has failed")]

use std::fmt::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use futures::{StreamExt, TryStreamExt};
use granary_db::embedded::Server;
use granary_db::{Database, DatabaseConfig};
use granary_foundation::{Secret, Silent};
use granary_tenants::{Fleet, FleetOptions, NewContract, NewCustomer, Tenants};
use granary_types::{Clock, Currency, Tier};
use granary_vault::{Keys, MasterKey};
use jiff::civil::date;
use refinery::Migration;

const GRANARY: &str = env!("CARGO_BIN_EXE_granary");
const CONNECTIONS: usize = 4;
const KILLS: u32 = 10;
const STATEMENTS: &str = "alter table machines add column measured text; create index machines_measured on machines (measured);";
const HISTORY: &str = "create table if not exists refinery_schema_history (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));";

fn main() {
    // `cargo test --benches` passes --test: a promise is measured only when somebody asks.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("{:<62} {:>10} {:>10} {:>7} {:>7}", "promise", "measured", "beside", "ratio", "limit");
    runtime.block_on(changes(number("--tenants", 1_000)));
    runtime.block_on(thousands(number("--many", 5_000)));
}

fn number(flag: &str, otherwise: usize) -> usize {
    let mut arguments = std::env::args().skip_while(|argument| argument != flag);
    arguments.nth(1).map_or(otherwise, |text| text.parse().unwrap())
}

fn line(promise: &str, measured: f64, beside: f64, limit: f64) {
    println!("{promise:<62} {measured:>10.2} {beside:>10.2} {:>7.2} {limit:>7.2}", measured / beside);
}

/// A data directory with its own Postgres and an MSP, made by the binary.
struct Place {
    folder: tempfile::TempDir,
    server: Server,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let server = Server::start(folder.path(), Silent::shared()).await.unwrap();
        let place = Self { folder, server };
        assert!(place.granary(&["msp", "add", "NORTH", "--name", "Northern Backup"]).output().unwrap().status.success());
        place
    }

    fn granary(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(GRANARY);
        command.args(arguments).arg("--data-dir").arg(self.folder.path()).env("GRANARY_LOG", "error");
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// The binary's own rooms, in this process.
    async fn tenants(&self) -> Tenants {
        let keys = self.folder.path().join("keys");
        let app_password = Secret::new(std::fs::read_to_string(keys.join("app-password")).unwrap().trim());
        let url = self.server.url().clone();
        let config = DatabaseConfig { url, app_password, max_connections: 16, connections_per_tenant: 4 };
        let database = Database::connect(&config, Clock::System).await.unwrap();
        Tenants::new(database.clone(), Keys::new(database, MasterKey::load_or_create(&keys.join("master")).unwrap()))
    }

    fn ask(&self, sql: &str) -> String {
        let output = psql(&self.server.url_of("granary")).args(["-Atc", sql]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs scripts, one psql each, all at the same time; returns the seconds.
    fn run_scripts(&self, database: &str, scripts: &[String]) -> f64 {
        let files: Vec<_> = scripts
            .iter()
            .enumerate()
            .map(|(index, script)| {
                let file = self.folder.path().join(format!("script-{index}.sql"));
                std::fs::write(&file, script).unwrap();
                file
            })
            .collect();
        let url = self.server.url_of(database);
        let begun = Instant::now();
        let running: Vec<_> = files.iter().map(|file| psql(&url).arg("-f").arg(file).stdout(Stdio::null()).spawn().unwrap()).collect();
        for mut child in running {
            assert!(child.wait().unwrap().success());
        }
        begun.elapsed().as_secs_f64()
    }
}

fn psql(url: &Secret) -> Command {
    let mut command = Command::new("psql");
    command.args(["-qX", "-v", "ON_ERROR_STOP=1", "-d", url.reveal()]);
    command
}

/// Deals work for a number of schemas out to as many scripts as there are connections.
fn dealt(schemas: usize, mut write: impl FnMut(&mut String, usize)) -> Vec<String> {
    let mut scripts = vec!["set client_min_messages = warning;\n".to_owned(); CONNECTIONS];
    for index in 0..schemas {
        write(&mut scripts[index % CONNECTIONS], index);
    }
    scripts
}

/// One silo as psql makes it: the statements that `granary` sends.
fn bare_silo(script: &mut String, schema: &str, role: &str, migrations: &[Migration], login: &str) {
    write!(
        script,
        "begin; select pg_advisory_xact_lock(hashtextextended('{schema}', 0)); create role {role} nologin; create schema {schema};
         grant usage on schema {schema} to {role}; grant {role} to {login}; set local search_path = {schema}; {HISTORY}\n"
    )
    .unwrap();
    for migration in migrations {
        writeln!(script, "{}\n{}", migration.sql().unwrap(), note(migration)).unwrap();
    }
    let logs = ["usage_events", "audit_log"]
        .into_iter()
        .filter(|log| migrations.iter().any(|known| known.sql().unwrap().contains(&format!("create table {log} "))));
    write!(
        script,
        "grant select, insert, update, delete on all tables in schema {schema} to {role};
         revoke all on refinery_schema_history from {role}; revoke update, delete on {} from {role}; commit;\n",
        logs.collect::<Vec<_>>().join(", ")
    )
    .unwrap();
}

fn note(migration: &Migration) -> String {
    format!(
        "insert into refinery_schema_history values ({}, '{}', now()::text, '{}');",
        migration.version(),
        migration.name(),
        migration.checksum()
    )
}

/// Provisioning, and one migration of all.
async fn changes(count: usize) {
    let place = Place::new().await;
    let tenants = place.tenants().await;
    let known = Fleet::known_migrations();
    place.ask("create database bare");
    place.ask("create role bare_login");

    let scripts = dealt(count, |script, index| bare_silo(script, &format!("b_{index}"), &format!("bare_{index}"), &known, "bare_login"));
    let bare = place.run_scripts("bare", &scripts);
    let ours = provision(&tenants, count).await;
    line(&format!("provision {count} customers, {CONNECTIONS} connections, s"), ours, bare, 1.5);

    let next = known.last().unwrap().version() + 1;
    let added = Migration::unapplied(&format!("V{next}__measured"), STATEMENTS).unwrap();
    let scripts = dealt(count, |script, index| {
        let lock = format!("select pg_advisory_xact_lock(hashtextextended('b_{index}', 0));");
        writeln!(script, "begin; set local search_path = b_{index}; {lock} {STATEMENTS} {} commit;", note(&added)).unwrap();
    });
    let bare = place.run_scripts("bare", &scripts);
    let fleet = Fleet::with_migrations(tenants.clone(), [known, vec![added]].concat());
    let begun = Instant::now();
    let report = fleet.migrate(&FleetOptions { connections: CONNECTIONS, ..FleetOptions::default() }, &Silent).await.unwrap();
    assert_eq!((report.migrated, report.failed.len()), (count as u64, 0));
    line(&format!("one migration over {count} tenants, {CONNECTIONS} connections, s"), begun.elapsed().as_secs_f64(), bare, 1.3);
    tenants.db().close();
    place.server.stop().await.unwrap();
}

async fn provision(tenants: &Tenants, count: usize) -> f64 {
    let msp = tenants.find_msp_by_code("NORTH").await.unwrap().unwrap();
    let begun = Instant::now();
    futures::stream::iter(0..count)
        .map(|index| {
            let contract = NewContract::new(date(2025, 1, 1), Currency::USD, Tier::Backup, 500);
            let new = NewCustomer::new(msp.id, format!("C{index}").parse().unwrap(), "Customer", msp.time_zone.clone(), contract);
            async move { tenants.provision_customer(&new).await.map(drop) }
        })
        .buffer_unordered(CONNECTIONS)
        .try_collect::<()>()
        .await
        .unwrap();
    begun.elapsed().as_secs_f64()
}

/// Thousands of schemas at the version before this program's: the binary is killed again and again, then has nothing to do.
async fn thousands(count: usize) {
    let place = Place::new().await;
    let known = Fleet::known_migrations();
    let (last, before) = known.split_last().unwrap();
    make_schemas(&place, count, before);
    let migrated = || {
        place.ask(&format!("select count(*) from control.customers where schema_version = {}", last.version())).parse::<usize>().unwrap()
    };

    let mut begun_midway = 0;
    let mut patience = Duration::from_millis(400);
    for _ in 0..KILLS {
        let mut child = place.granary(&["migrate"]).spawn().unwrap();
        std::thread::sleep(patience);
        child.kill().unwrap();
        child.wait().unwrap();
        let done = migrated();
        if done == 0 { patience += Duration::from_millis(200) } else { begun_midway += usize::from(done < count) }
    }
    let left = count - migrated();
    let (seconds, is_well) = timed(&place, &["migrate"]);
    assert!(is_well && migrated() == count);
    let twice = histories(&place, last.version());
    println!("killed {KILLS} times, {begun_midway} of them midway; the last run did {left} of {count} in {seconds:.1} s");
    println!("{:<62} {:>10} {:>10}", "schemas with the migration, and rows in their histories", twice.0, twice.1);
    assert_eq!(twice, (count, count), "a migration is missing or ran twice");

    // The statistics of the catalog as autovacuum keeps them; the first run warms the server's cache.
    place.ask("analyze pg_catalog.pg_class; analyze pg_catalog.pg_attribute; analyze pg_catalog.pg_namespace");
    let quickest = |arguments: &[&str]| {
        (0..4)
            .map(|_| timed(&place, arguments))
            .skip(1)
            .map(|(seconds, is_well)| if is_well { seconds } else { f64::NAN })
            .fold(f64::INFINITY, f64::min)
    };
    line(&format!("nothing to do over {count} tenants, whole process, s"), quickest(&["migrate"]), 1.0, 1.0);
    line(&format!("every schema of {count} compared, whole process, s"), quickest(&["migrate", "--status", "--format", "csv"]), 2.0, 1.0);
    place.server.stop().await.unwrap();
}

fn timed(place: &Place, arguments: &[&str]) -> (f64, bool) {
    let begun = Instant::now();
    let status = place.granary(arguments).status().unwrap();
    (begun.elapsed().as_secs_f64(), status.success())
}

/// Makes schemas without waiting for the disk; afterwards every write is waited for again.
fn make_schemas(place: &Place, count: usize, migrations: &[Migration]) {
    place.ask("alter system set fsync = off");
    place.ask("select pg_reload_conf()");
    place.ask("create role many_login");
    let version = migrations.last().unwrap().version();
    let scripts = dealt(count, |script, index| {
        let (schema, role) = (format!("t_{index}"), format!("many_{index}"));
        bare_silo(script, &schema, &role, migrations, "many_login");
        writeln!(
            script,
            "set search_path = control; insert into customers (id, msp_id, code, name, status, time_zone, schema_name, role_name, schema_version, created_at)
             select gen_random_uuid(), id, 'M{index}', 'Customer', 'active', time_zone, '{schema}', '{role}', {version}, now() from msps;"
        )
        .unwrap();
    });
    let seconds = place.run_scripts("granary", &scripts);
    place.ask("alter system reset fsync");
    place.ask("select pg_reload_conf()");
    sync(place.server.base());
    place.ask("checkpoint");
    println!("made {count} schemas in {seconds:.0} s, without fsync");
}

fn sync(path: &Path) {
    assert!(Command::new("sync").arg("-f").arg(path).status().unwrap().success());
}

/// How many histories have a version, and how many rows of it there are in all of them.
fn histories(place: &Place, version: i32) -> (usize, usize) {
    let found = place.ask(&format!(
        "create temp table found (schema text, times int);
         do $$ declare s text; begin for s in select schema_name from control.customers loop
             execute format('insert into found select %L, count(*) from %I.refinery_schema_history where version = {version}', s, s);
         end loop; end $$;
         select count(*) filter (where times > 0) || ' ' || sum(times) from found"
    ));
    let (schemas, rows) = found.lines().last().unwrap().split_once(' ').unwrap();
    (schemas.parse().unwrap(), rows.parse().unwrap())
}
