//! The migrator is killed on its way over the fleet, again and again.

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use granary_db::embedded::Server;
use granary_foundation::Silent;
use granary_tenants::Fleet;

use super::front_door::{House, command};

const TENANTS: usize = 80;
const KILLS: usize = 10;

fn psql(server: &Server, arguments: &[&str]) -> String {
    let mut psql = Command::new("psql");
    psql.args(["-qXAt", "-v", "ON_ERROR_STOP=1", "-d", server.url().reveal()]).args(arguments);
    let output = psql.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// How many histories have a version, and how many rows of it there are in all of them.
fn histories(server: &Server, version: i32) -> (usize, usize) {
    let found = psql(
        server,
        &[
            "-c",
            "create temp table found (times int)",
            "-c",
            &format!(
                "do $$ declare s text; begin for s in select schema_name from control.customers loop
                     execute format('insert into found select count(*) from %I.refinery_schema_history where version = {version}', s);
                 end loop; end $$"
            ),
            "-c",
            "select count(*) filter (where times > 0) || ' ' || sum(times) from found",
        ],
    );
    let (schemas, rows) = found.split_once(' ').unwrap();
    (schemas.parse().unwrap(), rows.parse().unwrap())
}

/// Customers whose schemas are at the version before this program's.
fn old_fleet(house: &House, server: &Server) {
    let known = Fleet::known_migrations();
    let (_, before) = known.split_last().unwrap();
    let mut script = "set client_min_messages = warning; create role of_tests;\n".to_owned();
    for index in 0..TENANTS {
        let (schema, role) = (format!("t_{index}"), format!("role_{index}"));
        write!(
            script,
            "begin; create role {role} nologin; create schema {schema}; grant usage on schema {schema} to {role}; set local search_path = {schema};
             create table refinery_schema_history (version int4 primary key, name varchar(255), applied_on varchar(255), checksum varchar(255));\n"
        )
        .unwrap();
        for migration in before {
            let (version, name, checksum) = (migration.version(), migration.name(), migration.checksum());
            let sql = migration.sql().unwrap();
            writeln!(script, "{sql}\n;insert into refinery_schema_history values ({version}, '{name}', now()::text, '{checksum}');")
                .unwrap();
        }
        let logs = ["usage_events", "audit_log"].map(|log| (log, format!("create table {log} ")));
        let there = logs.iter().filter(|(_, made)| before.iter().any(|known| known.sql().unwrap().contains(made))).map(|(log, _)| *log);
        write!(
            script,
            "grant select, insert, update, delete on all tables in schema {schema} to {role}; revoke all on refinery_schema_history from {role};
             revoke update, delete on {} from {role}; set local search_path = control;
             insert into customers (id, msp_id, code, name, status, time_zone, schema_name, role_name, schema_version, created_at)
             select gen_random_uuid(), id, 'M{index}', 'Customer', 'active', time_zone, '{schema}', '{role}', {}, now() from msps; commit;\n",
            there.collect::<Vec<_>>().join(", "),
            before.len()
        )
        .unwrap();
    }
    let file = house.dir.path().join("fleet.sql");
    std::fs::write(&file, script).unwrap();
    psql(server, &["-f", file.to_str().unwrap()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migrator_that_is_killed_ten_times_on_the_way_ends_complete_and_does_nothing_twice() {
    let house = House::empty();
    std::fs::create_dir(house.data_dir()).unwrap();
    let server = Server::start_volatile(&house.data_dir(), Silent::shared()).await.unwrap();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    old_fleet(&house, &server);
    let version = Fleet::known_migrations().last().unwrap().version();
    let done = || histories(&server, version).0;

    // Quick machines would be over before they are killed, busy ones before they are looked at.
    let slow = "create function public.slow() returns event_trigger language plpgsql as $$ begin perform pg_sleep(0.05); end $$;
        create event trigger slow on ddl_command_start execute function public.slow()";
    psql(&server, &["-c", slow]);
    let noted = || psql(&server, &["-c", &format!("select count(*) from control.customers where schema_version = {version}")]);
    let mut midway = 0;
    for _ in 0..KILLS {
        let (before, noted_before) = (done(), noted());
        let migrate = ["migrate", "--connections", "1"];
        let mut child = command(&house.data_dir(), &migrate).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while noted() == noted_before && Instant::now() < deadline && child.try_wait().unwrap().is_none() {}
        // SIGKILL: nothing is tidied up.
        child.kill().unwrap();
        child.wait().unwrap();
        midway += usize::from(before < done() && done() < TENANTS);
    }
    assert!(midway >= 5, "of {KILLS} kills {midway} came midway");
    psql(&server, &["-c", "drop event trigger slow", "-c", "drop function public.slow()"]);
    let left = TENANTS - done();
    house.ok(&["migrate"]);
    assert_eq!(histories(&server, version), (TENANTS, TENANTS), "each schema has the migration, once; {left} were left to the last run");
    // Every schema is what its version should be: nothing is half done.
    let status = house.json(&["migrate", "--status", "--format", "json"]);
    let current = status.as_array().unwrap().iter().filter(|row| row["state"] == "current" && row["version"] == version).count();
    assert_eq!(current, TENANTS, "{status}");
    assert!(house.ok(&["migrate", "--format", "csv"]).contains(&format!("\n{version},0,{TENANTS},0,0,0,")));
    server.stop().await.unwrap();
}
