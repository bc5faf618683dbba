//! Provisioning: a customer is entered in the catalog, where nobody sees it yet; it gets its silo and its keys; then it is
//! opened.

use granary_db::{AuditEntry, OwnerConnection, Tx, TxSettings, outbox, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, CustomerStatus, day_of};
use granary_vault::Owner;
use jiff::ToSpan;
use serde_json::json;

use super::events::CustomerProvisioned;
use super::run::Lifecycle;
use super::step::{Extent, LifecycleStep, Operation, StepFailure, Subject};
use crate::catalog::Tenants;
use crate::customer::{Customer, NewCustomer};
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::Actor;
use crate::silo::latest_version;
use crate::store;
use crate::transaction::MspTx;

/// Days that a trial lasts.
pub const TRIAL_DAYS: i64 = 30;

impl Lifecycle {
    /// Provisions a customer: its row and contract, its silo (schema, role, grants, tables), its keys, and what other rooms
    /// registered; then it can be seen. Run again with the same MSP and code it finishes what was begun, or returns what is
    /// there.
    ///
    /// # Errors
    /// When the MSP is unknown, a zone has no name, a step fails, or the customer is being withdrawn.
    pub fn provision<'a>(&'a self, new: &'a NewCustomer, actor: Actor) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let tx = self.tenants().begin_catalog().await?;
            let msp = store::find_msp(&tx, new.msp_id).await?.ok_or(TenantsError::UnknownMsp(new.msp_id))?;
            let (customer, _) = enter(self.tenants(), &tx, &msp, new, actor).await?;
            tx.commit().await?;
            self.open(msp, customer).await
        })
    }

    /// Enters a customer in the catalog, with the caller's transaction; [`Lifecycle::open`] does the rest after the commit.
    /// The second part of the answer tells whether it is new, or was there under this code.
    ///
    /// # Errors
    /// When a zone has no name, or Postgres refuses.
    pub fn enter<'a>(&'a self, tx: &'a MspTx, new: &'a NewCustomer) -> Boxed<'a, Result<(Customer, bool), TenantsError>> {
        Box::pin(async move {
            if new.msp_id != tx.msp().id {
                return Err(TenantsError::ScopeMismatch);
            }
            enter(self.tenants(), tx, tx.msp(), new, tx.actor()).await
        })
    }

    /// Builds what a customer lacks that was entered, and opens it; nothing is done for one that is open.
    ///
    /// # Errors
    /// When a step fails, or the customer is being withdrawn.
    pub fn open<'a>(&'a self, msp: Msp, customer: Customer) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            if customer.schema_version > 0 {
                return Ok(customer);
            }
            let tenants = self.tenants().clone();
            let id = customer.id;
            self.advance(&Subject { tenants, msp, customer, operation: Operation::Provision, reason: None }).await?;
            self.tenants().get_customer(id).await
        })
    }
}

impl Tenants {
    /// Provisions a customer with the steps of this room alone; where all rooms are at hand, [`Lifecycle::provision`] is it.
    ///
    /// # Errors
    /// As [`Lifecycle::provision`].
    pub fn provision_customer<'a>(&'a self, new: &'a NewCustomer) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move { Lifecycle::new(self.clone()).provision(new, Actor::System("provision")).await })
    }

    /// Drops a customer's schema and role; what is not there is fine.
    pub(crate) async fn drop_silo(&self, customer: &Customer) -> Result<(), TenantsError> {
        let owner: OwnerConnection = self.clusters().get(&customer.cluster).await?.owner().await?;
        owner.lock(&customer.schema_name).await?;
        owner.execute_formatted(store::DROP_SILO, &[&customer.schema_name, &customer.role_name]).await?;
        Ok(())
    }
}

