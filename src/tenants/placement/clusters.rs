//! The Postgres servers of an installation.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use granary_db::{Database, DatabaseConfig, PoolUse};
use granary_foundation::Boxed;
use serde::Serialize;
use tokio::sync::OnceCell;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::store;

/// The cluster that holds the control schema, and silos like the others.
pub const HOME: &str = "local";

/// How another cluster is reached. The URL comes from the configuration and is nowhere stored.
#[derive(Debug, Clone)]
pub struct Cluster {
    pub name: String,
    /// New customers of this region are placed there.
    pub region: String,
    pub database: DatabaseConfig,
}

/// A cluster and how many silos it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ClusterStanding {
    pub name: String,
    pub region: String,
    pub silos: i64,
    /// Why it cannot be reached, if so.
    pub trouble: Option<String>,
}

/// The home and the other clusters; one that nobody asks for is not connected to. Clones share connections.
#[derive(Clone)]
pub struct Clusters {
    home: Database,
    others: Arc<BTreeMap<String, Other>>,
}

struct Other {
    cluster: Cluster,
    database: OnceCell<Database>,
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.others.keys()).finish()
    }
}

impl Clusters {
    /// Returns the home and the clusters beside it.
    pub fn new(home: Database, others: Vec<Cluster>) -> Self {
        let others = others.into_iter().map(|cluster| (cluster.name.clone(), Other { cluster, database: OnceCell::new() }));
        Self { home, others: Arc::new(others.collect()) }
    }

    /// Returns the cluster that holds the control schema.
    pub const fn home(&self) -> &Database {
        &self.home
    }

    /// Returns a cluster, connected.
    ///
    /// # Errors
    /// When the configuration names no such cluster, or it does not answer.
    pub async fn get(&self, name: &str) -> Result<&Database, TenantsError> {
        if name == HOME {
            return Ok(&self.home);
        }
        let other = self.others.get(name).ok_or_else(|| TenantsError::UnknownCluster(name.to_owned()))?;
        Ok(other.database.get_or_try_init(|| self.home.connect_cluster(name, &other.cluster.database)).await?)
    }

    /// Lists the other clusters.
    pub fn others(&self) -> impl Iterator<Item = &Cluster> {
        self.others.values().map(|other| &other.cluster)
    }

    /// Chooses the cluster of a new customer: the first that serves its region, the home for whoever asks for none.
    ///
    /// # Errors
    /// When none serves it.
    pub fn for_region(&self, region: &str) -> Result<&str, TenantsError> {
        if region == HOME {
            return Ok(HOME);
        }
        let found = self.others().find(|cluster| cluster.region == region);
        found.map(|cluster| cluster.name.as_str()).ok_or_else(|| TenantsError::UnknownRegion(region.to_owned()))
    }

    /// Tells whether a cluster is where a customer's data may lie: in its region, or anywhere when it asked for none.
    pub(crate) fn is_in_region(&self, cluster: &str, region: &str) -> bool {
        region == HOME || self.region_of(cluster) == region
    }

    /// Returns the region of a cluster.
    pub(crate) fn region_of(&self, cluster: &str) -> &str {
        self.others.get(cluster).map_or(HOME, |other| &other.cluster.region)
    }

    /// Tells how much of the pool of each connected cluster is in use.
    pub fn pool_use(&self) -> Vec<(&str, PoolUse)> {
        let others = self.others.iter().filter_map(|(name, other)| Some((name.as_str(), other.database.get()?)));
        std::iter::once((HOME, &self.home)).chain(others).map(|(name, database)| (name, database.pool_use())).collect()
    }

    /// Closes the pools.
    pub fn close(&self) {
        self.home.close();
        for database in self.others.values().filter_map(|other| other.database.get()) {
            database.close();
        }
    }
}

impl Tenants {
    /// Lists the clusters, the home first, with what they hold; one that does not answer says why.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn list_clusters<'a>(&'a self) -> Boxed<'a, Result<Vec<ClusterStanding>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let silos: BTreeMap<String, i64> = store::count_silos(&tx).await?.into_iter().collect();
            tx.commit().await?;
            let known =
                [(HOME, HOME)].into_iter().chain(self.clusters().others().map(|other| (other.name.as_str(), other.region.as_str())));
            let mut standing = Vec::new();
            for (name, region) in known {
                let trouble = self.clusters().get(name).await.err().map(|error| error.to_string());
                let silos = silos.get(name).copied().unwrap_or(0);
                standing.push(ClusterStanding { name: name.to_owned(), region: region.to_owned(), silos, trouble });
            }
            let lost = silos.into_iter().filter(|(name, _)| standing.iter().all(|cluster| cluster.name != *name)).collect::<Vec<_>>();
            standing.extend(lost.into_iter().map(|(name, silos)| {
                let trouble = Some(TenantsError::UnknownCluster(name.clone()).to_string());
                ClusterStanding { name, region: String::new(), silos, trouble }
            }));
            Ok(standing)
        })
    }
}
