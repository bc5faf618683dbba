//! Connections of the owner's login: they create schemas and roles and run migrations, and nothing else.

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use granary_foundation::Secret;
use refinery::Runner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, SimpleQueryMessage, SimpleQueryRow};

use crate::error::DbError;
use crate::settings::Identifier;
use crate::store::installation as store;

/// Schemas that one session makes or changes before it is closed: a backend keeps what it learned about every table.
const MAX_USES: u32 = 200;
/// How long a session that was given back waits to be used again.
const IDLE: Duration = Duration::from_secs(10);

/// The owner's sessions: so many at a time, and those that were given back wait a moment for the next schema.
pub(crate) struct Owners {
    config: Config,
    permits: Arc<Semaphore>,
    idle: Idle,
}

/// Sessions that wait to be used again.
type Idle = Arc<Mutex<Vec<Session>>>;

struct Session {
    client: Client,
    task: JoinHandle<()>,
    uses: u32,
    idle_since: Instant,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Owners {
    pub(crate) fn new(config: Config, at_once: usize) -> Self {
        Self { config, permits: Arc::new(Semaphore::new(at_once)), idle: Arc::default() }
    }

    pub(crate) const fn config(&self) -> &Config {
        &self.config
    }

    /// Waits for its turn and takes a session: one that was given back, or a new one.
    pub(crate) async fn take(&self) -> Result<OwnerConnection, DbError> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.ok();
        while let Some(session) = self.pop() {
            if !session.client.is_closed() {
                return Ok(OwnerConnection { session, home: Some((Arc::clone(&self.idle), permit)) });
            }
        }
        let session = Session::open(&self.config).await?;
        Ok(OwnerConnection { session, home: Some((Arc::clone(&self.idle), permit)) })
    }

    fn pop(&self) -> Option<Session> {
        waiting(&self.idle).pop()
    }

    /// Opens a session beside the others.
    pub(crate) async fn open(&self) -> Result<OwnerConnection, DbError> {
        OwnerConnection::open(&self.config).await
    }

    pub(crate) fn close(&self) {
        self.permits.close();
        waiting(&self.idle).clear();
    }
}

/// How the owner connects by a URL.
pub(crate) fn owner_config(url: &Secret) -> Result<Config, DbError> {
    let mut config = Config::from_str(url.reveal()).map_err(|error| DbError::InvalidUrl(error.to_string()))?;
    config.application_name("granary-owner").connect_timeout(Duration::from_secs(10));
    Ok(config)
}

fn waiting(idle: &Mutex<Vec<Session>>) -> MutexGuard<'_, Vec<Session>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    async fn open(config: &Config) -> Result<Self, DbError> {
        let (client, connection) = config.connect(NoTls).await.map_err(DbError::Unreachable)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an owner connection ended");
            }
        });
        Ok(Self { client, task, uses: 0, idle_since: Instant::now() })
    }
}

/// A session of the owner for DDL. Dropped it closes, and what was under way is undone; [`OwnerConnection::give_back`] keeps it
/// for the next schema.
pub struct OwnerConnection {
    session: Session,
    home: Option<(Idle, Option<OwnedSemaphorePermit>)>,
}

impl fmt::Debug for OwnerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerConnection").finish_non_exhaustive()
    }
}