/// The rows of the control schema, in one transaction; the customer that has the code already stays as it is.
async fn enter(tenants: &Tenants, tx: &Tx, msp: &Msp, new: &NewCustomer, actor: Actor) -> Result<(Customer, bool), TenantsError> {
    new.check()?;
    let id = CustomerId::new();
    let created_at = new.created_at.unwrap_or_else(|| tx.now());
    let created_on = day_of(created_at, &msp.time_zone);
    let is_trial = new.status == CustomerStatus::Trial;
    let schema_name = format!("t_{}", id.uuid().simple());
    let role = tenants.db().installation().tenant_role(id.uuid())?;
    let placed = store::Placed {
        id,
        schema_name: &schema_name,
        role_name: role.as_str(),
        cluster: tenants.clusters().for_region(&new.region)?,
        trial_ends_on: is_trial.then(|| created_on.checked_add(TRIAL_DAYS.days()).unwrap_or(created_on)),
        activated_on: (new.status == CustomerStatus::Active).then_some(created_on),
        created_at,
    };
    let is_new = store::insert_customer(tx, new, &placed).await?;
    if is_new {
        let owner = (msp.id, id);
        store::insert_contract(tx, msp.id, id, &new.contract, created_at).await?;
        store::insert_status_change(tx, owner, new.status, None, created_at).await?;
        for (name, source) in &new.control_planes {
            store::insert_control_plane(tx, owner, name, source, created_at).await?;
        }
        let entry = AuditEntry {
            msp: Some(msp.id),
            customer: Some(id),
            actor: actor.to_string(),
            action: "customer.provision".to_owned(),
            subject: format!("customer:{}", new.code),
            detail: json!({"status": new.status}),
            reason: None,
        };
        record_audit(tx, &entry).await?;
    }
    let customer = store::find_customer_on_its_way(tx, new.msp_id, &new.code).await?;
    let customer = customer.ok_or(TenantsError::Taken("customer or copy of that code"))?;
    if customer.schema_version == 0 {
        store::insert_run(tx, (msp.id, customer.id), Operation::Provision, &actor.to_string(), None).await?;
    }
    Ok((customer, is_new))
}

/// Schema, role, grants and tables.
#[derive(Debug)]
pub(super) struct SiloStep;

impl LifecycleStep for SiloStep {
    fn name(&self) -> &'static str {
        "silo"
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(subject.tenants.build_silo(&subject.customer).await?) })
    }

    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(subject.tenants.drop_silo(&subject.customer).await?) })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let cluster = subject.tenants.clusters().get(&subject.customer.cluster).await?;
            let tx = cluster.begin(&TxSettings::operator()).await?;
            let parts = store::look_at_silo(&tx, &subject.customer.schema_name, &subject.customer.role_name).await?;
            tx.commit().await?;
            Ok(Extent::of(parts))
        })
    }
}

/// The customer's keys.
#[derive(Debug)]
pub(super) struct KeysStep;

impl LifecycleStep for KeysStep {
    fn name(&self) -> &'static str {
        "keys"
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(subject.tenants.keys().create_for(Owner::Customer(subject.customer.id)).await?) })
    }

    /// Nothing was sealed yet: the keys go without a trace.
    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move { Ok(subject.tenants.keys().discard(Owner::Customer(subject.customer.id)).await?) })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move { Ok(Extent::of(subject.tenants.keys().present(Owner::Customer(subject.customer.id)).await?)) })
    }
}

/// The last step: from now on the customer is seen.
#[derive(Debug)]
pub(super) struct OpenStep;

impl LifecycleStep for OpenStep {
    fn name(&self) -> &'static str {
        "open"
    }

    fn perform<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            if store::open_customer(&tx, subject.customer.id, latest_version()).await? {
                let event = CustomerProvisioned { customer_id: subject.customer.id, code: subject.customer.code.clone() };
                outbox::emit(&tx, Some(subject.msp.id), &event).await?;
            }
            Ok(tx.commit().await?)
        })
    }

    fn undo<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<(), StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            store::update_schema_version(&tx, subject.customer.id, 0).await?;
            Ok(tx.commit().await?)
        })
    }

    fn verify<'a>(&'a self, subject: &'a Subject) -> Boxed<'a, Result<Extent, StepFailure>> {
        Box::pin(async move {
            let tx = subject.tenants.begin_catalog().await?;
            let is_open = store::find_customer(&tx, subject.customer.id).await?.is_some();
            tx.commit().await?;
            Ok(Extent::of([is_open]))
        })
    }
}
