//! One budget of connections over many logins, and the only place that opens them.
//!
//! A login may become the roles of at most 250 tenants, so there are many logins and few connections: an idle connection of
//! another login makes room when the budget is spent. A connection comes back clean, straight after its transaction's end, so
//! that what lies idle holds no lock, no channel and no setting.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use granary_foundation::Secret;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::error::DbError;
use crate::settings::Identifier;

/// How long somebody waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a statement that nobody waits for any more may take to notice.
const FAREWELL: Duration = Duration::from_secs(5);

/// When a connection has served long enough.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
const MAX_USES: usize = 5_000;
/// A backend keeps what it learned about every table it met, about 12 kB each, as long as it lives; at 60 MB it is let go.
const MAX_TENANTS: usize = 60 * 1024 / (12 * MOST_TABLES);
const MOST_TABLES: usize = 24;

/// The connections of all logins.
pub(crate) struct Pool {
    config: Config,
    password: Secret,
    size: usize,
    budget: Arc<Semaphore>,
    /// Longest idle first. Never more than `size` together with those that are out.
    idle: Mutex<Vec<Backend>>,
    is_closed: AtomicBool,
}

/// How much of a pool is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolUse {
    pub most: usize,
    pub out: usize,
    pub idle: usize,
}

/// Which connection is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// One that lies idle, if there is one.
    Idle,
    /// One that has seen nothing yet.
    New,
}

/// A session on the server.
struct Backend {
    client: Client,
    task: JoinHandle<()>,
    login: Identifier,
    /// By the version of the schema that they were planned for.
    statements: Mutex<HashMap<(&'static str, i32), Statement>>,
    tenants: HashSet<Identifier>,
    born: Instant,
    uses: usize,
}

impl Backend {
    fn is_fit(&self) -> bool {
        !self.client.is_closed() && self.born.elapsed() < MAX_AGE && self.uses < MAX_USES && self.tenants.len() < MAX_TENANTS
    }
}

/// A connection that is out, with what it counts against. Dropped, it is closed; [`Connection::give_back`] keeps it.
pub(crate) struct Connection {
    backend: Option<Backend>,
    pool: Arc<Pool>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Pool {
    pub(crate) fn new(config: Config, password: Secret, size: usize) -> Self {
        let size = size.max(1);
        Self { config, password, size, budget: Arc::new(Semaphore::new(size)), idle: Mutex::default(), is_closed: AtomicBool::new(false) }
    }

    /// Takes a connection of a login. What `share` permits is held as long as the connection.
    pub(crate) async fn take(
        self: &Arc<Self>,
        login: &Identifier,
        share: Option<OwnedSemaphorePermit>,
        wish: Wish,
    ) -> Result<Connection, DbError> {
        let mut permits: Vec<_> = share.into_iter().collect();
        permits.push(acquire(&self.budget, "all connections are in use").await?);
        let idle = if wish == Wish::New { None } else { self.reuse(login) };
        let backend = match idle {
            Some(backend) => backend,
            None => {
                self.make_room();
                self.open(login).await?
            }
        };
        Ok(Connection { backend: Some(backend), pool: Arc::clone(self), permits })
    }

    /// Returns how many connections there may be, are out, and lie idle.
    pub(crate) fn use_of(&self) -> PoolUse {
        let most = self.size;
        PoolUse { most, out: most.saturating_sub(self.budget.available_permits()), idle: self.idle().len() }
    }

    /// Closes what is idle; what is out is closed when it comes back.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        self.forget_idle();
    }

