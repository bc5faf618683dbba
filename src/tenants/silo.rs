//! A tenant's silo: its schema, its role, its tables and their grants.

use granary_db::{Database, Identifier, OwnerConnection};

use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::store;

mod migrations {
    refinery::embed_migrations!("../../tenant-migrations");
}

/// Returns the version that a tenant's schema should have.
pub(crate) fn latest_version() -> i32 {
    migrations::migrations::runner().get_migrations().iter().map(refinery::Migration::version).max().unwrap_or(0)
}

impl Tenants {
    /// Brings a customer's schema, role, tables and grants to this program's version, whatever was done before. One process at
    /// a time works on a schema; one that was moved meanwhile is looked for where it lies now.
    pub(crate) async fn build_silo(&self, customer: &Customer) -> Result<(), TenantsError> {
        let mut cluster = customer.cluster.clone();
        loop {
            let database = self.clusters().get(&cluster).await?;
            let mut owner = database.owner().await?;
            owner.lock(&customer.schema_name).await?;
            let tx = self.begin_catalog().await?;
            let now = store::find_cluster(&tx, customer.id).await?;
            tx.commit().await?;
            match now {
                Some(now) if now != cluster => cluster = now,
                _ => return build(database, &mut owner, &customer.schema_name, &customer.role_name, customer.bucket).await,
            }
        }
    }
}

/// Makes or completes a silo; the caller holds its lock.
pub(crate) async fn build(
    database: &Database,
    owner: &mut OwnerConnection,
    schema_name: &str,
    role: &str,
    bucket: i32,
) -> Result<(), TenantsError> {
    let schema = Identifier::new(schema_name).map_err(granary_db::DbError::from)?;
    let login = database.prepare_bucket(owner, bucket).await?;
    let tenants_role = database.installation().tenants_role.as_str();
    owner.execute_formatted(store::CREATE_SILO, &[&schema_name, &role, &tenants_role, &login.as_str()]).await?;
    owner.set_path(&schema).await?;
    let runner = migrations::migrations::runner().set_grouped(true);
    owner.migrate(&runner, schema_name).await?;
    owner.execute_formatted(store::GRANT_SILO, &[&schema_name, &role]).await?;
    Ok(())
}
