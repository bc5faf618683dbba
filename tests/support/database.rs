//! A database of a test's own.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use granary_db::embedded::Server;
use granary_db::{Database, DatabaseConfig};
use granary_foundation::config::S3Config;
use granary_foundation::{Secret, Silent};
use granary_tenants::{Cluster, Clusters, Tenants};
use granary_types::Clock;
use granary_vault::{Keys, MasterKey, Objects};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixture::TwoCustomers;
use crate::server;

/// A fresh, migrated database with the rooms that stand directly on it. Its clock stands still at 2025-11-10 12:00 UTC until
/// the test moves it. Dropped, the database is gone.
pub struct TestDatabase {
    database: Database,
    tenants: Tenants,
    keys: Keys,
    objects: Objects,
    folder: TempDir,
    name: String,
    /// Databases that stand for other clusters; they hold roles of this one and go first.
    clusters: Mutex<Vec<String>>,
    /// Some until the end.
    server: Option<Arc<Server>>,
    /// The directory of a server of its own.
    alone: Option<PathBuf>,
}

impl fmt::Debug for TestDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestDatabase").field("name", &self.name).finish_non_exhaustive()
    }
}

impl TestDatabase {
    /// Makes a database with a pool of eight connections.
    pub async fn new() -> Self {
        Self::with_connections(8).await
    }

    /// Makes a database whose pool has a given size.
    pub async fn with_connections(max_connections: usize) -> Self {
        let (server, template) = server::server().await;
        Self::make(server, Some(template), max_connections).await
    }

    /// Makes a database on a server of its own that syncs its files, for measurements and for what concerns the whole server.
    pub async fn alone(max_connections: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("granary-alone-{}", &Uuid::new_v4().simple().to_string()[..12]));
        let server = Server::start(&folder, Silent::shared()).await.unwrap();
        let mut test = Self::make(Arc::new(server), None, max_connections).await;
        test.alone = Some(folder);
        test
    }

    async fn make(server: Arc<Server>, template: Option<String>, max_connections: usize) -> Self {
        let name = format!("granary_test_{}_{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..12]);
        let admin = server::connect(&server, "postgres").await;
        let template = template.unwrap_or_else(|| "template1".to_owned());
        admin.batch_execute(&format!("create database {name} template {template}")).await.unwrap();
        let clock = Clock::fixed("2025-11-10T12:00:00Z".parse().unwrap());
        let database = open(&server, &name, max_connections, clock).await;
        let folder = tempfile::tempdir().unwrap();
        let keys = Keys::new(database.clone(), MasterKey::load_or_create(&folder.path().join("master")).unwrap());
        let lake = folder.path().join("lake");
        let objects = Objects::open(&format!("file://{}", lake.display()), &S3Config::default()).unwrap();
        let tenants = Tenants::new(database.clone(), keys.clone());
        Self { database, tenants, keys, objects, folder, name, clusters: Mutex::default(), server: Some(server), alone: None }
    }

    /// Opens the same database again, as another process would, with a pool of a given size.
    pub async fn reopen(&self, max_connections: usize) -> Database {
        open(self.server(), &self.name, max_connections, self.clock().clone()).await
    }

    /// Makes another database of the same server that stands for a cluster.
    pub async fn cluster(&self, cluster: &str, region: &str) -> Cluster {
        let name = format!("granary_test_{}_{}", std::process::id(), &Uuid::new_v4().simple().to_string()[..12]);
        let admin = server::connect(self.server(), "postgres").await;
        admin.batch_execute(&format!("create database {name}")).await.unwrap();
        let database = config(self.server(), &name, 8);
        self.clusters.lock().unwrap().push(name);
        Cluster { name: cluster.to_owned(), region: region.to_owned(), database }
    }

    /// Returns the catalog over several clusters.
    pub fn tenants_over(&self, clusters: Vec<Cluster>) -> Tenants {
        Tenants::over(Clusters::new(self.database.clone(), clusters), self.keys.clone())
    }

    /// Connects to a cluster as its owner, around every wall.
    pub async fn superuser_of(&self, cluster: &Cluster) -> tokio_postgres::Client {
        server::connect_to(&cluster.database.url).await
    }

    /// Returns the database.
    pub fn database(&self) -> &Database {
        &self.database
    }

    /// Returns the catalog.
    pub fn tenants(&self) -> &Tenants {
        &self.tenants
    }

    /// Returns the keys, under a master key of the test's own.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns an object store in a directory of the test's own.
    pub fn objects(&self) -> &Objects {
        &self.objects
    }

    /// Returns that directory; it is removed with the database.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Returns the clock, which stands still.
    pub fn clock(&self) -> &Clock {
        self.database.clock()
    }

    fn server(&self) -> &Arc<Server> {
        self.server.as_ref().unwrap()
    }

    /// Connects as the owner, around every wall, to see what is really there.
    pub async fn superuser(&self) -> tokio_postgres::Client {
        server::connect(self.server(), &self.name).await
    }

    /// Returns how the owner connects.
    pub fn url(&self) -> Secret {
        self.server().url_of(&self.name)
    }

    /// Makes two MSPs with customers whose codes and names meet on purpose.
    pub async fn two_customers(&self) -> TwoCustomers {
        TwoCustomers::make(&self.tenants).await
    }
}

fn config(server: &Server, name: &str, max_connections: usize) -> DatabaseConfig {
    DatabaseConfig {
        url: server.url_of(name),
        app_password: Secret::new(server::APP_PASSWORD),
        max_connections,
        connections_per_tenant: max_connections,
    }
}

async fn open(server: &Server, name: &str, max_connections: usize, clock: Clock) -> Database {
    Database::connect(&config(server, name, max_connections), clock).await.unwrap()
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        self.database.close();
        let (Some(server), name, alone) = (self.server.take(), self.name.clone(), self.alone.take()) else { return };
        let clusters = std::mem::take(&mut *self.clusters.lock().unwrap());
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            if let Some(folder) = alone {
                let base = server.base().to_owned();
                drop(server);
                std::fs::remove_dir_all(&base).ok();
                std::fs::remove_dir_all(&folder).ok();
                return;
            }
            for name in clusters.iter().chain([&name]) {
                runtime.block_on(server::drop_database(&server, name));
            }
        });
        if dropped.join().is_err() && !std::thread::panicking() {
            panic!("the database of a test could not be dropped");
        }
    }
}
