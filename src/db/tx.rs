//! One transaction that owns its connection.

use granary_foundation::Boxed;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use deadpool_postgres::{Object, ObjectId};
use granary_types::Clock;
use jiff::Timestamp;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{CopyInSink, CopyOutStream, NoTls, Row, Statement};

use crate::error::DbError;
use crate::installation::InstallationNames;
use crate::settings::{Door, TxSettings};

/// When a connection has served long enough. A backend keeps what it learned about every table it met (about 12 kB a
/// table), so that one that has met too many tenants is let go.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
const MAX_USES: usize = 5_000;
const MAX_TENANTS: usize = 200;

/// Which tenants each pooled connection has met.
#[derive(Debug, Default)]
pub(crate) struct Touched(Mutex<HashMap<ObjectId, HashSet<u64>>>);

impl Touched {
    /// Notes a tenant; tells whether the connection has now met too many.
    fn note(&self, connection: ObjectId, tenant: u64) -> bool {
        let Ok(mut touched) = self.0.lock() else { return true };
        if touched.len() > 10_000 {
            touched.clear();
        }
        let tenants = touched.entry(connection).or_default();
        tenants.insert(tenant);
        tenants.len() >= MAX_TENANTS
    }

    fn forget(&self, connection: ObjectId) {
        if let Ok(mut touched) = self.0.lock() {
            touched.remove(&connection);
        }
    }
}

/// An owned transaction. All of its statements go by the extended protocol, prepared once per connection, one statement a
/// message. It ends by [`Tx::commit`] or [`Tx::rollback`]; dropped before, it stops a statement that still runs and closes
/// the connection.
pub struct Tx {
    connection: Option<Object>,
    tenant: Option<u64>,
    touched: Arc<Touched>,
    clock: Clock,
    /// Statements that were sent and not answered: a dropped future leaves one behind.
    in_flight: AtomicUsize,
    has_failed: AtomicBool,
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
        connection: Object,
        touched: Arc<Touched>,
        clock: Clock,
        names: &InstallationNames,
        settings: &TxSettings,
    ) -> Result<Self, DbError> {
        let tenant = match &settings.door {
            Door::Tenant { schema, .. } => {
                let mut hasher = DefaultHasher::new();
                schema.hash(&mut hasher);
                Some(hasher.finish())
            }
            _ => None,
        };
        let tx = Self {
            connection: Some(connection),
            tenant,
            touched,
            clock,
            in_flight: AtomicUsize::new(0),
            has_failed: AtomicBool::new(false),
        };
        let opening = opening(names, settings);
        let sent = tx.watch(async { Ok(tx.connection()?.batch_execute(&opening).await?) });
        sent.await?;
        Ok(tx)
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
        Box::pin(async move {
            let answer = self.watch(async { Ok(self.connection()?.query(&self.prepare(sql).await?, params).await?) });
            answer.await
        })
    }

    /// Runs a statement that returns exactly one row.
    ///
    /// # Errors
    /// When Postgres refuses, or when there is no row or more than one.
    pub fn query_one<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<Row, DbError>> {
        Box::pin(async move {
            let answer = self.watch(async { Ok(self.connection()?.query_one(&self.prepare(sql).await?, params).await?) });
            answer.await
        })
    }

    /// Runs a statement that returns one row or none.
    ///
    /// # Errors
    /// When Postgres refuses, or when there is more than one row.
    pub fn query_opt<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<Option<Row>, DbError>> {
        Box::pin(async move {
            let answer = self.watch(async { Ok(self.connection()?.query_opt(&self.prepare(sql).await?, params).await?) });
            answer.await
        })
    }

    /// Runs a statement and returns the number of rows that it touched.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn execute<'a>(&'a self, sql: &'static str, params: &'a [&'a (dyn ToSql + Sync)]) -> Boxed<'a, Result<u64, DbError>> {
        Box::pin(async move {
            let answer = self.watch(async { Ok(self.connection()?.execute(&self.prepare(sql).await?, params).await?) });
            answer.await
        })
    }

    /// Starts a `copy … from stdin`; the caller writes and finishes the sink.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_in(&self, sql: &'static str) -> Result<CopyInSink<Bytes>, DbError> {
        let answer = self.watch(async { Ok(self.connection()?.copy_in(&self.prepare(sql).await?).await?) });
        answer.await
    }

    /// Starts a `copy … to stdout`. The text comes from a described dataset, whose names are constants of the code; it is
    /// prepared afresh and not kept.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn copy_out(&self, sql: &str) -> Result<CopyOutStream, DbError> {
        let answer = self.watch(async {
            let connection = self.connection()?;
            let statement = connection.prepare(sql).await?;
            Ok(connection.copy_out(&statement).await?)
        });
        answer.await
    }

    /// Commits, and returns the connection to the pool.
    ///
    /// # Errors
    /// When a statement had failed before (nothing is kept then), or Postgres refuses.
    pub fn commit(self) -> Boxed<'static, Result<(), DbError>> {
        Box::pin(async move {
            if self.has_failed.load(Ordering::Relaxed) || self.in_flight.load(Ordering::Relaxed) > 0 {
                return Err(DbError::Aborted);
            }
            self.end("commit").await
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
            self.end("rollback").await
        })
    }

    async fn end(mut self, command: &'static str) -> Result<(), DbError> {
        let sent = self.watch(async { Ok(self.connection()?.batch_execute(command).await?) });
        sent.await?;
        if let Some(connection) = self.connection.take() {
            self.give_back(connection);
        }
        Ok(())
    }

    fn give_back(&self, connection: Object) {
        let id = Object::id(&connection);
        let has_met_too_many = self.tenant.is_some_and(|tenant| self.touched.note(id, tenant));
        let metrics = Object::metrics(&connection);
        if has_met_too_many || metrics.age() > MAX_AGE || metrics.recycle_count > MAX_USES {
            self.touched.forget(id);
            drop(Object::take(connection));
        }
    }

    fn connection(&self) -> Result<&Object, DbError> {
        self.connection.as_ref().ok_or(DbError::Aborted)
    }

    async fn prepare(&self, sql: &'static str) -> Result<Statement, DbError> {
        Ok(self.connection()?.prepare_cached(sql).await?)
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

    /// While a schema is migrated, a statement that was planned before may no longer fit; it is planned anew next time.
    fn forget_stale_plans(&self, error: &DbError) {
        if let (DbError::Postgres(error), Some(connection)) = (error, &self.connection)
            && error.code() == Some(&SqlState::FEATURE_NOT_SUPPORTED)
        {
            connection.statement_cache.clear();
        }
    }
}

