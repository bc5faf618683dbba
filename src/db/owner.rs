//! Connections of the owner's login: they create schemas and roles and run migrations, and nothing else.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use refinery::Runner;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row};

use crate::error::DbError;
use crate::settings::Identifier;
use crate::store::installation as store;

/// A dedicated connection for DDL. It is never pooled, so that its session settings and locks end with it.
pub struct OwnerConnection {
    pub(crate) client: Client,
    task: JoinHandle<()>,
    _permit: Option<OwnedSemaphorePermit>,
}

impl fmt::Debug for OwnerConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnerConnection").finish_non_exhaustive()
    }
}

impl Drop for OwnerConnection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl OwnerConnection {
    pub(crate) async fn open(config: &Config, permit: Option<OwnedSemaphorePermit>) -> Result<Self, DbError> {
        let (client, connection) = config.connect(NoTls).await.map_err(DbError::Unreachable)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an owner connection ended");
            }
        });
        Ok(Self { client, task, _permit: permit })
    }

    /// Runs constant statements, or statements built from [`Identifier`]s only, in one implicit transaction.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn batch(&self, sql: &str) -> Result<(), DbError> {
        Ok(self.client.batch_execute(sql).await?)
    }

    /// Runs a statement.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn execute(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, DbError> {
        Ok(self.client.execute(sql, params).await?)
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn query(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, DbError> {
        Ok(self.client.query(sql, params).await?)
    }

    /// Runs a statement that returns one row.
    ///
    /// # Errors
    /// When Postgres refuses, or there is not exactly one row.
    pub async fn query_one(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Row, DbError> {
        Ok(self.client.query_one(sql, params).await?)
    }

    /// Runs a statement that returns one row or none.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn query_opt(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>, DbError> {
        Ok(self.client.query_opt(sql, params).await?)
    }

    /// Lets Postgres write a statement with `format(…)`, quoting names and literals itself, and runs it.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn execute_formatted(&self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<(), DbError> {
        let statement: String = self.client.query_one(sql, params).await?.try_get(0)?;
        Ok(self.client.batch_execute(&statement).await?)
    }

    /// Waits for a lock on `name` that is held until the connection closes.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn lock(&self, name: &str) -> Result<(), DbError> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let key = i64::from_ne_bytes(hasher.finish().to_ne_bytes());
        self.client.execute(store::LOCK, &[&key]).await?;
        Ok(())
    }

    /// Makes one schema, alone, the place of everything that follows, and checks that it is there.
    ///
    /// # Errors
    /// When there is no such schema.
    pub async fn set_path(&self, schema: &Identifier) -> Result<(), DbError> {
        self.client.batch_execute(&format!("set search_path = {schema}")).await?;
        let current: Option<String> = self.client.query_one(store::CURRENT_SCHEMA, &[]).await?.try_get(0)?;
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
        let report = runner.run_async(&mut self.client).await.map_err(|error| migration_error(schema, &error))?;
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
