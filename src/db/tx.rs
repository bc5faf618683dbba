//! One transaction that owns its connection.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use granary_foundation::Boxed;
use granary_types::Clock;
use jiff::Timestamp;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, CopyInSink, CopyOutStream, Row, Statement};

use crate::audit::{AuditKeys, Waiting};
use crate::error::DbError;
use crate::installation::InstallationNames;
use crate::pool::Connection;
use crate::settings::{Door, TxSettings};
use crate::store::installation::{CLEAN, COMMIT, ROLLBACK};

/// An owned transaction. All of its statements go by the extended protocol, prepared once per connection, one statement a
/// message. It ends by [`Tx::commit`] or [`Tx::rollback`]; dropped before, it stops a statement that still runs and closes
/// the connection.
pub struct Tx {
    connection: Option<Connection>,
    clock: Clock,
    /// Statements that were sent and not answered: a dropped future leaves one behind.
    in_flight: AtomicUsize,
    has_failed: AtomicBool,
    /// Writes the transaction's beginning.
    opening: String,
    version: i32,
    /// Whether anything was asked of it.
    has_begun: AtomicBool,
    /// Whether a copy was begun, which may go on by itself when its stream is dropped.
    has_copied: AtomicBool,
    /// What its audit entries are keyed with, and those that wait for the commit.
    audit_keys: Option<Arc<dyn AuditKeys>>,
    audit: Mutex<Waiting>,
}

impl fmt::Debug for Tx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tx").field("has_failed", &self.has_failed).finish_non_exhaustive()
    }
}

impl Tx {
    /// Sends `begin` and both walls in one message. The connection belongs to the transaction before anything is sent, so
    /// that a caller that gives up midway leaves nothing behind.
    pub(crate) async fn begin(
        mut connection: Connection,
        clock: Clock,
        names: &InstallationNames,
        settings: &TxSettings,
    ) -> Result<Self, DbError> {
        if let Door::Tenant { schema, .. } = &settings.door {
            connection.note(schema);
        }
        let tx = Self {
            connection: Some(connection),
            clock,
            in_flight: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
            opening: opening(names, settings),
            version: settings.version,
            has_begun: AtomicBool::new(false),
            has_copied: AtomicBool::new(false),
            audit_keys: None,
            audit: Mutex::default(),
        };
        let sent = tx.watch(async { Ok(tx.client()?.batch_execute(&tx.opening).await?) });
        sent.await?;
        Ok(tx)
    }

    /// Lets the transaction write to the audit log, with keys from there; `tenants` calls this.
    #[must_use]
    pub fn audited_with(mut self, keys: Arc<dyn AuditKeys>) -> Self {
        self.audit_keys = Some(keys);
        self
    }

    pub(crate) const fn version(&self) -> i32 {
        self.version
    }

    pub(crate) fn audit_keys(&self) -> Option<Arc<dyn AuditKeys>> {
        self.audit_keys.clone()
    }

    pub(crate) fn audit_waiting(&self) -> MutexGuard<'_, Waiting> {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the current instant of the house's clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Runs a statement and returns its rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn query<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<Vec<Row>, DbError>> {
        Box::pin(self.ask(move || async move { Ok(self.client()?.query(&self.prepare(sql).await?, params).await?) }))
    }

    /// Runs a statement that returns exactly one row.
    ///
    /// # Errors
    /// When Postgres refuses, or when there is no row or more than one.
    pub fn query_one<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<Row, DbError>> {
        Box::pin(self.ask(move || async move { Ok(self.client()?.query_one(&self.prepare(sql).await?, params).await?) }))
    }

    /// Runs a statement that returns one row or none.
    ///
    /// # Errors
    /// When Postgres refuses, or when there is more than one row.
    pub fn query_opt<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<Option<Row>, DbError>> {
        Box::pin(self.ask(move || async move { Ok(self.client()?.query_opt(&self.prepare(sql).await?, params).await?) }))
    }

