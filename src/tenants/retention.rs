//! How long an MSP keeps the rows of a dataset, and before which day a customer's have gone.
//!
//! Which datasets there are, how long they are needed and how rows go is not known here: rooms say so
//! ([`Retained`](granary_types::Retained)), and `lake` follows the rules.

use granary_db::{AuditEntry, record_as_owner, record_audit};
use granary_foundation::Boxed;
use granary_types::{CustomerId, CustomerStatus, MspId};
use jiff::Timestamp;
use jiff::civil::Date;
use serde_json::json;

use crate::catalog::Tenants;
use crate::error::TenantsError;
use crate::placement::GATE;
use crate::scope::TenantScope;
use crate::silo::SiloNames;
use crate::store;
use crate::transaction::{MspTx, TenantTx};

/// What rows that went are called in audit logs.
const LET_GO: &str = "retention.let_go";

/// A rule: rows of the dataset go after so many days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionRule {
    pub dataset: String,
    pub keep_days: i32,
    pub set_by: String,
    pub set_at: Timestamp,
}

/// Before this day a customer's rows of the dataset were let go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetentionMark {
    pub customer_id: CustomerId,
    pub dataset: String,
    pub kept_from: Date,
}

/// What one transaction lets go: at most so many rows of a dataset before a day, by a statement that takes both.
#[derive(Debug, Clone, Copy)]
pub struct LettingGo<'a> {
    pub dataset: &'a str,
    pub statement: &'static str,
    pub kept_from: Date,
    pub most: i64,
}

/// Lists an MSP's rules by dataset.
///
/// # Errors
/// When Postgres refuses.
pub fn list_retention_rules<'a>(tx: &'a MspTx) -> Boxed<'a, Result<Vec<RetentionRule>, TenantsError>> {
    Box::pin(async move { store::list_rules(tx, tx.msp().id).await })
}

/// Sets a rule, or with no days lifts it: rows are then kept for ever. Whether so few days will do is asked before.
///
/// # Errors
/// When Postgres refuses.
pub fn put_retention_rule<'a>(tx: &'a MspTx, dataset: &'a str, keep_days: Option<i32>) -> Boxed<'a, Result<(), TenantsError>> {
    Box::pin(async move {
        let (msp, actor) = (tx.msp().id, tx.actor().to_string());
        let is_new = match keep_days {
            Some(days) => store::upsert_rule(tx, msp, dataset, days, &actor).await?,
            None => store::delete_rule(tx, msp, dataset).await?,
        };
        if !is_new {
            return Ok(());
        }
        let entry = AuditEntry {
            msp: Some(msp),
            customer: None,
            actor,
            action: "retention.rule".to_owned(),
            subject: format!("dataset:{dataset}"),
            detail: json!({"keep_days": keep_days}),
            reason: None,
        };
        Ok(record_audit(tx, &entry).await?)
    })
}

impl Tenants {
    /// Lists before which days rows of an MSP's customers were let go.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn list_retention_marks<'a>(&'a self, msp: MspId) -> Boxed<'a, Result<Vec<RetentionMark>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let marks = store::list_marks(&tx, msp).await?;
            tx.commit().await?;
            Ok(marks)
        })
    }

    /// Marks that rows of a customer before a day are let go, unless nothing of it may go: a hold stands, a move is under way, or it
    /// was erased meanwhile. Returns whether they may.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub fn mark_retention<'a>(&'a self, customer: CustomerId, dataset: &'a str, kept_from: Date) -> Boxed<'a, Result<bool, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            // Locked, so that a hold is set before the mark or after it.
            let found = store::lock_customer(&tx, customer).await?.ok_or(TenantsError::UnknownCustomer(customer))?;
            let is_held = store::find_hold(&tx, customer).await?.is_some() || store::find_move(&tx, customer).await?.is_some();
            let may_go = !is_held && found.status != CustomerStatus::Erased;
            if may_go {
                store::upsert_mark(&tx, (found.msp_id, customer), dataset, kept_from).await?;
            }
            tx.commit().await?;
            Ok(may_go)
        })
    }

    /// Lets rows go as the owner of a customer's schema does, and notes it in the customer's audit log; returns how many went.
    ///
    /// # Errors
    /// When Postgres refuses, or the silo is not where the catalog says.
    pub fn let_go_as_owner<'a>(&'a self, scope: &'a TenantScope, what: LettingGo<'a>) -> Boxed<'a, Result<u64, TenantsError>> {
        Box::pin(async move {
            let customer = self.get_customer(scope.customer.id).await?;
            let owner = self.clusters().get(&customer.cluster).await?.owner().await?;
            let names = SiloNames::new(&customer.schema_name, &customer.role_name)?;
            owner.batch(&names.fill(&store::OPEN_FOR_OWNER.replace("{gate}", GATE))).await?;
            let rows = owner.execute(what.statement, &[&what.kept_from, &what.most]).await?;
            if rows > 0 {
                let entry = AuditEntry {
                    msp: None,
                    customer: None,
                    actor: scope.actor.to_string(),
                    action: LET_GO.to_owned(),
                    subject: what.subject(),
                    detail: what.detail(rows),
                    reason: None,
                };
                record_as_owner(&owner, self.keys(), (scope.msp.id, customer.id), entry, self.clock().now()).await?;
            }
            owner.batch("commit").await?;
            owner.give_back().await;
            Ok(rows)
        })
    }
}

impl TenantTx {
    /// Lets rows of the customer go and notes it in its audit log; returns how many went.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn let_go(&self, what: LettingGo<'_>) -> Result<u64, TenantsError> {
        let rows = self.execute(what.statement, &[&what.kept_from, &what.most]).await?;
        if rows > 0 {
            self.record_audit(LET_GO, &what.subject(), &what.detail(rows), None).await?;
        }
        Ok(rows)
    }
}

impl LettingGo<'_> {
    fn subject(&self) -> String {
        format!("dataset:{}", self.dataset)
    }

    fn detail(&self, rows: u64) -> serde_json::Value {
        json!({"kept_from": self.kept_from, "rows": rows})
    }
}
