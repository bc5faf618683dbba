//! A tenant's silo: its schema, its role, its tables and their grants.

use granary_db::{Identifier, OwnerConnection};

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
    /// a time works on a schema.
    pub(crate) async fn build_silo(&self, customer: &Customer) -> Result<(), TenantsError> {
        let schema = Identifier::new(customer.schema_name.as_str()).map_err(granary_db::DbError::from)?;
        let names = self.db().installation();
        let mut owner: OwnerConnection = self.db().owner().await?;
        owner.lock(&customer.schema_name).await?;
        let (schema_name, role) = (customer.schema_name.as_str(), customer.role_name.as_str());
        let login = self.db().prepare_bucket(&owner, customer.bucket).await?;
        owner.execute_formatted(store::CREATE_SILO, &[&schema_name, &role, &names.tenants_role.as_str(), &login.as_str()]).await?;
        owner.set_path(&schema).await?;
        let runner = migrations::migrations::runner().set_grouped(true);
        owner.migrate(&runner, schema_name).await?;
        owner.execute_formatted(store::GRANT_SILO, &[&schema_name, &role]).await?;
        Ok(())
    }
}
