//! From one version to the next and back, and servers that are not our own.

use std::path::Path;

use granary_db::OwnerConnection;
use granary_db::embedded::Server;
use granary_foundation::{Secret, Silent};
use refinery::Target;

use super::front_door::{House, command};
use super::recovery::{BackedUp, text, value_in};

mod migrations {
    refinery::embed_migrations!("platform-migrations");
}

/// A version of the control schema from before keys of programs, tokens, audit chains and master keys.
const OLD: i32 = 15;

/// A house as an older program left it, with an MSP in it.
async fn old_house(data_dir: &Path) {
    let server = Server::start(data_dir, Silent::shared()).await.unwrap();
    let mut owner = OwnerConnection::connect(server.url()).await.unwrap();
    owner.batch("create schema control; create schema keystore; create schema outbox; set search_path = control").await.unwrap();
    owner.migrate(&migrations::migrations::runner().set_target(Target::Version(OLD)), "control").await.unwrap();
    owner
        .batch(
            "insert into installations (id, created_at) values ('0199a000-0000-7000-8000-000000000001', now());
             insert into msps (id, code, name, time_zone, currency, partner_tier, created_at)
             values ('0199a000-0000-7000-8000-000000000002', 'OLD', 'From before', 'UTC', 'USD', 'premier', now())",
        )
        .await
        .unwrap();
    drop(owner);
    server.stop().await.unwrap();
    std::fs::create_dir_all(data_dir.join("keys")).unwrap();
}

/// Asks the database without opening the house, which would bring it up to date.
async fn version(data_dir: &Path) -> i32 {
    let server = Server::start(data_dir, Silent::shared()).await.unwrap();
    let owner = OwnerConnection::connect(server.url()).await.unwrap();
    let row = owner.query_one("select max(version) from control.refinery_schema_history", &[]).await.unwrap();
    drop(owner);
    server.stop().await.unwrap();
    row.get(0)
}

fn newest() -> i32 {
    migrations::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_keeps_what_was_there_and_a_backup_from_before_it_leads_back() {
    let house = House::empty();
    old_house(&house.data_dir()).await;
    let url = format!("file://{}", house.dir.path().join("backups").display());
    let made = house.json(&["backup", "--to", &url]);
    assert_eq!(made["schema_version"], OLD, "{made}");
    assert_eq!(version(&house.data_dir()).await, OLD, "a backup changes nothing");
    house.ok(&["migrate"]);
    assert_eq!(version(&house.data_dir()).await, newest());
    assert!(house.ok(&["msp", "list"]).contains("From before"));
    house.ok(&["migrate"]);

    let restored = house.dir.path().join("restored");
    let master = house.data_dir().join("keys/master");
    let output = command(&restored, &["restore", "--from", &url, "--master-key", master.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(version(&restored).await, OLD);
    // The other way as well: what was rolled back is upgraded when it is time.
    let output = command(&restored, &["msp", "list"]).output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("From before"), "{}", text(&output));
    assert_eq!(version(&restored).await, newest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_older_than_the_schema_names_both_versions_and_touches_nothing() {
    let house = House::empty();
    house.ok(&["msp", "add", "NORTH", "--name", "Northern Backup"]);
    let future = newest() + 1;
    house.tamper(&format!("insert into control.refinery_schema_history values ({future}, 'from_the_future', now()::text, '1')"));
    for arguments in [&["msp", "list"][..], &["migrate"], &["migrate", "--plan"], &["serve", "--listen", "127.0.0.1:0"]] {
        let output = house.run(arguments);
        let said = text(&output);
        let names = [format!("version {future}"), format!("version {}", newest())];
        assert!(
            output.status.code() == Some(2) && names.iter().all(|name| said.contains(name)),
            "{arguments:?} {:?} {said}",
            output.status
        );
    }
    assert_eq!(version(&house.data_dir()).await, future);
}

/// A server that is somebody else's: here another house's.
fn elsewhere(house: &BackedUp, user: &str, password: &str) -> Secret {
    let socket = house.house.data_dir().join("postgres/run");
    Secret::new(format!("host='{}' port=5432 user={user} password='{password}' dbname=granary", socket.display()))
}

#[test]
fn a_server_of_ones_own_is_backed_up_as_of_the_end_of_the_backup_if_it_lets_us() {
    let house = BackedUp::build();
    let password = std::fs::read_to_string(house.house.data_dir().join("postgres.password")).unwrap();
    let data_dir = house.house.data_dir();
    let run = |url: &Secret, arguments: &[&str]| command(&data_dir, arguments).env("GRANARY_DATABASE_URL", url.reveal()).output().unwrap();
    let url = house.url();
    house.value("create role plain login password 'plain'; grant usage on schema control to plain; grant select on all tables in schema control to plain");
    let output = run(&elsewhere(&house, "plain", "plain"), &["backup", "--to", &url]);
    assert!(output.status.code() == Some(4) && text(&output).contains("alter role plain replication"), "{}", text(&output));

    let owner = elsewhere(&house, "granary", password.trim());
    let output = run(&owner, &["backup", "--to", &url]);
    assert!(output.status.success(), "{}", text(&output));
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&made["from_at"], made["wal_segments"].as_u64()), (&made["until_at"], Some(0)), "{made}");
    house.value("create table public.later (n int)");
    let (restored, output) = house.restore("restored", &["--master-key", &house.master()]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(value_in(&restored, "select count(*) from control.customers where to_regclass('public.later') is null"), "1");
    let output = run(&owner, &["backup", "ship"]);
    assert!(!output.status.success() && text(&output).contains("of your own"), "{}", text(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_another_postgres_is_refused_with_what_to_install() {
    let dir = tempfile::tempdir().unwrap();
    let error = granary_db::embedded::Restoration::begin(dir.path(), 99).unwrap_err().to_string();
    assert!(error.contains("Postgres 99") && error.contains("postgresql-99") && error.contains("GRANARY_POSTGRES_BIN"), "{error}");
}

#[test]
fn a_damaged_page_keeps_a_backup_from_being_one() {
    let mut house = BackedUp::build();
    let file = house.value("select pg_relation_filepath('control.customers')");
    house.stop();
    let path = house.house.data_dir().join("postgres/data").join(file);
    let mut content = std::fs::read(&path).unwrap();
    let end = content.len() - 20;
    content[end] ^= 0xff;
    std::fs::write(&path, content).unwrap();
    let output = house.house.run(&["backup", "--to", &house.url()]);
    assert!(!output.status.success() && text(&output).contains("checksum"), "{}", text(&output));
    assert!(super::recovery::find(&house.store(), "/manifest").is_empty());
}