impl OwnerConnection {
    /// Opens a connection of the owner to a database that nobody prepares: whatever its version, it stays as it is.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn connect(url: &Secret) -> Result<Self, DbError> {
        Self::open(&owner_config(url)?).await
    }

    pub(crate) async fn open(config: &Config) -> Result<Self, DbError> {
        Ok(Self { session: Session::open(config).await?, home: None })
    }

    pub(crate) const fn client(&self) -> &Client {
        &self.session.client
    }

    /// Tells whether the session has ended.
    pub fn is_closed(&self) -> bool {
        self.session.client.is_closed()
    }

    /// Sweeps the session clean of locks and settings and keeps it for the next schema. Whoever left a transaction open, or is
    /// not sure, drops it instead.
    pub async fn give_back(mut self) {
        self.session.uses += 1;
        let Some((idle, _permit)) = self.home else { return };
        if self.session.uses >= MAX_USES || self.session.client.batch_execute(store::CLEAN).await.is_err() {
            return;
        }
        self.session.idle_since = Instant::now();
        waiting(&idle).push(self.session);
        tokio::spawn(async move {
            tokio::time::sleep(IDLE).await;
            waiting(&idle).retain(|session| session.idle_since.elapsed() < IDLE);
        });
    }

    /// Runs constant statements, or statements built from [`Identifier`]s only, in one implicit transaction.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.session.client.batch_execute(sql).await?)
    }

    /// Runs constant statements, or statements built from [`Identifier`]s only, and returns the rows of all of them as text.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn batch_rows(&self, sql: &str) -> Result<Vec<SimpleQueryRow>, DbError> {
        let messages = self.session.client.simple_query(sql).await?;
        Ok(messages
            .into_iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(row),
                _ => None,
            })
            .collect())
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DbError> {
        Ok(self.session.client.query(sql, params).await?)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn execute(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, DbError> {
        Ok(self.session.client.execute(sql, params).await?)
    }

    /// Runs a statement that returns one row.
    ///
    /// # Errors
    /// When Postgres refuses, or there is not exactly one row.
    pub async fn query_one(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, DbError> {
        Ok(self.session.client.query_one(sql, params).await?)
    }

    /// Runs a statement that returns one row or none.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn query_opt(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, DbError> {
        Ok(self.session.client.query_opt(sql, params).await?)
    }

    /// Lets Postgres write a statement with `format(…)`, quoting names and literals itself, and runs it.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn execute_formatted(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<(), DbError> {
        let statement: String = self.session.client.query_one(sql, params).await?.try_get(0)?;
        Ok(self.session.client.batch_execute(&statement).await?)
    }

    /// Waits for a lock on `name` that is held until the connection closes.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn lock(&self, name: &str) -> Result<(), DbError> {
        self.session.client.execute(store::LOCK, &[&name]).await?;
        Ok(())
    }

    /// Takes a lock on `name` for as long as the connection lives; false when somebody else has it.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn try_lock(&self, name: &str) -> Result<bool, DbError> {
        Ok(self.session.client.query_one(store::TRY_LOCK, &[&name]).await?.try_get(0)?)
    }

    /// Makes one schema, alone, the place of everything that follows, and checks that it is there.
    ///
    /// # Errors
    /// When there is no such schema.
    pub async fn set_path(&self, schema: &Identifier) -> Result<(), DbError> {
        self.session.client.batch_execute(&format!("set search_path = {schema}")).await?;
        let current: Option<String> = self.session.client.query_one(store::CURRENT_SCHEMA, &[]).await?.try_get(0)?;
        if current.as_deref() == Some(schema.as_str()) {
            Ok(())
        } else {
            Err(DbError::Migration { schema: schema.as_str().to_owned(), message: "there is no such schema".to_owned() })
        }
    }

    /// Runs the migrations that are missing in the current schema and returns how many there were. The caller holds a lock
    /// and has set the path: the runner has neither.
    ///
    /// # Errors
    /// When a migration fails, was edited after it ran, or the schema is newer than this program.
    pub async fn migrate(&mut self, runner: &Runner, schema: &str) -> Result<usize, DbError> {
        let report = runner.run_async(&mut self.session.client).await.map_err(|error| migration_error(schema, &error))?;
        Ok(report.applied_migrations().len())
    }
}

/// The runner's own text says only "db error"; the server's message lies below.
fn migration_error(schema: &str, error: &refinery::Error) -> DbError {
    use std::error::Error;
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(server) = inner.downcast_ref::<tokio_postgres::Error>().and_then(tokio_postgres::Error::as_db_error) {
            message = format!("{message}: {} (SQLSTATE {})", server.message(), server.code().code());
        }
        source = inner.source();
    }
    DbError::Migration { schema: schema.to_owned(), message }
}
