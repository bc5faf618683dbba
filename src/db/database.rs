//! The pool, and the only place that takes a connection from it.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use granary_foundation::{Boxed, Secret};
use granary_types::Clock;
use tokio_postgres::Config;

use crate::error::DbError;
use crate::installation::{self, InstallationNames};
use crate::owner::{OwnerConnection, Owners, owner_config};
use crate::pool::{Pool, PoolUse, Shares, Wish};
use crate::settings::{Door, Identifier, TxSettings};
use crate::store::installation as store;
use crate::tx::Tx;

/// Schemas that are created or migrated at the same time.
const OWNER_CONNECTIONS: usize = 4;
/// Connections of the key store alone. Whoever holds one of the pool may need a key to go on: with all of the pool held, nobody
/// would get any further.
const KEY_CONNECTIONS: usize = 2;

/// How to reach Postgres.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// The owner's login, as `postgres://…` or as `host=/socket/directory user=…`; it may create schemas and roles.
    pub url: Secret,
    /// The password that the logins have, or get.
    pub app_password: Secret,
    /// Connections that requests and jobs share, those of all logins together; the key store has two of its own.
    pub max_connections: usize,
    /// How many of them one tenant may hold at a time.
    pub connections_per_tenant: usize,
}

/// The database of an installation; clones share the pool.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    pool: Arc<Pool>,
    key_pool: Arc<Pool>,
    shares: Shares,
    owners: Owners,
    app_password: Secret,
    /// Buckets whose login was seen to be there.
    buckets: Mutex<HashSet<i32>>,
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
        Self::join(config, clock, None)
    }

    /// Connects another cluster of the installation whose home this is: silos live there, the control schema does not.
    ///
    /// # Errors
    /// When the server does not answer, is older than 15, or belongs to another installation or under another name.
    pub fn connect_cluster<'a>(&'a self, name: &'a str, config: &'a DatabaseConfig) -> Boxed<'a, Result<Self, DbError>> {
        Self::join(config, self.inner.clock.clone(), Some((&self.inner.names, name)))
    }

    fn join<'a>(
        config: &'a DatabaseConfig,
        clock: Clock,
        member: Option<(&'a InstallationNames, &'a str)>,
    ) -> Boxed<'a, Result<Self, DbError>> {
        Box::pin(async move {
            let owner_config = owner_config(&config.url)?;
            let mut owner = OwnerConnection::open(&owner_config).await?;
            let names = match member {
                None => installation::prepare(&mut owner, clock.now()).await?,
                Some((names, cluster)) => installation::prepare_cluster(&owner, names, cluster).await?,
            };
            installation::prepare_app(&owner, &names, &config.app_password).await?;

            let mut logins = owner_config.clone();
            logins.application_name("granary");
            let inner = Inner {
                pool: Arc::new(Pool::new(logins.clone(), config.app_password.clone(), config.max_connections)),
                key_pool: Arc::new(Pool::new(logins, config.app_password.clone(), KEY_CONNECTIONS)),
                shares: Shares::new(config.connections_per_tenant),
                owners: Owners::new(owner_config, OWNER_CONNECTIONS),
                app_password: config.app_password.clone(),
                buckets: Mutex::default(),
                names,
                clock,
            };
            let database = Self { inner: Arc::new(inner) };
            database.move_tenants_to_buckets(&owner).await?;
            Ok(database)
        })
    }

    /// Tells how much of the pool is in use.
    pub fn pool_use(&self) -> PoolUse {
        self.inner.pool.use_of()
    }

    /// Begins a transaction behind both walls. Only `tenants` (for scopes), `vault` (key store) and `access` (who somebody is)
    /// call this; everybody else is given a transaction.
    ///
    /// # Errors
    /// When no connection becomes free, or Postgres refuses schema or role.
    pub fn begin<'a>(&'a self, settings: &'a TxSettings) -> Boxed<'a, Result<Tx, DbError>> {
        Box::pin(async move {
            match self.try_begin(settings, Wish::Idle).await {
                Err(error) if error.is_login_refused() => {
                    installation::mend_login(&self.owner().await?, &self.login(settings)?, &self.inner.app_password).await?;
                }
                // A server that was started anew has ended what lay idle, and we hear of it only now.
                Err(error) if error.is_connection_lost() => self.pool_of(settings).forget_idle(),
                // A session that worked out its memberships at the very moment of another's `grant` may have missed one, and
                // believes so until the next (Postgres 15); a new session does not.
                Err(error) if error.is_permission_denied() => {}
                outcome => return outcome,
            }
            self.try_begin(settings, Wish::New).await
        })
    }

    /// Takes a connection of the owner, for `tenants` to create and change schemas; it waits while four are at work.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn owner(&self) -> Result<OwnerConnection, DbError> {
        self.inner.owners.take().await
    }

    /// Opens a connection of the owner beside those four; the caller bounds how many there are.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn another_owner(&self) -> Result<OwnerConnection, DbError> {
        self.inner.owners.open().await
    }

    /// How the owner connects.
    pub(crate) fn owner_config(&self) -> &Config {
        self.inner.owners.config()
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
        self.inner.key_pool.close();
        self.inner.owners.close();
    }

    /// Sees to it that the login of a bucket is there, and returns its name; `tenants` lets it become the roles of the bucket's
    /// tenants.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn prepare_bucket(&self, owner: &OwnerConnection, bucket: i32) -> Result<Identifier, DbError> {
        let login = self.inner.names.bucket_login(bucket)?;
        let is_known = self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner).contains(&bucket);
        if !is_known {
            installation::prepare_login(owner, &login, &self.inner.app_password).await?;
            self.inner.buckets.lock().unwrap_or_else(PoisonError::into_inner).insert(bucket);
        }
        Ok(login)
    }

    async fn try_begin(&self, settings: &TxSettings, wish: Wish) -> Result<Tx, DbError> {
        let share = match &settings.door {
            Door::Tenant { schema, .. } => Some(self.inner.shares.of(schema).await?),
            _ => None,
        };
        let connection = self.pool_of(settings).take(&self.login(settings)?, share, wish).await?;
        Tx::begin(connection, self.inner.clock.clone(), &self.inner.names, settings).await
    }

    fn pool_of(&self, settings: &TxSettings) -> &Arc<Pool> {
        if settings.door == Door::Keystore { &self.inner.key_pool } else { &self.inner.pool }
    }

    fn login(&self, settings: &TxSettings) -> Result<Identifier, DbError> {
        match settings.door {
            Door::Tenant { bucket, .. } => self.inner.names.bucket_login(bucket),
            _ => Ok(self.inner.names.app_role.clone()),
        }
    }

    /// Before there were buckets one login served every tenant. The caller's connection holds the lock of the preparation.
    async fn move_tenants_to_buckets(&self, owner: &OwnerConnection) -> Result<(), DbError> {
        let names = self.installation();
        let app = names.app_role.as_str();
        if owner.query_opt(store::FIND_SERVED_BY_APP, &[&app, &names.prefix]).await?.is_none() {
            return Ok(());
        }
        let tx = self.begin(&TxSettings::operator()).await?;
        let served = tx.query(store::LIST_SERVED_BY_APP, &[&app]).await?;
        tx.commit().await?;
        for row in &served {
            let role: String = row.try_get(0)?;
            let login = self.prepare_bucket(owner, row.try_get(1)?).await?;
            owner.execute_formatted(store::GRANT_ROLE, &[&role, &login.as_str()]).await?;
            owner.execute_formatted(store::REVOKE_ROLE, &[&role, &app]).await?;
        }
        owner.execute_formatted(store::REVOKE_ROLE, &[&names.tenants_role.as_str(), &app]).await?;
        tracing::info!(tenants = served.len(), "tenants moved to the logins of their buckets");
        Ok(())
    }
}
