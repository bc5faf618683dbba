//! A copy takes the place of its customer's silo, which becomes the copy.
//!
//! Both lie in one database, so that one transaction behind the closed gate is the switch: it exchanges the schemas' names and the
//! roles' rights, and writes on the schema that was replaced which swap that was. Killed before, nothing has happened; killed
//! after, the next call finds what is written there and only says so in the catalog.

use std::time::{Duration, Instant};

use granary_db::{AuditEntry, DbError, Identifier, OwnerConnection, record_audit};
use granary_foundation::Boxed;
use granary_types::Dataset;
use serde_json::json;
use uuid::Uuid;

use super::GATE;
use super::clones::{CloneSource, SiloClone};
use super::moving::{PATIENCE, attempt};
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::{Actor, TenantScope};
use crate::silo::{MIGRATIONS, Reached, SiloNames, latest_version, migrate_silo};
use crate::store;

/// Which of the two is to be the customer's silo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swap {
    /// What was copied.
    Forth,
    /// What the silo was before.
    Back,
}

impl Tenants {
    /// Puts a copy in the place of its customer's silo, which becomes the copy and is kept for thirty days at least; or puts
    /// everything back. The next night exports every month of both again. Returns for how long writers waited, in milliseconds; none
    /// when it was done before, and only the end of an earlier call may have been missing.
    ///
    /// # Errors
    /// When the copy is no whole one of this customer, lies in another cluster, or somebody holds the silo open for longer than two
    /// minutes.
    pub fn swap_clone<'a>(
        &'a self,
        msp: &'a Msp,
        clone: &'a SiloClone,
        swap: Swap,
        datasets: &'a [Dataset],
        reason: &'a str,
        actor: Actor,
    ) -> Boxed<'a, Result<Option<u64>, TenantsError>> {
        Box::pin(async move {
            let (customer, live) = self.hold(self.get_customer(clone.parent).await?).await?;
            live.owner.lock(&clone.schema_name).await?;
            let clone = self.find_clone(clone.id).await?.ok_or_else(|| TenantsError::UnknownClone(clone.code.clone()))?;
            check(&clone, &customer)?;
            clone.check_days(self.clock().now())?;
            let names = SiloNames::new(&clone.schema_name, &clone.role_name)?;
            self.bring_up_to_date(&customer, &live).await?;
            if clone.schema_version < latest_version()
                && migrate_silo(&live.owner, &names, &MIGRATIONS, Duration::from_secs(30)).await? == Reached::Busy
            {
                return Err(TenantsError::Invalid("another process is at work on the copy"));
            }
            let tx = self.begin_catalog().await?;
            let begun = store::begin_swap(&tx, clone.id, Uuid::new_v4(), swap == Swap::Forth).await?;
            tx.commit().await?;
            let Some(note) = begun else { return Ok(None) };

            let own = SiloNames::new(&customer.schema_name, &customer.role_name)?;
            let pause = if store::read_note(&live.owner, &names.schema).await? == Some(note.to_string()) {
                None
            } else {
                Some(exchange(&live.owner, (&own, &names), datasets, note).await?)
            };
            let tx = self.begin_tenant(&TenantScope::for_job(msp.clone(), customer.clone(), actor)).await?;
            let subject = format!("customer:{}", customer.code);
            let detail =
                json!({"copy": clone.code, "source": clone.source.as_str(), "copied_at": clone.created_at, "is_back": swap == Swap::Back});
            tx.record_audit("customer.swap", &subject, &detail, Some(reason)).await?;
            tx.commit().await?;
            let tx = self.begin_catalog().await?;
            store::end_swap(&tx, clone.id, latest_version(), reason).await?;
            let entry = AuditEntry {
                msp: Some(customer.msp_id),
                customer: Some(customer.id),
                actor: actor.to_string(),
                action: "customer.swap".to_owned(),
                subject,
                detail,
                reason: Some(reason.to_owned()),
            };
            record_audit(&tx, &entry).await?;
            tx.commit().await?;
            Ok(pause)
        })
    }
}

/// Whether a copy can be its customer's silo.
fn check(clone: &SiloClone, customer: &Customer) -> Result<(), TenantsError> {
    let (code, parent) = (&clone.code, &customer.code);
    if !clone.is_complete() {
        return Err(TenantsError::Unfinished(code.clone()));
    }
    let fault = if clone.cluster != customer.cluster {
        format!(
            "{code} lies in {} and {parent} in {}; move the customer there first, or make the copy there",
            clone.cluster, customer.cluster
        )
    } else if !clone.has_personal_data {
        format!("{code} has pseudonyms in the place of names: it cannot be the silo of {parent}")
    } else if clone.source == CloneSource::Foreign {
        format!("{code} came out of a dump of another customer: it cannot be the silo of {parent}")
    } else {
        return Ok(());
    };
    Err(TenantsError::Unfit(fault))
}

/// Exchanges two silos behind the closed gate.
async fn exchange(
    owner: &OwnerConnection,
    (own, other): (&SiloNames, &SiloNames),
    datasets: &[Dataset],
    note: Uuid,
) -> Result<u64, TenantsError> {
    // What the lake has of either must be written anew.
    owner.batch(&store::mark_everything(datasets, &[&own.schema, &other.schema], &other.schema)).await?;
    let gates = format!("{}; {}", store::close_gate(&own.schema, GATE), store::close_gate(&other.schema, GATE));
    let deadline = Instant::now() + PATIENCE;
    let asked = loop {
        if let Some(asked) = attempt(owner, &gates, deadline).await? {
            break asked;
        }
    };
    let between = Identifier::new(format!("{}_between", own.schema.as_str())).map_err(DbError::from)?;
    let statements = [
        store::carry_marks(&own.schema, &other.schema),
        store::rename_schema(&own.schema, &between),
        store::rename_schema(&other.schema, &own.schema),
        store::rename_schema(&between, &other.schema),
        store::take_rights(&own.schema, &other.role),
        store::take_rights(&other.schema, &own.role),
        own.fill(store::GRANT_SCHEMA),
        other.fill(store::GRANT_SCHEMA),
        own.fill(store::GRANT_SILO),
        other.fill(store::GRANT_SILO),
        store::write_note(&other.schema, note),
        store::forget_note(&own.schema),
    ];
    owner.batch(&statements.join(";")).await?;
    owner.batch(store::COMMIT).await?;
    Ok(u64::try_from(asked.elapsed().as_millis()).unwrap_or(u64::MAX))
}
