//! The catalog, and the doors that it opens.

use std::sync::Arc;
use std::time::Duration;

use granary_db::{AuditChain, AuditEntry, AuditKeys, Database, DbError, Identifier, Tx, TxSettings, record_audit};
use granary_foundation::Boxed;
use granary_types::{Clock, CustomerCode, CustomerId, EndReason, MspId};
use granary_vault::{Keys, Owner};
use jiff::civil::Date;
use serde_json::json;

use crate::contract::{Contract, ContractLimits};
use crate::customer::{ControlPlane, Customer, StatusChange};
use crate::error::TenantsError;
use crate::msp::{Msp, NewMsp};
use crate::placement::{Clusters, GATE};
use crate::scope::{MspScope, OperatorScope, TenantScope};
use crate::store;
use crate::transaction::{AccessTx, MspTx, OperatorTx, TenantTx};

/// How long a transaction waits for a silo between two places, and how often it asks.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(25);

/// MSPs, customers, their terms, and the transactions that reach them.
#[derive(Debug, Clone)]
pub struct Tenants {
    clusters: Clusters,
    keys: Keys,
}

impl Tenants {
    /// Returns the catalog of an installation of one cluster.
    pub fn new(db: Database, keys: Keys) -> Self {
        Self::over(Clusters::new(db, Vec::new()), keys)
    }

    /// Returns the catalog of an installation.
    pub const fn over(clusters: Clusters, keys: Keys) -> Self {
        Self { clusters, keys }
    }

    /// Returns the clusters that hold silos.
    pub const fn clusters(&self) -> &Clusters {
        &self.clusters
    }

    /// Returns the house's clock.
    pub fn clock(&self) -> &Clock {
        self.db().clock()
    }

    /// Returns the database of the control schema, for the queue and the relay.
    pub const fn db(&self) -> &Database {
        self.clusters.home()
    }

    /// Returns the key store, for what a room seals itself.
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Returns what knows the keys of audit logs.
    pub(crate) fn audit_keys(&self) -> Arc<dyn AuditKeys> {
        Arc::new(self.keys.clone())
    }

    /// Fetches the key of an MSP's audit log before a connection is held: many that held one each and waited for another to
    /// fetch it by would wait for one another. What fails here fails again, and is told, when something is recorded.
    async fn prepare_audit(&self, msp: MspId) {
        if let Err(error) = self.keys.audit_key(AuditChain::Msp(msp)).await {
            tracing::debug!(msp.id = %msp, %error, "the key of an audit log was not fetched");
        }
    }

    /// Makes an MSP with its keys, or returns the one that has the code.
    ///
    /// # Errors
    /// When the code is empty, the zone has no name, or Postgres refuses.
    pub fn create_msp<'a>(&'a self, new: &'a NewMsp) -> Boxed<'a, Result<Msp, TenantsError>> {
        Box::pin(async move {
            if new.code.is_empty() || new.code.len() > 50 {
                return Err(TenantsError::Invalid("the code of an MSP has 1 to 50 characters"));
            }
            let tx = self.begin_catalog().await?;
            store::insert_msp(&tx, new).await?;
            let msp = store::find_msp_by_code(&tx, &new.code).await?.ok_or_else(|| TenantsError::UnknownMspCode(new.code.clone()))?;
            tx.commit().await?;
            self.keys.create_for(Owner::Msp(msp.id)).await?;
            Ok(msp)
        })
    }

