//! A copy of a silo is made while its customer goes on working: one snapshot of every table, in a schema, with a role and under a
//! key of the copy's own.
//!
//! The copy is entered first, incomplete; then its schema is made and filled in one transaction; then it is complete. Killed
//! anywhere it is begun anew by the same call, and what nobody completes is dropped after a day.

use std::collections::HashMap;

use granary_db::{Database, DbError, Identifier, OwnerConnection, record_audit};
use granary_foundation::{Boxed, SharedProgress};
use granary_types::{CustomerCode, CustomerId, CustomerStatus, Dataset, Source};
use granary_vault::{FileKey, Owner};
use jiff::ToSpan;
use serde_json::json;

use super::clones::{CloneSource, SiloClone};
use super::copying::Copying;
use super::moving::Side;
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::msp::Msp;
use crate::scope::{Actor, TenantScope};
use crate::silo::{build, latest_version};
use crate::store::{self, Shown, Table};

/// The longest life of a copy, in days.
const MOST_DAYS: u16 = 366;

/// What a copy has of what names people.
#[derive(Debug, Clone, Copy)]
pub enum PersonalData<'a> {
    /// All of it.
    Kept,
    /// None: where these datasets call a column personal there is a pseudonym, and what they do not describe stays empty.
    Replaced(&'a [Dataset]),
}

/// A copy to be made.
#[derive(Debug, Clone)]
pub struct NewClone<'a> {
    pub parent: CustomerId,
    pub code: &'a CustomerCode,
    /// None for the parent's cluster.
    pub cluster: Option<&'a str>,
    pub personal_data: PersonalData<'a>,
    pub reason: &'a str,
    /// After so many days it is dropped.
    pub days: u16,
}

/// The other side of a copy, with its lock; a connection beside the four, because the source holds one of them already.
pub(super) struct Place<'a> {
    pub(super) database: &'a Database,
    pub(super) owner: OwnerConnection,
    pub(super) schema: Identifier,
}