    /// Runs a statement and returns the number of rows that it touched.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn execute<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<u64, DbError>> {
        Box::pin(self.ask(move || async move { Ok(self.client()?.execute(&self.prepare(sql).await?, params).await?) }))
    }

    /// Starts a `copy … from stdin`; the caller writes and finishes the sink.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_in(&self, sql: &'static str) -> Result<CopyInSink<Bytes>, DbError> {
        self.has_begun.store(true, Ordering::Relaxed);
        self.has_copied.store(true, Ordering::Relaxed);
        let answer = self.watch(async { Ok(self.client()?.copy_in(&self.prepare(sql).await?).await?) });
        answer.await
    }

    /// Starts a `copy … to stdout`. The text comes from a described dataset, whose names are constants of the code; it is
    /// prepared afresh and not kept.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOutStream, DbError> {
        self.has_begun.store(true, Ordering::Relaxed);
        self.has_copied.store(true, Ordering::Relaxed);
        let answer = self.watch(async {
            let client = self.client()?;
            let statement = client.prepare(sql).await?;
            Ok(client.copy_out(&statement).await?)
        });
        answer.await
    }

    /// Puts what was recorded at the end of the audit log, commits, and returns the connection to the pool.
    ///
    /// # Errors
    /// When a statement had failed before (nothing is kept then), or Postgres refuses.
    pub fn commit(self) -> Boxed<'static, Result<(), DbError>> {
        Box::pin(async move {
            if self.has_failed.load(Ordering::Relaxed) || self.in_flight.load(Ordering::Relaxed) > 0 {
                return Err(DbError::Aborted);
            }
            let waiting = std::mem::take(&mut *self.audit_waiting());
            waiting.append(&self).await?;
            self.end(COMMIT).await
        })
    }

    /// Rolls back, and returns the connection to the pool.
    ///
    /// # Errors
    /// When Postgres does not answer.
    pub fn rollback(self) -> Boxed<'static, Result<(), DbError>> {
        Box::pin(async move {
            if self.in_flight.load(Ordering::Relaxed) > 0 {
                return Ok(());
            }
            self.end(ROLLBACK).await
        })
    }

    /// Ends the transaction and cleans the connection, in two messages that travel together: whether the end worked is known
    /// whatever becomes of the rest.
    async fn end(mut self, command: &'static str) -> Result<(), DbError> {
        let sent = self.watch(async {
            let client = self.client()?;
            let (ended, cleaned) = tokio::join!(biased; client.batch_execute(command), client.batch_execute(CLEAN));
            ended?;
            Ok(cleaned)
        });
        let cleaned = match sent.await {
            Err(error) if error.is_in_failed_transaction() => return Err(DbError::Aborted),
            outcome => outcome?,
        };
        if let (Ok(()), Some(connection)) = (cleaned, self.connection.take()) {
            connection.give_back();
        }
        Ok(())
    }

    fn connection(&self) -> Result<&Connection, DbError> {
        self.connection.as_ref().ok_or(DbError::Aborted)
    }

    fn client(&self) -> Result<&Client, DbError> {
        self.connection()?.client()
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, DbError> {
        self.connection()?.prepare(sql, self.version).await
    }

    /// Counts what is under way, so that a future dropped midway is known; notes failures, which abort the transaction.
    async fn watch<T>(&self, work: impl Future<Output = Result<T, DbError>>) -> Result<T, DbError> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let outcome = work.await;
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) = &outcome {
            self.has_failed.store(true, Ordering::Relaxed);
            self.forget_stale_plans(error);
        }
        outcome
    }

    /// Asks the server. A statement whose plan a migration has made stale is planned anew and asked again when it is the first of
    /// the transaction: then nothing is lost by beginning anew. A later one fails, and whoever tries again succeeds.
    async fn ask<T, F: Future<Output = Result<T, DbError>>>(&self, question: impl Fn() -> F) -> Result<T, DbError> {
        let is_first = !self.has_begun.swap(true, Ordering::Relaxed);
        match self.watch(question()).await {
            Err(error) if is_first && error.is_stale_plan() && self.in_flight.load(Ordering::Relaxed) == 0 => {
                self.watch(async { Ok(self.client()?.batch_execute(&format!("{ROLLBACK}; {}", self.opening)).await?) }).await?;
                self.has_failed.store(false, Ordering::Relaxed);
                self.watch(question()).await
            }
            outcome => outcome,
        }
    }

    fn forget_stale_plans(&self, error: &DbError) {
        if let (true, Some(connection)) = (error.is_stale_plan(), &self.connection) {
            connection.forget_statements();
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if *self.in_flight.get_mut() > 0 || *self.has_copied.get_mut() { connection.abandon() } else { drop(connection) }
    }
}

/// Writes `begin` and everything that is local to the transaction. Names are vetted identifiers, ids are UUIDs.
fn opening(names: &InstallationNames, settings: &TxSettings) -> String {
    let mode = if settings.is_snapshot { " isolation level repeatable read read only" } else { "" };
    // pg_temp stands last, so that no temporary table ever hides a real one.
    let (path, role) = match &settings.door {
        Door::Tenant { schema, role, .. } => (schema.to_string(), role),
        Door::Msp(_) => ("control".to_owned(), &names.msp_role),
        Door::Operator => ("control".to_owned(), &names.operator_role),
        Door::Access => ("control".to_owned(), &names.access_role),
        Door::Keystore => ("keystore".to_owned(), &names.keystore_role),
    };
    let msp = match &settings.door {
        Door::Msp(id) => format!("set local granary.msp_id = '{id}'; "),
        _ => String::new(),
    };
    let gate = settings.gate.as_ref().map_or_else(String::new, |table| format!("; lock table {table} in access share mode"));
    let timeout = settings.statement_timeout.as_millis();
    format!(
        "begin{mode}; set local search_path = {path}, pg_temp; {msp}set local statement_timeout = {timeout}; set local role {role}{gate}"
    )
}
