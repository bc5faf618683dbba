//! Signed statements of where a chain stood.

use granary_db::{AuditChain, CheckpointClaim};
use granary_foundation::Boxed;
use granary_types::CustomerStatus;
use granary_vault::Owner;
use jiff::Timestamp;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::scope::{Actor, TenantScope};
use crate::store;

/// What was claimed, and the signature of the MSP (or the installation) under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub claim: CheckpointClaim,
    pub signature: Vec<u8>,
}

impl Tenants {
    /// Signs where every chain stands that went on since its last checkpoint: the installation's, the MSPs', and those of the
    /// customers' silos. A silo that cannot be reached is passed over. Returns how many were signed.
    ///
    /// # Errors
    /// When the control schema or the key store fails.
    pub fn checkpoint_audit<'a>(&'a self, actor: Actor) -> Boxed<'a, Result<u64, TenantsError>> {
        Box::pin(async move {
            let mut signed = u64::from(self.checkpoint_control(AuditChain::Installation).await?);
            for msp in self.list_msps().await? {
                signed += u64::from(self.checkpoint_control(AuditChain::Msp(msp.id)).await?);
                for customer in self.list_customers(msp.id).await? {
                    if customer.status == CustomerStatus::Erased || customer.schema_version == 0 {
                        continue;
                    }
                    let id = customer.id;
                    match self.checkpoint_silo(&TenantScope::for_job(msp.clone(), customer, actor)).await {
                        Ok(is_signed) => signed += u64::from(is_signed),
                        Err(error) => tracing::warn!(tenant.id = %id, %error, "the audit log of a silo was not signed"),
                    }
                }
            }
            Ok(signed)
        })
    }

    async fn checkpoint_control(&self, chain: AuditChain) -> Result<bool, TenantsError> {
        let at = self.clock().now();
        let tx = self.begin_catalog().await?;
        let head = store::find_head(&tx, chain).await?;
        tx.commit().await?;
        self.sign_head(chain, head, at).await
    }

    /// Signs where the chain of one silo stands.
    pub(crate) async fn checkpoint_silo(&self, scope: &TenantScope) -> Result<bool, TenantsError> {
        let chain = AuditChain::Silo { msp: scope.msp.id, customer: scope.customer.id };
        let at = self.clock().now();
        let tx = self.begin_tenant(scope).await?;
        let head = if store::has_chain(&tx).await? { store::find_head(&tx, chain).await? } else { None };
        tx.commit().await?;
        self.sign_head(chain, head, at).await
    }

    /// Signs a head that was read after an instant: of a silo whose place a copy takes at that moment it is told which log it was.
    async fn sign_head(&self, chain: AuditChain, head: Option<super::Head>, made_at: Timestamp) -> Result<bool, TenantsError> {
        let Some(super::Head { sequence, digest: Some(digest), .. }) = head else { return Ok(false) };
        let owner = Owner::of_chain(chain);
        let tx = self.begin_catalog().await?;
        let last = store::find_last_checkpoint(&tx, chain.id()).await?;
        tx.commit().await?;
        let number = match last {
            Some((_, before)) if before == digest => return Ok(false),
            Some((number, _)) => number,
            None => 0,
        };
        let claim = CheckpointClaim { chain: chain.id(), number: number + 1, sequence, digest, made_at };
        // An installation from before there were signatures of its own gets the key now.
        self.keys().create_for(owner).await?;
        let signature = self.keys().sign(owner, &claim.message()).await?;
        let tx = self.begin_catalog().await?;
        let checkpoint = Checkpoint { claim, signature: signature.bytes };
        let is_new = store::insert_checkpoint(&tx, (chain.msp(), chain.customer()), &checkpoint).await?;
        tx.commit().await?;
        Ok(is_new)
    }
}