impl Tenants {
    /// Copies a customer's silo. A copy that was begun and not completed is begun anew.
    ///
    /// # Errors
    /// When the code is taken, the customer has left, a cluster does not answer, or the two sides differ.
    pub fn clone_customer<'a>(
        &'a self,
        msp: &'a Msp,
        new: &'a NewClone<'a>,
        actor: Actor,
        progress: &'a SharedProgress,
    ) -> Boxed<'a, Result<SiloClone, TenantsError>> {
        Box::pin(async move {
            let parent = self.get_customer(new.parent).await?;
            let clone = self.enter_clone(&parent, new, CloneSource::Silo, actor).await?;
            self.tell_parent(msp, &parent, &clone, actor).await?;
            let (parent, source) = self.hold(parent).await?;
            let place = self.hold_clone(&clone).await?;
            self.bring_up_to_date(&parent, &source).await?;
            self.keys().create_for(Owner::Customer(clone.id)).await?;
            place.owner.batch(&store::drop_schemas(&[&place.schema])).await?;
            build(place.database, &place.owner, &clone.schema_name, &clone.role_name, clone.bucket).await?;

            let from = Identifier::new(parent.schema_name.as_str()).map_err(DbError::from)?;
            let tables = shown(store::list_tables(&source.owner, &from).await?, new.personal_data)?;
            store::open_for_load(&place.owner, &place.schema, &tables).await?;
            let copying = Copying { from: &source.owner, schema: &from, to: &place.owner, arriving: &place.schema, tables: &tables };
            copying.copy_snapshot(|table| comes(table, new.personal_data), progress).await?;
            store::copy_sequences(&source.owner, &from, &place.owner, &place.schema).await?;
            place.owner.batch(store::BEGIN).await?;
            store::close_for_load(&place.owner, &place.schema, &tables).await?;
            place.owner.batch(store::COMMIT).await?;
            self.complete(&clone, actor).await
        })
    }

    /// Enters a copy, incomplete, or finds the one that was begun.
    pub(super) async fn enter_clone(
        &self,
        parent: &Customer,
        new: &NewClone<'_>,
        source: CloneSource,
        actor: Actor,
    ) -> Result<SiloClone, TenantsError> {
        if new.reason.trim().is_empty() {
            return Err(TenantsError::Invalid("a copy of a silo needs a reason"));
        }
        if !(1..=MOST_DAYS).contains(&new.days) {
            return Err(TenantsError::Invalid("a copy of a silo lives for 1 to 366 days"));
        }
        let cluster = new.cluster.unwrap_or(&parent.cluster);
        self.clusters().get(cluster).await?;
        // Where the silo itself lies the copy may lie.
        let is_abroad = cluster != parent.cluster && !self.clusters().is_in_region(cluster, &parent.region);
        if matches!(new.personal_data, PersonalData::Kept) && is_abroad {
            return Err(self.abroad(parent, cluster, "a copy may go there --without-personal-data"));
        }
        let tx = self.begin_catalog().await?;
        // Locked: what is being erased is not copied, and an erasure that follows knows of the copy.
        let locked = store::lock_customer(&tx, parent.id).await?.ok_or(TenantsError::UnknownCustomer(parent.id))?;
        if locked.status == CustomerStatus::Erased {
            return Err(TenantsError::Left(locked.status));
        }
        let (id, now) = (CustomerId::new(), tx.now());
        let wanted = SiloClone {
            id,
            parent: parent.id,
            parent_code: parent.code.clone(),
            msp_id: parent.msp_id,
            code: new.code.clone(),
            schema_name: format!("t_{}", id.uuid().simple()),
            role_name: self.db().installation().tenant_role(id.uuid())?.as_str().to_owned(),
            bucket: 0,
            cluster: cluster.to_owned(),
            schema_version: 0,
            has_personal_data: matches!(new.personal_data, PersonalData::Kept),
            source,
            swapped_at: None,
            reason: new.reason.to_owned(),
            made_by: actor.to_string(),
            created_at: now,
            expires_at: now.checked_add((i64::from(new.days) * 24).hours()).map_err(TenantsError::column)?,
        };
        let is_new = store::insert_clone(&tx, &wanted).await?;
        let entered = store::find_clone_by_code(&tx, parent.msp_id, new.code).await?;
        let entered = entered.filter(|entered| is_new || (entered.parent == parent.id && entered.cluster == cluster));
        let entered = entered.ok_or(TenantsError::Taken("customer or copy of that code"))?;
        if !is_new && !store::restart_clone(&tx, entered.id, &wanted).await? {
            return Err(TenantsError::Taken("customer or copy of that code"));
        }
        let entered = store::find_clone(&tx, entered.id).await?.ok_or_else(|| TenantsError::UnknownClone(new.code.clone()))?;
        tx.commit().await?;
        Ok(entered)
    }

    /// Writes into the customer's own log, which its people see, that it is read, and why.
    async fn tell_parent(&self, msp: &Msp, parent: &Customer, clone: &SiloClone, actor: Actor) -> Result<(), TenantsError> {
        let tx = self.begin_tenant(&TenantScope::for_job(msp.clone(), parent.clone(), actor)).await?;
        let detail = json!({"copy": clone.code, "personal_data": clone.has_personal_data, "expires_at": clone.expires_at});
        tx.record_audit("customer.clone", &format!("customer:{}", parent.code), &detail, Some(&clone.reason)).await?;
        tx.commit().await
    }

    /// Takes the lock of a customer's silo where it lies: nobody moves or migrates it meanwhile.
    pub(super) async fn hold(&self, mut customer: Customer) -> Result<(Customer, Side), TenantsError> {
        loop {
            let side = self.side(&customer.cluster, customer.id).await?;
            let now = self.get_customer(customer.id).await?;
            if now.status == CustomerStatus::Erased {
                return Err(TenantsError::Left(now.status));
            }
            if now.cluster == customer.cluster {
                let schema = Identifier::new(now.schema_name.as_str()).map_err(DbError::from)?;
                let is_there = store::has_schema(&side.owner, &schema).await?;
                return if is_there { Ok((now, side)) } else { Err(TenantsError::OnItsWay(now.code)) };
            }
            customer = now;
        }
    }

    /// Takes the lock of a copy that is not complete.
    pub(super) async fn hold_clone<'a>(&'a self, clone: &SiloClone) -> Result<Place<'a>, TenantsError> {
        let database = self.clusters().get(&clone.cluster).await?;
        let owner = database.another_owner().await?;
        owner.lock(&clone.schema_name).await?;
        store::prepare_session(&owner).await?;
        // Whoever held the lock before may have completed or dropped it.
        match self.find_clone(clone.id).await? {
            Some(now) if !now.is_complete() => {
                let schema = Identifier::new(clone.schema_name.as_str()).map_err(DbError::from)?;
                Ok(Place { database, owner, schema })
            }
            Some(_) => Err(TenantsError::Taken("customer or copy of that code")),
            None => Err(TenantsError::UnknownClone(clone.code.clone())),
        }
    }

    /// Says that every row has arrived.
    pub(super) async fn complete(&self, clone: &SiloClone, actor: Actor) -> Result<SiloClone, TenantsError> {
        let tx = self.begin_catalog().await?;
        if !store::finish_clone(&tx, clone, latest_version()).await? {
            return Err(TenantsError::UnknownClone(clone.code.clone()));
        }
        let detail = json!({"of": clone.parent_code, "cluster": clone.cluster, "source": clone.source.as_str(),
            "personal_data": clone.has_personal_data, "expires_at": clone.expires_at});
        record_audit(&tx, &clone.audit("clone.make", actor, detail, &clone.reason)).await?;
        tx.commit().await?;
        Ok(SiloClone { schema_version: latest_version(), ..clone.clone() })
    }
}

/// Whether any row of a table travels.
fn comes(table: &Table, personal_data: PersonalData<'_>) -> bool {
    match personal_data {
        PersonalData::Kept => true,
        PersonalData::Replaced(datasets) => described(datasets, &table.plain_name).is_some(),
    }
}

fn described<'a>(datasets: &'a [Dataset], table: &str) -> Option<&'a Dataset> {
    datasets.iter().find(|dataset| dataset.source == Source::Tenant && dataset.name == table)
}

/// Puts pseudonyms where a copy may not have names. Nobody keeps what they are made with, so that nobody can try names out.
fn shown(tables: Vec<Table>, personal_data: PersonalData<'_>) -> Result<Vec<Table>, TenantsError> {
    let PersonalData::Replaced(datasets) = personal_data else { return Ok(tables) };
    let salt = hex::encode(FileKey::random()?.reveal());
    let shown = |table: Table| {
        let Some(dataset) = described(datasets, &table.plain_name) else { return table };
        let columns: HashMap<&str, Shown> =
            dataset.columns.iter().map(|column| (column.name, if column.is_personal { Shown::Pseudonym } else { Shown::AsItIs })).collect();
        // What nobody has described nobody has called harmless.
        table.showing(&salt, |name| columns.get(name).copied().unwrap_or(Shown::Nothing))
    };
    Ok(tables.into_iter().map(shown).collect())
}
