//! The first part of a tenant's life: provisioning.
//!
//! Provisioning is an ordered list of steps, each of which may be done again: killed anywhere and run again, it ends in the
//! same place. Until the last step nobody sees the customer.

use granary_db::{Tx, TxSettings};
use granary_foundation::Boxed;
use granary_types::{CustomerId, CustomerStatus, day_of};
use granary_vault::Owner;
use jiff::ToSpan;

use crate::catalog::Tenants;
use crate::customer::{Customer, NewCustomer};
use crate::error::TenantsError;
use crate::silo::latest_version;
use crate::store;

/// Days that a trial lasts.
const TRIAL_DAYS: i64 = 30;
const PROVISION: &str = "provision";

impl Tenants {
    /// Provisions a customer: its row and contract, its silo (schema, role, grants, tables), its keys; then it can be seen. Run
    /// again with the same MSP and code it finishes what was begun, or returns what is there.
    ///
    /// # Errors
    /// When the MSP is unknown, a zone has no name, or Postgres refuses.
    pub fn provision_customer<'a>(&'a self, new: &'a NewCustomer) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let customer = self.enter_catalog(new).await?;
            if customer.schema_version > 0 {
                return Ok(customer);
            }
            self.build_silo(&customer).await?;
            self.note_step(customer.id, "silo").await?;
            self.keys().create_for(Owner::Customer(customer.id)).await?;
            self.note_step(customer.id, "keys").await?;
            self.open_customer(customer).await
        })
    }

    /// Step 1: the rows of the control schema, in one transaction.
    async fn enter_catalog(&self, new: &NewCustomer) -> Result<Customer, TenantsError> {
        let tx = self.begin_catalog().await?;
        let msp = store::find_msp(&tx, new.msp_id).await?.ok_or(TenantsError::UnknownMsp(new.msp_id))?;
        let id = CustomerId::new();
        let created_at = new.created_at.unwrap_or_else(|| tx.now());
        let created_on = day_of(created_at, &msp.time_zone);
        let is_trial = new.status == CustomerStatus::Trial;
        let schema_name = format!("t_{}", id.uuid().simple());
        let role = self.db().installation().tenant_role(id.uuid())?;
        let placed = store::Placed {
            id,
            schema_name: &schema_name,
            role_name: role.as_str(),
            trial_ends_on: is_trial.then(|| created_on.checked_add(TRIAL_DAYS.days()).unwrap_or(created_on)),
            activated_on: (new.status == CustomerStatus::Active).then_some(created_on),
            created_at,
        };
        if store::insert_customer(&tx, new, &placed).await? {
            let owner = (msp.id, id);
            store::insert_contract(&tx, msp.id, id, &new.contract, created_at).await?;
            store::insert_status_change(&tx, owner, new.status, None, created_at).await?;
            for (name, source) in &new.control_planes {
                store::insert_control_plane(&tx, owner, name, source, created_at).await?;
            }
            store::upsert_step(&tx, id, PROVISION, "catalog", "done").await?;
        }
        let customer = store::find_customer_on_its_way(&tx, new.msp_id, &new.code).await?;
        tx.commit().await?;
        customer.ok_or_else(|| TenantsError::UnknownCustomerCode(new.code.clone()))
    }

    /// The last step: from now on the customer is seen.
    async fn open_customer(&self, mut customer: Customer) -> Result<Customer, TenantsError> {
        customer.schema_version = latest_version();
        let tx = self.begin_catalog().await?;
        store::update_schema_version(&tx, customer.id, customer.schema_version).await?;
        store::upsert_step(&tx, customer.id, PROVISION, "open", "done").await?;
        tx.commit().await?;
        Ok(customer)
    }

    async fn note_step(&self, customer: CustomerId, step: &str) -> Result<(), TenantsError> {
        let tx = self.begin_catalog().await?;
        store::upsert_step(&tx, customer, PROVISION, step, "done").await?;
        Ok(tx.commit().await?)
    }

    /// Opens the control schema for the catalog's own look-ups; what people and jobs do goes through a scope.
    pub(crate) async fn begin_catalog(&self) -> Result<Tx, TenantsError> {
        Ok(self.db().begin(&TxSettings::operator()).await?)
    }
}