    /// Closes what is idle, after a sign that the server has gone.
    pub(crate) fn forget_idle(&self) {
        let forgotten = std::mem::take(&mut *self.idle());
        drop(forgotten);
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Backend>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reuse(&self, login: &Identifier) -> Option<Backend> {
        let mut idle = self.idle();
        let at = idle.iter().rposition(|backend| backend.login == *login && backend.is_fit())?;
        Some(idle.remove(at))
    }

    /// The caller holds a permit. Whoever opens a connection while the budget is spent closes the one that was idle longest.
    fn make_room(&self) {
        let mut idle = self.idle();
        let out = self.size - self.budget.available_permits();
        let evicted = (idle.len() + out > self.size).then(|| idle.remove(0));
        drop(idle);
        drop(evicted);
    }

    async fn open(&self, login: &Identifier) -> Result<Backend, DbError> {
        let mut config = self.config.clone();
        config.user(login.as_str()).password(self.password.reveal());
        let connecting = timeout(PATIENCE, config.connect(NoTls)).await;
        let (client, connection) =
            connecting.map_err(|_| DbError::NoConnection("the server does not answer".to_owned()))?.map_err(DbError::Unreachable)?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
        Ok(Backend {
            client,
            task,
            login: login.clone(),
            statements: Mutex::default(),
            tenants: HashSet::new(),
            born: Instant::now(),
            uses: 0,
        })
    }

    fn put(&self, backend: Backend) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let mut idle = self.idle();
        idle.push(backend);
        let (kept, retired) = std::mem::take(&mut *idle).into_iter().partition::<Vec<_>, _>(Backend::is_fit);
        *idle = kept;
        drop(idle);
        drop(retired);
    }
}

impl Connection {
    /// Returns the client.
    pub(crate) fn client(&self) -> Result<&Client, DbError> {
        Ok(&self.backend()?.client)
    }

    /// Notes which tenant is served.
    pub(crate) fn note(&mut self, tenant: &Identifier) {
        if let Some(backend) = &mut self.backend {
            backend.tenants.insert(tenant.clone());
        }
    }

    /// Prepares a statement, once per connection and version of the schema.
    pub(crate) async fn prepare(&self, sql: &'static str, version: i32) -> Result<Statement, DbError> {
        let backend = self.backend()?;
        let known = backend.statements.lock().unwrap_or_else(PoisonError::into_inner).get(&(sql, version)).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = backend.client.prepare(sql).await?;
        backend.statements.lock().unwrap_or_else(PoisonError::into_inner).insert((sql, version), statement.clone());
        Ok(statement)
    }

    /// Forgets what was prepared, so that it is prepared anew.
    pub(crate) fn forget_statements(&self) {
        if let Some(backend) = &self.backend {
            backend.statements.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }

    /// Keeps the connection, which has been cleaned, for the next one.
    pub(crate) fn give_back(mut self) {
        if let Some(mut backend) = self.backend.take() {
            backend.uses += 1;
            // First the connection, then the permits: the other way round a third party could open one too many.
            self.pool.put(backend);
        }
    }

    /// Closes the connection and stops the statement that may still run; the budget is free again when it has ended.
    pub(crate) fn abandon(mut self) {
        let Some(backend) = self.backend.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            backend.task.abort();
            return;
        };
        let permits = std::mem::take(&mut self.permits);
        runtime.spawn(async move {
            let Backend { client, mut task, .. } = backend;
            if let Err(error) = client.cancel_token().cancel_query(NoTls).await {
                tracing::debug!(%error, "an abandoned statement could not be cancelled");
            }
            drop(client);
            if timeout(FAREWELL, &mut task).await.is_err() {
                task.abort();
            }
            drop(permits);
        });
    }

    fn backend(&self) -> Result<&Backend, DbError> {
        self.backend.as_ref().ok_or(DbError::Aborted)
    }
}

/// How many connections one tenant may hold, so that it cannot starve the others.
pub(crate) struct Shares {
    each: usize,
    tenants: Mutex<HashMap<Identifier, Weak<Semaphore>>>,
}

impl Shares {
    pub(crate) fn new(each: usize) -> Self {
        Self { each: each.max(1), tenants: Mutex::default() }
    }

    /// Waits for a place among those of one tenant.
    pub(crate) async fn of(&self, tenant: &Identifier) -> Result<OwnedSemaphorePermit, DbError> {
        acquire(&self.semaphore(tenant), "the customer's share of connections is in use").await
    }

    fn semaphore(&self, tenant: &Identifier) -> Arc<Semaphore> {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = tenants.get(tenant).and_then(Weak::upgrade) {
            return semaphore;
        }
        if tenants.len() >= 1_000 {
            tenants.retain(|_, semaphore| semaphore.strong_count() > 0);
        }
        let semaphore = Arc::new(Semaphore::new(self.each));
        tenants.insert(tenant.clone(), Arc::downgrade(&semaphore));
        semaphore
    }
}

async fn acquire(semaphore: &Arc<Semaphore>, why_not: &str) -> Result<OwnedSemaphorePermit, DbError> {
    match timeout(PATIENCE, Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(DbError::NoConnection(format!("{why_not}; waited {} s", PATIENCE.as_secs()))),
    }
}
