//! One worker: it takes tenants from the queue and changes their schemas over a connection of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use granary_db::{DbError, OwnerConnection};
use tokio::sync::mpsc;

use super::queue::{Next, Queue, Waiting};
use super::{Behind, Fleet, FleetOptions, Outcome};
use crate::error::TenantsError;
use crate::silo::{Reached, SiloNames, migrate_silo};
use crate::store;

/// Schemas that one connection changes before it is replaced: a backend keeps what it learned about every table.
const MAX_SCHEMAS: u32 = 200;
/// How long a tenant rests that another process works on.
const BUSY_REST: Duration = Duration::from_millis(100);
/// How long somebody else may work on a schema before we say so.
const BUSY_PATIENCE: u32 = 3_000;

/// Works until the queue is empty, or nobody listens.
pub(super) async fn work(fleet: Fleet, queue: Arc<Queue>, options: FleetOptions, outcomes: mpsc::Sender<Outcome>) {
    let mut hand = Hand { fleet, options, connection: None };
    loop {
        match queue.next() {
            Next::Nothing => return,
            Next::Later(rest) => tokio::time::sleep(rest.min(BUSY_REST)).await,
            Next::Tenant(mut entry) => {
                let since = Instant::now();
                let result = match hand.migrate(&mut entry.tenant).await {
                    Ok(Reached::Migrated(migrations)) => Ok(migrations),
                    Ok(Reached::Busy) if entry.encounters < BUSY_PATIENCE => {
                        entry.encounters += 1;
                        queue.put_back(entry, BUSY_REST);
                        continue;
                    }
                    Ok(Reached::Busy) => Err(TenantsError::Invalid("another process has been at work on the schema for minutes")),
                    Err(error) if entry.attempts + 1 < hand.options.attempts && may_pass(&error) => {
                        let rest = rest(&entry);
                        tracing::debug!(customer = %entry.tenant.code, %error, "tried again later");
                        entry.attempts += 1;
                        queue.put_back(entry, rest);
                        continue;
                    }
                    Err(error) => Err(error),
                };
                if outcomes.send(Outcome::new(entry.tenant, result, since)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// Twice as long each time, five seconds at most.
fn rest(entry: &Waiting) -> Duration {
    Duration::from_millis(100 << entry.attempts.min(6)).min(Duration::from_secs(5))
}

/// Locks are let go of, and connections come back.
fn may_pass(error: &TenantsError) -> bool {
    matches!(error, TenantsError::Db(error) if error.is_lock_timeout() || error.is_serialization_failure() || error.is_connection_lost())
}

/// A worker's connection: to which cluster, and how many schemas it has changed.
struct Hand {
    fleet: Fleet,
    options: FleetOptions,
    connection: Option<(OwnerConnection, String, u32)>,
}

impl Hand {
    /// Migrates one schema where it lies; one that was moved meanwhile is tried again where it lies now.
    async fn migrate(&mut self, tenant: &mut Behind) -> Result<Reached, TenantsError> {
        let names = SiloNames::new(&tenant.schema_name, &tenant.role_name)?;
        let (owner, uses) = match self.connection.take() {
            Some((owner, cluster, uses)) if cluster == tenant.cluster && uses < MAX_SCHEMAS && !owner.is_closed() => (owner, uses),
            _ => (self.fleet.tenants().clusters().get(&tenant.cluster).await?.another_owner().await?, 0),
        };
        let reached = migrate_silo(&owner, &names, self.fleet.migrations(), self.options.lock_timeout).await;
        // A connection that cannot roll back is dropped, and the server does it.
        if reached.is_ok() || owner.batch("rollback").await.is_ok() {
            self.connection = Some((owner, tenant.cluster.clone(), uses + 1));
        }
        match reached {
            Err(TenantsError::Db(error)) if error.is_undefined_table() => self.look_for(tenant, &names, error).await,
            other => other,
        }
    }

    /// Asks the catalog where a schema lies that is not where it was. Whoever reads the report should not have to guess what an
    /// undefined table means.
    async fn look_for(&self, tenant: &mut Behind, names: &SiloNames, error: DbError) -> Result<Reached, TenantsError> {
        let tx = self.fleet.tenants().begin_catalog().await?;
        let cluster = store::find_cluster(&tx, tenant.id).await?;
        tx.commit().await?;
        match cluster {
            Some(cluster) if cluster != tenant.cluster => {
                tenant.cluster = cluster;
                Ok(Reached::Busy)
            }
            _ => {
                let schema = names.schema.as_str().to_owned();
                let message = format!("the schema or its history of migrations is not there: {error}");
                Err(DbError::Migration { schema, message }.into())
            }
        }
    }
}