    /// Lists MSPs by code.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_msps<'a>(&'a self) -> Boxed<'a, Result<Vec<Msp>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let msps = store::list_msps(&tx).await?;
            tx.commit().await?;
            Ok(msps)
        })
    }

    /// Returns an MSP.
    ///
    /// # Errors
    /// When there is none.
    pub fn get_msp<'a>(&'a self, id: MspId) -> Boxed<'a, Result<Msp, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let msp = store::find_msp(&tx, id).await?;
            tx.commit().await?;
            msp.ok_or(TenantsError::UnknownMsp(id))
        })
    }

    /// Finds an MSP by its code.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn find_msp_by_code<'a>(&'a self, code: &'a str) -> Boxed<'a, Result<Option<Msp>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let msp = store::find_msp_by_code(&tx, code).await?;
            tx.commit().await?;
            Ok(msp)
        })
    }

    /// Lists an MSP's customers by code; those that were erased are gone.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_customers<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<Customer>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let customers = store::list_customers(&tx, msp).await?;
            tx.commit().await?;
            Ok(customers)
        })
    }

    /// Returns a customer.
    ///
    /// # Errors
    /// When there is none.
    pub fn get_customer<'a>(&'a self, id: CustomerId) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let customer = store::find_customer(&tx, id).await?;
            tx.commit().await?;
            customer.ok_or(TenantsError::UnknownCustomer(id))
        })
    }

    /// Returns a customer of an MSP by its code.
    ///
    /// # Errors
    /// When the MSP has none of that code.
    pub fn get_customer_by_code<'a>(&'a self, msp: MspId, code: &'a CustomerCode) -> Boxed<'a, Result<Customer, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let customer = store::find_customer_by_code(&tx, msp, code).await?;
            tx.commit().await?;
            customer.ok_or_else(|| TenantsError::UnknownCustomerCode(code.clone()))
        })
    }

    /// Returns the contract in force on a day: the last that has begun, or the first when none has.
    ///
    /// # Errors
    /// When the customer has none.
    pub fn contract_of<'a>(&'a self, customer: CustomerId, on: Date) -> Boxed<'a, Result<Contract, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let contract = store::find_contract_on(&tx, customer, on).await?;
            tx.commit().await?;
            contract.ok_or(TenantsError::NoContract(on))
        })
    }

    /// Lists all contracts of an MSP's customers, by customer and start.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_contracts<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<Contract>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let contracts = store::list_contracts(&tx, msp).await?;
            tx.commit().await?;
            Ok(contracts)
        })
    }

    /// Lists the limits of an MSP's contracts through time, each contract's oldest first.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_contract_limits<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<ContractLimits>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let limits = store::list_contract_limits(&tx, msp).await?;
            tx.commit().await?;
            Ok(limits)
        })
    }

    /// Lists the changes of status of an MSP's customers, by customer and time; the first is the status it began with.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_status_changes<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<StatusChange>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let changes = store::list_status_changes(&tx, msp).await?;
            tx.commit().await?;
            Ok(changes)
        })
    }

    /// Notes that a customer gave notice on a day, and on which day the contract therefore ends.
    ///
    /// # Errors
    /// When it has no contract then.
    pub fn give_notice<'a>(
        &'a self,
        customer: CustomerId,
        on: Date,
        ends_on: Date,
        reason: EndReason,
    ) -> Boxed<'a, Result<(), TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            if !store::update_notice(&tx, customer, on, ends_on, reason).await? {
                return Err(TenantsError::NoContract(ends_on));
            }
            Ok(tx.commit().await?)
        })
    }

    /// Lists a customer's backup systems by name.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn control_planes<'a>(&'a self, customer: CustomerId) -> Boxed<'a, Result<Vec<ControlPlane>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let planes = store::list_control_planes(&tx, customer).await?;
            tx.commit().await?;
            Ok(planes)
        })
    }

    /// Begins a transaction in one customer's schema.
    ///
    /// # Errors
    /// When scope and customer do not belong together, or Postgres refuses.
    pub fn begin_tenant<'a>(&'a self, scope: &'a TenantScope) -> Boxed<'a, Result<TenantTx, TenantsError>> {
        Box::pin(async move { self.open_tenant(scope, |settings| settings).await })
    }

    /// Begins a read-only transaction that sees one instant of a customer's schema.
    ///
    /// # Errors
    /// When scope and customer do not belong together, or Postgres refuses.
    pub fn begin_tenant_snapshot<'a>(&'a self, scope: &'a TenantScope) -> Boxed<'a, Result<TenantTx, TenantsError>> {
        Box::pin(async move { self.open_tenant(scope, TxSettings::snapshot).await })
    }

    async fn open_tenant(&self, scope: &TenantScope, mode: impl FnOnce(TxSettings) -> TxSettings) -> Result<TenantTx, TenantsError> {
        let customer = &scope.customer;
        if customer.msp_id != scope.msp.id {
            return Err(TenantsError::ScopeMismatch);
        }
        let schema = Identifier::new(customer.schema_name.as_str()).map_err(DbError::from)?;
        let role = Identifier::new(customer.role_name.as_str()).map_err(DbError::from)?;
        let gate = Identifier::new(GATE).map_err(DbError::from)?;
        let settings = TxSettings::tenant(schema, role, customer.bucket).through_gate(gate).at_version(customer.schema_version);
        self.prepare_audit(customer.msp_id).await;
        let tx = self.enter(customer, &mode(settings)).await?;
        Ok(TenantTx::new(tx.audited_with(self.audit_keys()), scope.clone()))
    }

    /// Enters a silo where the scope says that it lies; where it has gone, asks the catalog until it says where it lies now.
    async fn enter(&self, customer: &Customer, settings: &TxSettings) -> Result<Tx, TenantsError> {
        let mut cluster = customer.cluster.clone();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let error = match self.clusters.get(&cluster).await?.begin(settings).await {
                Err(error) if error.is_undefined_table() => error,
                outcome => return Ok(outcome?),
            };
            let now = self.get_customer(customer.id).await?;
            if now.cluster == cluster {
                if tokio::time::Instant::now() > deadline {
                    tracing::warn!(tenant.id = %customer.id, cluster, %error, "a silo's gate is not where the catalog says");
                    return Err(TenantsError::OnItsWay(customer.code.clone()));
                }
                tokio::time::sleep(PAUSE).await;
            }
            cluster = now.cluster;
        }
    }

    /// Begins a transaction in the control schema that sees one MSP's rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn begin_msp<'a>(&'a self, scope: &'a MspScope) -> Boxed<'a, Result<MspTx, TenantsError>> {
        Box::pin(async move {
            self.prepare_audit(scope.msp.id).await;
            let tx = self.db().begin(&TxSettings::msp(scope.msp.id)).await?;
            Ok(MspTx::new(tx.audited_with(self.audit_keys()), scope.clone()))
        })
    }

    /// Begins a read-only transaction that sees one instant of one MSP's rows.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn begin_msp_snapshot<'a>(&'a self, scope: &'a MspScope) -> Boxed<'a, Result<MspTx, TenantsError>> {
        Box::pin(async move {
            let tx = self.db().begin(&TxSettings::msp(scope.msp.id).snapshot()).await?;
            Ok(MspTx::new(tx, scope.clone()))
        })
    }

    /// Begins a transaction in the whole control schema. Who opened it and why is written down first, in a transaction of its
    /// own, so that a look that changes nothing leaves its trace too.
    ///
    /// # Errors
    /// When there is no reason, or Postgres refuses.
    pub fn begin_operator<'a>(&'a self, scope: &'a OperatorScope) -> Boxed<'a, Result<OperatorTx, TenantsError>> {
        Box::pin(async move {
            if scope.reason.trim().is_empty() {
                return Err(TenantsError::Invalid("the operator's access needs a reason"));
            }
            let tx = self.begin_catalog().await?;
            let entry = AuditEntry {
                msp: None,
                customer: None,
                actor: scope.actor.to_string(),
                action: "operator.access".to_owned(),
                subject: "control".to_owned(),
                detail: json!({}),
                reason: Some(scope.reason.clone()),
            };
            record_audit(&tx, &entry).await?;
            tx.commit().await?;
            Ok(OperatorTx::new(self.begin_catalog().await?))
        })
    }

    /// Opens the control schema for the catalog's own look-ups; what people and jobs do goes through a scope.
    pub(crate) async fn begin_catalog(&self) -> Result<Tx, TenantsError> {
        Ok(self.db().begin(&TxSettings::operator()).await?.audited_with(self.audit_keys()))
    }

    /// Begins the transaction in which `access` finds out who somebody is.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn begin_access<'a>(&'a self) -> Boxed<'a, Result<AccessTx, TenantsError>> {
        Box::pin(async move {
            let tx = self.db().begin(&TxSettings::access()).await?;
            Ok(AccessTx::new(tx.audited_with(self.audit_keys())))
        })
    }
}
