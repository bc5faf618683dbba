//! The shared server, its template and its databases.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use granary_db::embedded::{self, Server};
use granary_db::{Database, DatabaseConfig};
use granary_foundation::{Secret, Silent};
use granary_types::Clock;
use tokio::sync::Mutex;
use tokio_postgres::{Client, Config, NoTls};

/// The password of the app's login on the test server, which listens on a private socket.
pub(crate) const APP_PASSWORD: &str = "not-a-secret";

/// The server, and the template that was made with it: who edits a migration meanwhile disturbs no test that runs.
static SHARED: Mutex<(Weak<Server>, String)> = Mutex::const_new((Weak::new(), String::new()));

/// Returns the server, started if need be, with a migrated template and the template's name.
pub(crate) async fn server() -> (Arc<Server>, String) {
    let mut shared = SHARED.lock().await;
    if let Some(server) = shared.0.upgrade() {
        return (server, shared.1.clone());
    }
    let template = format!("granary_template_{:016x}", migrations_hash());
    let directory = std::env::temp_dir().join(format!("granary-tests-{}", embedded::available_version().unwrap()));
    let server = Arc::new(Server::start_volatile(&directory, Silent::shared()).await.unwrap());
    prepare(&server, &template).await;
    *shared = (Arc::downgrade(&server), template.clone());
    (server, template)
}

/// Connects as the owner.
pub(crate) async fn connect(server: &Server, database: &str) -> Client {
    connect_to(&server.url_of(database)).await
}

/// Connects by a URL.
pub(crate) async fn connect_to(url: &Secret) -> Client {
    let config = Config::from_str(url.reveal()).unwrap();
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// Drops a test's database and the roles of its tenants.
pub(crate) async fn drop_database(server: &Server, name: &str) {
    let inside = connect(server, name).await;
    let roles = inside.query("select role_name from control.customers", &[]).await.unwrap_or_default();
    drop(inside);
    let admin = connect(server, "postgres").await;
    admin.batch_execute(&format!("drop database if exists {name} with (force)")).await.unwrap();
    for row in roles {
        let role: String = row.get(0);
        admin.batch_execute(&format!("drop role if exists {role}")).await.ok();
    }
}

/// Makes the template once, and removes what killed processes left behind.
async fn prepare(server: &Server, template: &str) {
    let admin = connect(server, "postgres").await;
    admin.batch_execute("select pg_advisory_lock(20251010)").await.unwrap();
    for row in admin.query("select datname::text from pg_database where datname like 'granary\\_test\\_%'", &[]).await.unwrap() {
        let name: String = row.get(0);
        let process = name.split('_').nth(2).unwrap_or_default();
        if Path::new("/proc/self").exists() && !Path::new("/proc").join(process).exists() {
            drop_database(server, &name).await;
        }
    }
    let is_there = admin.query_opt("select 1 from pg_database where datname = $1", &[&template]).await.unwrap().is_some();
    if !is_there {
        let draft = format!("{template}_draft");
        admin.batch_execute(&format!("drop database if exists {draft} with (force)")).await.unwrap();
        admin.batch_execute(&format!("create database {draft}")).await.unwrap();
        let config = DatabaseConfig {
            url: server.url_of(&draft),
            app_password: Secret::new(APP_PASSWORD),
            max_connections: 1,
            connections_per_tenant: 1,
        };
        let database = Database::connect(&config, Clock::System).await.unwrap();
        database.close();
        drop(database);
        rename(&admin, &draft, template).await;
    }
    admin.batch_execute("select pg_advisory_unlock(20251010)").await.unwrap();
}

/// Sessions that were closed a moment ago may still be leaving.
async fn rename(admin: &Client, from: &str, to: &str) {
    let mut outcome = Ok(());
    for _ in 0..100 {
        outcome = admin.batch_execute(&format!("alter database {from} rename to {to}")).await;
        if outcome.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    outcome.unwrap();
}

fn migrations_hash() -> u64 {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut hasher = DefaultHasher::new();
    for folder in ["platform-migrations", "src/db/store"] {
        let mut files: Vec<_> = fs::read_dir(root.join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            // The number is in the name.
            file.file_name().hash(&mut hasher);
            fs::read(file).unwrap().hash(&mut hasher);
        }
    }
    hasher.finish()
}
