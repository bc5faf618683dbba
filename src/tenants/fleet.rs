//! The fleet: the schemas of all tenants, and how they come to this program's version.

use granary_foundation::Boxed;
use granary_types::CustomerCode;

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::silo::latest_version;
use crate::store;

/// What a migration of all tenants did.
#[derive(Debug, Default)]
pub struct MigrationReport {
    pub migrated: u64,
    /// Tenants that could not be migrated; they stay at their version and the others go on.
    pub failed: Vec<(CustomerCode, TenantsError)>,
}

impl Tenants {
    /// Migrates the schemas that are older than this program, four at a time. One that fails does not stop the others.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn migrate_all<'a>(&'a self) -> Boxed<'a, Result<MigrationReport, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let outdated = store::list_customers_older_than(&tx, latest_version()).await?;
            tx.commit().await?;
            let mut report = MigrationReport::default();
            let mut tasks = tokio::task::JoinSet::new();
            for customer in outdated {
                let tenants = self.clone();
                tasks.spawn(async move {
                    let outcome = tenants.migrate(&customer).await;
                    (customer.code, outcome)
                });
            }
            while let Some(outcome) = tasks.join_next().await {
                match outcome {
                    Ok((_, Ok(()))) => report.migrated += 1,
                    Ok((code, Err(error))) => report.failed.push((code, error)),
                    Err(error) => return Err(TenantsError::Stored(format!("a migration stopped: {error}"))),
                }
            }
            Ok(report)
        })
    }

    async fn migrate(&self, customer: &Customer) -> Result<(), TenantsError> {
        self.build_silo(customer).await?;
        let tx = self.begin_catalog().await?;
        store::update_schema_version(&tx, customer.id, latest_version()).await?;
        Ok(tx.commit().await?)
    }
}
