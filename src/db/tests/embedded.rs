//! The Postgres of our own: started, shared, orphaned, adopted, stopped.
#![expect(clippy::unwrap_used, reason = "what fails in a test fails the test")]

use std::fs;
use std::path::Path;
use std::process::Command;

use granary_db::embedded::{EmbeddedError, Server};
use granary_foundation::Silent;
use granary_types::{Classify, ErrorKind};
use tokio_postgres::{Client, NoTls};

async fn connect(server: &Server) -> Client {
    let (client, connection) = tokio_postgres::connect(server.url().reveal(), NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn one(client: &Client, sql: &str) -> String {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

fn postmaster(server: &Server) -> Option<u32> {
    let text = fs::read_to_string(server.base().join("data/postmaster.pid")).ok()?;
    text.lines().next()?.parse().ok()
}

fn kill(pid: u32) {
    assert!(Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).status().unwrap().success());
}

async fn start(directory: &Path) -> Result<Server, EmbeddedError> {
    Server::start(directory, Silent::shared()).await
}

#[tokio::test]
async fn a_server_is_durable_private_and_kept_between_starts() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let directory = folder.path().join("data dir");
    let server = start(&directory).await.unwrap();
    let client = connect(&server).await;
    assert_eq!(one(&client, "show fsync").await, "on");
    assert_eq!(one(&client, "show data_checksums").await, "on");
    assert_eq!(one(&client, "show listen_addresses").await, "");
    assert_eq!(one(&client, "show server_encoding").await, "UTF8");
    assert_eq!(one(&client, "show password_encryption").await, "scram-sha-256");
    let wrong = server.url().reveal().replace("password='", "password='x");
    assert!(tokio_postgres::connect(&wrong, NoTls).await.is_err());
    client.batch_execute("create table kept (n int); insert into kept values (1)").await.unwrap();
    let pid = postmaster(&server).unwrap();

    // A second user joins; the first to leave does not take the server along, the last does.
    let second = start(&directory).await.unwrap();
    assert_eq!(postmaster(&second), Some(pid));
    server.stop().await.unwrap();
    assert_eq!(one(&connect(&second).await, "select n::text from kept").await, "1");
    let base = second.base().to_owned();
    second.stop().await.unwrap();
    assert!(!base.join("data/postmaster.pid").exists());

    let third = start(&directory).await.unwrap();
    assert_eq!(one(&connect(&third).await, "select n::text from kept").await, "1");
    drop(third);
    assert!(!base.join("data/postmaster.pid").exists(), "dropped, the last lease stops the server too");
}

#[tokio::test]
async fn an_orphan_is_adopted_and_a_crash_recovered_from() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = start(folder.path()).await.unwrap();
    let pid = postmaster(&server).unwrap();
    connect(&server).await.batch_execute("create table kept (n int); insert into kept values (2)").await.unwrap();

    // Its user vanished without letting go: the server stays.
    std::mem::forget(server);
    let adopted = start(folder.path()).await.unwrap();
    assert_eq!(postmaster(&adopted), Some(pid));

    // The server itself is killed: the next start recovers what was committed.
    kill(pid);
    let again = start(folder.path()).await.unwrap();
    assert_ne!(postmaster(&again), Some(pid));
    assert_eq!(one(&connect(&again).await, "select n::text from kept").await, "2");

    // The forgotten lease is still held by this very process, so the server outlives these two.
    adopted.stop().await.unwrap();
    let last = postmaster(&again).unwrap();
    again.stop().await.unwrap();
    assert!(Path::new("/proc").join(last.to_string()).exists());
    // Whoever looks after the forgotten server finds nothing to start. The server lives and may write a file while they go.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while folder.path().exists() {
        assert!(std::time::Instant::now() < deadline, "{:?}", fs::remove_dir_all(folder.path()));
        let _ = fs::remove_dir_all(folder.path());
    }
    // Once a minute a server looks whether its files are still its own, and may have ended by itself.
    let _ = Command::new("sh").args(["-c", &format!("kill -9 {last}")]).status().unwrap();
}

#[tokio::test]
async fn a_server_that_ends_under_its_users_is_started_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let server = start(folder.path()).await.unwrap();
    connect(&server).await.batch_execute("create table kept (n int); insert into kept values (3)").await.unwrap();
    let pid = postmaster(&server).unwrap();
    kill(pid);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let client = loop {
        match tokio_postgres::connect(server.url().reveal(), NoTls).await {
            Ok((client, connection)) => {
                tokio::spawn(connection);
                break client;
            }
            Err(error) => assert!(std::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    assert_eq!(one(&client, "select n::text from kept").await, "3");
    assert_ne!(postmaster(&server), Some(pid));
    let base = server.base().to_owned();
    server.stop().await.unwrap();
    // Asked to end, it stays down.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    assert!(!base.join("data/postmaster.pid").exists());
}

#[tokio::test]
async fn a_start_that_was_killed_while_it_made_the_cluster_is_made_good() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for leftover in ["postgres/data.1.new/base", "postgres/data/base"] {
        fs::create_dir_all(folder.path().join(leftover)).unwrap();
    }
    // The program that made the cluster outlived its start and goes on writing.
    let path = folder.path().join("postgres/data.1.new/base");
    let writer = std::thread::spawn(move || {
        for file in 0..20_000 {
            let _ = fs::create_dir_all(&path).and_then(|()| fs::write(path.join(file.to_string()), b""));
        }
    });
    let server = start(folder.path()).await.unwrap();
    writer.join().unwrap();
    assert_eq!(one(&connect(&server).await, "select current_database()::text").await, "granary");
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_cluster_of_another_version_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::create_dir_all(folder.path().join("postgres/data")).unwrap();
    fs::write(folder.path().join("postgres/data/PG_VERSION"), "12\n").unwrap();
    fs::write(folder.path().join("postgres.password"), "x").unwrap();
    let error = start(folder.path()).await.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Invalid, "postgres_version_differs"));
    let text = error.to_string();
    assert!(text.contains("Postgres 12") && text.contains("postgresql-12") && text.contains("GRANARY_DATABASE_URL"), "{text}");
}

/// A home of root is closed to the account that the server runs as. Whoever is not root has the server inside.
#[tokio::test]
async fn a_directory_that_the_account_cannot_enter_is_served_from_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    let is_root = std::os::unix::fs::MetadataExt::uid(&fs::metadata(folder.path()).unwrap()) == 0;
    let server = start(folder.path()).await.unwrap();
    let base = server.base().to_owned();
    assert_eq!(base.starts_with("/var/lib/granary"), is_root);
    connect(&server).await.batch_execute("create table kept (n int)").await.unwrap();
    server.stop().await.unwrap();

    // The data directory was emptied: what lay elsewhere can no longer be opened and is set aside for a new beginning.
    fs::remove_file(folder.path().join("postgres.password")).unwrap();
    let server = start(folder.path()).await.unwrap();
    assert_eq!(one(&connect(&server).await, "select count(*)::text from pg_class where relname = 'kept'").await, "0");
    server.stop().await.unwrap();
    for leftover in [base.clone(), base.with_extension("abandoned")] {
        fs::remove_dir_all(leftover).unwrap();
    }
}