impl Drop for Tx {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        self.touched.forget(Object::id(&connection));
        if *self.in_flight.get_mut() > 0
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let token = connection.cancel_token();
            runtime.spawn(async move {
                if let Err(error) = token.cancel_query(NoTls).await {
                    tracing::debug!(%error, "an abandoned statement could not be cancelled");
                }
            });
        }
        drop(Object::take(connection));
    }
}

/// Writes `begin` and everything that is local to the transaction. Names are vetted identifiers, ids are UUIDs.
fn opening(names: &InstallationNames, settings: &TxSettings) -> String {
    let mode = if settings.is_snapshot { " isolation level repeatable read read only" } else { "" };
    // pg_temp stands last, so that no temporary table ever hides a real one.
    let (path, role) = match &settings.door {
        Door::Tenant { schema, role } => (schema.to_string(), role),
        Door::Msp(_) => ("control".to_owned(), &names.msp_role),
        Door::Operator => ("control".to_owned(), &names.operator_role),
        Door::Access => ("control".to_owned(), &names.access_role),
        Door::Keystore => ("keystore".to_owned(), &names.keystore_role),
    };
    let msp = match &settings.door {
        Door::Msp(id) => format!("set local granary.msp_id = '{id}'; "),
        _ => String::new(),
    };
    let timeout = settings.statement_timeout.as_millis();
    format!("begin{mode}; set local search_path = {path}, pg_temp; {msp}set local statement_timeout = {timeout}; set local role {role}")
}
