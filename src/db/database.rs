//! The pool, and the only place that takes a connection from it.

use granary_foundation::Boxed;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Object, Pool, PoolError, QueueMode, RecyclingMethod, Runtime, Timeouts};
use granary_foundation::Secret;
use granary_types::Clock;
use tokio::sync::Semaphore;
use tokio_postgres::{Config, NoTls};

use crate::error::DbError;
use crate::installation::{self, InstallationNames};
use crate::owner::OwnerConnection;
use crate::settings::TxSettings;
use crate::store::installation::RECYCLE;
use crate::tx::{Touched, Tx};

/// Schemas that are created or migrated at the same time.
const OWNER_CONNECTIONS: usize = 4;

/// How to reach Postgres.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The owner's login, as `postgres://…` or as `host=/socket/directory user=…`; it may create schemas and roles.
    pub url: Secret,
    /// The password that the app's login has, or gets.
    pub app_password: Secret,
    /// Connections that requests and jobs share.
    pub max_connections: usize,
}

/// The database of an installation; clones share the pool.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Pool,
    owner: Config,
    owner_permits: Arc<Semaphore>,
    touched: Arc<Touched>,
    names: InstallationNames,
    clock: Clock,
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").field("installation", &self.inner.names.prefix).finish_non_exhaustive()
    }
}

impl Database {
    /// Connects, prepares what is missing (schemas, roles, migrations) and opens the pool.
    ///
    /// # Errors
    /// When the server does not answer, is older than 15, or a migration fails.
    pub fn connect<'a>(config: &'a DatabaseConfig, clock: Clock) -> Boxed<'a, Result<Self, DbError>> {
        Box::pin(async move {
            let mut owner_config = Config::from_str(config.url.reveal()).map_err(|error| DbError::InvalidUrl(error.to_string()))?;
            owner_config.application_name("granary-owner").connect_timeout(Duration::from_secs(10));

            let mut owner = OwnerConnection::open(&owner_config, None).await?;
            let names = installation::prepare(&mut owner, clock.now()).await?;
            let mut app_config = owner_config.clone();
            app_config.user(names.app_role.as_str()).password(config.app_password.reveal()).application_name("granary");
            installation::prepare_login(&owner, &names, &app_config, &config.app_password).await?;

            let pool = open_pool(app_config, config.max_connections)?;
            let inner = Inner {
                pool,
                owner: owner_config,
                owner_permits: Arc::new(Semaphore::new(OWNER_CONNECTIONS)),
                touched: Arc::default(),
                names,
                clock,
            };
            Ok(Self { inner: Arc::new(inner) })
        })
    }

    /// Begins a transaction behind both walls. Only `tenants` (for scopes), `vault` (key store) and `access` (who somebody is)
    /// call this; everybody else is given a transaction.
    ///
    /// # Errors
    /// When no connection becomes free, or Postgres refuses schema or role.
    pub fn begin<'a>(&'a self, settings: &'a TxSettings) -> Boxed<'a, Result<Tx, DbError>> {
        Box::pin(async move {
            let connection = self.take().await?;
            Tx::begin(connection, Arc::clone(&self.inner.touched), self.inner.clock.clone(), &self.inner.names, settings).await
        })
    }

    /// Opens a connection of the owner, for `tenants` to create and migrate schemas.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn owner(&self) -> Result<OwnerConnection, DbError> {
        let permit = Arc::clone(&self.inner.owner_permits).acquire_owned().await;
        OwnerConnection::open(&self.inner.owner, permit.ok()).await
    }

    /// Returns the house's clock.
    pub fn clock(&self) -> &Clock {
        &self.inner.clock
    }

    /// Returns the names of this installation's roles.
    pub fn installation(&self) -> &InstallationNames {
        &self.inner.names
    }

    /// Closes the pool; transactions that are open go on.
    pub fn close(&self) {
        self.inner.pool.close();
    }

    async fn take(&self) -> Result<Object, DbError> {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that takes a connection")]
        let connection = self.inner.pool.get().await;
        connection.map_err(|error| match error {
            PoolError::Backend(error) => DbError::Unreachable(error),
            other => DbError::NoConnection(other.to_string()),
        })
    }
}

fn open_pool(config: Config, max_connections: usize) -> Result<Pool, DbError> {
    let recycling_method = RecyclingMethod::Custom(RECYCLE.to_owned());
    let manager = Manager::from_config(config, NoTls, ManagerConfig { recycling_method });
    let patience = Some(Duration::from_secs(30));
    Pool::builder(manager)
        .max_size(max_connections.max(1))
        .queue_mode(QueueMode::Lifo)
        .timeouts(Timeouts { wait: patience, create: patience, recycle: patience })
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| DbError::NoConnection(error.to_string()))
}
