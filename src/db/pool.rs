//! One budget of connections over many logins, and the only place that opens them.
//!
//! A login may become the roles of at most 250 tenants, so there are many logins and few connections: an idle connection of
//! another login makes room when the budget is spent. One that was in use a moment ago does not: whoever needs a login that has
//! connections waits for one of them, which comes back in milliseconds, where opening another one costs more than most requests. A
//! connection comes back clean, straight after its transaction's end, so that what lies idle holds no lock, no channel and no setting.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use granary_foundation::Secret;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::{Client, Config, NoTls, Statement};

use crate::error::DbError;
use crate::settings::Identifier;

/// How long somebody waits for a connection.
const PATIENCE: Duration = Duration::from_secs(30);
const IN_USE: &str = "all connections are in use";
/// How long a statement that nobody waits for any more may take to notice.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long a connection that lies idle is kept from whoever has others to wait for.
const SETTLED: Duration = Duration::from_secs(1);

/// When a connection has served long enough.
const MAX_AGE: Duration = Duration::from_secs(30 * 60);
const MAX_USES: usize = 5_000;
/// A backend keeps what it learned about every table it met, about 12 kB each, as long as it lives; at 60 MB it is let go.
const MAX_TENANTS: usize = 60 * 1024 / (12 * MOST_TABLES);
const MOST_TABLES: usize = 26;

/// The connections of all logins.
pub(crate) struct Pool {
    config: Config,
    password: Secret,
    size: usize,
    budget: Arc<Semaphore>,
    /// Longest idle first. Never more than `size` together with those that are out.
    idle: Mutex<Vec<Backend>>,
    logins: Mutex<HashMap<Identifier, Arc<Login>>>,
    is_closed: AtomicBool,
}

/// What a login has out.
#[derive(Default)]
struct Login {
    out: AtomicUsize,
    /// Somebody came back, with or without his connection.
    came_back: Notify,
}

/// A connection that counts as out.
struct Out(Arc<Login>);

impl Out {
    fn of(login: &Arc<Login>) -> Self {
        login.out.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(login))
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.0.out.fetch_sub(1, Ordering::SeqCst);
        self.0.came_back.notify_one();
    }
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
    idle_since: Instant,
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
    out: Option<Out>,
    permits: Vec<OwnedSemaphorePermit>,
}

impl Pool {
    pub(crate) fn new(config: Config, password: Secret, size: usize) -> Self {
        let size = size.max(1);
        Self {
            config,
            password,
            size,
            budget: Arc::new(Semaphore::new(size)),
            idle: Mutex::default(),
            logins: Mutex::default(),
            is_closed: AtomicBool::new(false),
        }
    }

    /// Takes a connection of a login. What `share` permits is held as long as the connection.
    pub(crate) async fn take(
        self: &Arc<Self>,
        login: &Identifier,
        share: Option<OwnedSemaphorePermit>,
        wish: Wish,
    ) -> Result<Connection, DbError> {
        let known = self.login(login);
        let until = Instant::now() + PATIENCE;
        loop {
            let permit = acquire(&self.budget, IN_USE, until).await?;
            let came_back = known.came_back.notified();
            let idle = if wish == Wish::New { None } else { self.reuse(login) };
            if idle.is_none() && wish == Wish::Idle && !self.has_room(&known) {
                // Without the permit: whoever has a connection and needs another one goes first.
                drop(permit);
                if Instant::now() >= until {
                    return Err(waited(IN_USE));
                }
                let _ = timeout(SETTLED, came_back).await;
                continue;
            }
            let out = Out::of(&known);
            let backend = match idle {
                Some(backend) => backend,
                None => {
                    self.make_room();
                    self.open(login).await?
                }
            };
            let permits = share.into_iter().chain([permit]).collect();
            return Ok(Connection { backend: Some(backend), pool: Arc::clone(self), out: Some(out), permits });
        }
    }

    fn login(&self, login: &Identifier) -> Arc<Login> {
        Arc::clone(self.logins.lock().unwrap_or_else(PoisonError::into_inner).entry(login.clone()).or_default())
    }

    /// Tells whether a login may open one more connection. The caller holds a permit.
    fn has_room(&self, login: &Login) -> bool {
        let idle = self.idle();
        let out = self.size - self.budget.available_permits();
        let has_settled = idle.first().is_some_and(|backend| backend.idle_since.elapsed() >= SETTLED);
        idle.len() + out <= self.size || has_settled || login.out.load(Ordering::SeqCst) == 0
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
            idle_since: Instant::now(),
        })
    }

    fn put(&self, backend: Backend) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let mut idle = self.idle();
        idle.push(Backend { idle_since: Instant::now(), ..backend });
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
        drop(self.out.take());
    }

    /// Closes the connection and stops the statement that may still run; the budget is free again when it has ended.
    pub(crate) fn abandon(mut self) {
        let Some(backend) = self.backend.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            backend.task.abort();
            return;
        };
        let (permits, out) = (std::mem::take(&mut self.permits), self.out.take());
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
            drop(out);
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
        acquire(&self.semaphore(tenant), "the customer's share of connections is in use", Instant::now() + PATIENCE).await
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

async fn acquire(semaphore: &Arc<Semaphore>, why_not: &str, until: Instant) -> Result<OwnedSemaphorePermit, DbError> {
    match timeout(until.saturating_duration_since(Instant::now()), Arc::clone(semaphore).acquire_owned()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(waited(why_not)),
    }
}

fn waited(why_not: &str) -> DbError {
    DbError::NoConnection(format!("{why_not}; waited {} s", PATIENCE.as_secs()))
}
