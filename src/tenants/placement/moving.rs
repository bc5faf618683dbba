//! A silo moves to another cluster while its customer goes on working.
//!
//! Triggers at the old place note the keys of changed rows; one snapshot is copied; what changed meanwhile follows in rounds
//! until little is left. Then the gate is closed, the rest follows, and three commits make the switch: the old schema is
//! renamed (from here on nobody writes there), the new one gets its name, the catalog names the cluster. A transaction that
//! wants in between waits. Where a move stands can be read from the names of the schemas, so that a move that was killed
//! anywhere goes on when it is asked for again, or when the worker comes round.

use std::time::{Duration, Instant};

use granary_db::{AuditEntry, Database, DbError, Identifier, OwnerConnection, record_audit};
use granary_foundation::{Boxed, SharedProgress, Silent};
use granary_types::{CustomerId, CustomerStatus};
use serde::Serialize;
use serde_json::json;

use super::GATE;
use super::copying::Copying;
use crate::catalog::Tenants;
use crate::customer::Customer;
use crate::error::TenantsError;
use crate::scope::Actor;
use crate::silo::{build, latest_version};
use crate::store::{self, OpenMove};

/// With fewer changed rows than this the gate may be closed.
const LITTLE: i64 = 2_000;
/// Rounds of catching up before the gate is closed whatever is left.
const ROUNDS: u32 = 20;
/// How long one attempt to close the gate, or to watch a table, may keep others waiting, in milliseconds.
const ATTEMPT_MS: u32 = 250;
/// How long to go on attempting.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(150);

/// What becomes of a customer's region when its silo moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residency {
    /// It stays: a cluster of another region is refused.
    Kept,
    /// It becomes the cluster's: the next night writes the customer's files into the store of that region.
    Changed,
}

/// What a move did.
#[derive(Debug, Clone, Serialize)]
pub struct MoveReport {
    pub from: String,
    pub to: String,
    /// Rows of the snapshot; none when an earlier call had copied them.
    pub rows_copied: Option<u64>,
    /// Changed rows that followed before the pause, and in it.
    pub rows_followed: i64,
    pub rows_in_pause: i64,
    /// From the request for the gate to the new place in the catalog; none when it was fenced by an earlier call.
    pub pause_ms: Option<u64>,
}

/// The names that a silo has on its way.
struct Names {
    schema: Identifier,
    arriving: Identifier,
    left: Identifier,
    capture: Identifier,
}

impl Names {
    fn of(schema: &str) -> Result<Self, TenantsError> {
        let name = |suffix: &str| Identifier::new(format!("{schema}{suffix}")).map_err(DbError::from);
        Ok(Self { schema: name("")?, arriving: name("_arriving")?, left: name("_left")?, capture: name("_moving")? })
    }
}

/// A place where a silo is worked on, with its lock.
pub(super) struct Side {
    pub(super) cluster: String,
    pub(super) database: Database,
    pub(super) owner: OwnerConnection,
}

impl Tenants {
    /// Moves a customer's silo to another cluster; a move that was interrupted is finished.
    ///
    /// # Errors
    /// When there is no such cluster, another move is under way, the two sides differ, or somebody holds the silo open for
    /// longer than two minutes. The customer goes on at the old place then, and the move can be asked for again.
    pub fn move_customer<'a>(
        &'a self,
        customer: CustomerId,
        to: &'a str,
        residency: Residency,
        actor: Actor,
        progress: &'a SharedProgress,
    ) -> Boxed<'a, Result<Option<MoveReport>, TenantsError>> {
        Box::pin(async move {
            let Some((from, to)) = self.enter_move(customer, to, residency).await? else { return Ok(None) };
            let old = self.side(&from, customer).await?;
            let new = self.side(&to, customer).await?;
            // Whoever held the locks before may have finished it, and others may have begun another since.
            if self.find_move(customer).await?.is_none_or(|open| open != (from.clone(), to.clone())) {
                return Ok(None);
            }
            let customer = self.get_customer(customer).await?;
            let names = Names::of(&customer.schema_name)?;
            let mut report =
                MoveReport { from: from.clone(), to: to.clone(), rows_copied: None, rows_followed: 0, rows_in_pause: 0, pause_ms: None };
            if customer.cluster == from {
                let is_fenced = !store::has_schema(&old.owner, &names.schema).await? && store::has_schema(&old.owner, &names.left).await?;
                if is_fenced {
                    self.switch(&customer, &new, &names, actor).await?;
                } else {
                    self.carry_over(&customer, (&old, &new), &names, actor, progress, &mut report).await?;
                }
            }
            self.clear_old_place(&customer, &old, &names).await?;
            Ok(Some(report))
        })
    }

    /// Notes where the silo is to go; none when it is there.
    async fn enter_move(&self, id: CustomerId, to: &str, residency: Residency) -> Result<Option<(String, String)>, TenantsError> {
        self.clusters().get(to).await?;
        let tx = self.begin_catalog().await?;
        // Locked: what is being erased does not move, and what moves is not erased.
        let customer = store::lock_customer(&tx, id).await?.filter(|customer| customer.schema_version > 0);
        let customer = customer.ok_or(TenantsError::UnknownCustomer(id))?;
        if customer.status == CustomerStatus::Erased {
            return Err(TenantsError::Left(customer.status));
        }
        let pending = match store::find_move(&tx, id).await? {
            None if customer.cluster == to => None,
            None => {
                if residency == Residency::Kept && !self.clusters().is_in_region(to, &customer.region) {
                    return Err(self.abroad(&customer, to, "--change-region moves its files there too, in the next night"));
                }
                store::insert_move(&tx, (customer.msp_id, id), &customer.cluster, to).await?;
                store::find_move(&tx, id).await?
            }
            pending => pending,
        };
        tx.commit().await?;
        match pending {
            Some((_, other)) if other != to => Err(TenantsError::OtherMove { code: customer.code, to: other }),
            pending => Ok(pending),
        }
    }

    /// Says that a cluster is not where the customer's data may lie.
    pub(super) fn abroad(&self, customer: &Customer, to: &str, remedy: &str) -> TenantsError {
        let (code, region, there) = (&customer.code, &customer.region, self.clusters().region_of(to));
        TenantsError::Unfit(format!("the data of {code} lies in the region {region}, and {to} is in {there}; {remedy}"))
    }

    async fn find_move(&self, customer: CustomerId) -> Result<Option<(String, String)>, TenantsError> {
        let tx = self.begin_catalog().await?;
        let open = store::find_move(&tx, customer).await?;
        tx.commit().await?;
        Ok(open)
    }

    /// Goes on with the moves that nobody works on any more: whoever did was killed. Returns those that failed again.
    ///
    /// # Errors
    /// When the control schema cannot be read.
    pub fn finish_moves<'a>(&'a self, actor: Actor) -> Boxed<'a, Result<Vec<(CustomerId, TenantsError)>, TenantsError>> {
        Box::pin(async move {
            let tx = self.begin_catalog().await?;
            let open = store::list_moves(&tx).await?;
            tx.commit().await?;
            let mut failed = Vec::new();
            for OpenMove { customer, schema_name, from, to } in open {
                let finished = async {
                    if self.clusters().get(&from).await?.owner().await?.try_lock(&schema_name).await? {
                        self.move_customer(customer, &to, Residency::Kept, actor, &Silent::shared()).await?;
                    }
                    Ok(())
                };
                if let Err(error) = finished.await {
                    failed.push((customer, error));
                }
            }
            Ok(failed)
        })
    }

    /// Connects to one side and waits for its lock: one process at a time works on a schema.
    pub(super) async fn side(&self, cluster: &str, customer: CustomerId) -> Result<Side, TenantsError> {
        let database = self.clusters().get(cluster).await?.clone();
        let owner = database.owner().await?;
        let schema = self.get_customer(customer).await?.schema_name;
        owner.lock(&schema).await?;
        store::prepare_session(&owner).await?;
        Ok(Side { cluster: cluster.to_owned(), database, owner })
    }

    /// From the beginning to the switch; what an earlier attempt left is thrown away.
    async fn carry_over(
        &self,
        customer: &Customer,
        (old, new): (&Side, &Side),
        names: &Names,
        actor: Actor,
        progress: &SharedProgress,
        report: &mut MoveReport,
    ) -> Result<(), TenantsError> {
        new.owner.batch(&store::drop_schemas(&[&names.arriving])).await?;
        if store::has_schema(&new.owner, &names.schema).await? {
            return Err(TenantsError::Occupied { cluster: new.cluster.clone(), schema: customer.schema_name.clone() });
        }
        self.bring_up_to_date(customer, old).await?;
        build(&new.database, &new.owner, names.arriving.as_str(), &customer.role_name, customer.bucket).await?;
        let tables = store::list_tables(&old.owner, &names.schema).await?;
        store::open_for_load(&new.owner, &names.arriving, &tables).await?;

        self.watch(old, names, &tables).await?;
        let copying = Copying { from: &old.owner, schema: &names.schema, to: &new.owner, arriving: &names.arriving, tables: &tables };
        report.rows_copied = Some(copying.copy_snapshot(|_| true, progress).await?);
        for _ in 0..ROUNDS {
            let changed = copying.catch_up(&names.capture).await?;
            report.rows_followed += changed;
            if changed < LITTLE {
                break;
            }
        }
        let asked = self.close_gate(&copying, names, report).await?;
        report.rows_in_pause = copying.apply_changes(&names.capture).await?;
        store::copy_sequences(&old.owner, &names.schema, &new.owner, &names.arriving).await?;
        old.owner.batch(&store::rename_schema(&names.schema, &names.left)).await?;
        old.owner.batch(store::COMMIT).await?;
        self.switch(customer, new, names, actor).await?;
        report.pause_ms = u64::try_from(asked.elapsed().as_millis()).ok();
        Ok(())
    }

    /// Brings the silo, whose lock the caller holds, to this program's version.
    pub(super) async fn bring_up_to_date(&self, customer: &Customer, old: &Side) -> Result<(), TenantsError> {
        if customer.schema_version >= latest_version() {
            return Ok(());
        }
        build(&old.database, &old.owner, &customer.schema_name, &customer.role_name, customer.bucket).await?;
        let tx = self.begin_catalog().await?;
        store::update_schema_version(&tx, customer.id, latest_version()).await?;
        Ok(tx.commit().await?)
    }

    /// Puts the triggers on, one table at a time, without keeping writers waiting for long.
    async fn watch(&self, old: &Side, names: &Names, tables: &[store::Table]) -> Result<(), TenantsError> {
        let deadline = Instant::now() + PATIENCE;
        if store::has_schema(&old.owner, &names.capture).await? {
            // An earlier attempt's triggers may be at work at this moment: nobody must be inside.
            let drop = format!("{}; {}", store::close_gate(&names.schema, GATE), store::drop_schemas(&[&names.capture]));
            while attempt(&old.owner, &drop, deadline).await?.is_none() {}
            old.owner.batch(store::COMMIT).await?;
        }
        old.owner.batch(&store::make_capture(&names.capture)).await?;
        for table in tables {
            while attempt(&old.owner, &table.watch(&names.schema, &names.capture), deadline).await?.is_none() {}
            old.owner.batch(store::COMMIT).await?;
        }
        Ok(())
    }

    /// Closes the gate and leaves the transaction open that holds it; returns since when others wait. While somebody holds the
    /// silo open, what changes goes on to follow.
    async fn close_gate(&self, copying: &Copying<'_>, names: &Names, report: &mut MoveReport) -> Result<Instant, TenantsError> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(asked) = attempt(copying.from, &store::close_gate(&names.schema, GATE), deadline).await? {
                return Ok(asked);
            }
            report.rows_followed += copying.catch_up(&names.capture).await?;
        }
    }

    /// The old place is fenced: opens the new one and says so in the catalog.
    async fn switch(&self, customer: &Customer, new: &Side, names: &Names, actor: Actor) -> Result<(), TenantsError> {
        if store::has_schema(&new.owner, &names.arriving).await? {
            let tables = store::list_tables(&new.owner, &names.arriving).await?;
            new.owner.batch(store::BEGIN).await?;
            store::close_for_load(&new.owner, &names.arriving, &tables).await?;
            new.owner.batch(&store::rename_schema(&names.arriving, &names.schema)).await?;
            new.owner.batch(store::COMMIT).await?;
        }
        let tx = self.begin_catalog().await?;
        // Whoever entered the move was asked whether it may leave its region.
        let is_home = self.clusters().is_in_region(&new.cluster, &customer.region);
        let region = if is_home { &customer.region } else { self.clusters().region_of(&new.cluster) };
        store::update_cluster(&tx, customer.id, &new.cluster, region).await?;
        let entry = AuditEntry {
            msp: Some(customer.msp_id),
            customer: Some(customer.id),
            actor: actor.to_string(),
            action: "customer.move".to_owned(),
            subject: format!("customer:{}", customer.code),
            detail: json!({"from": customer.cluster, "to": new.cluster, "region": region}),
            reason: None,
        };
        record_audit(&tx, &entry).await?;
        Ok(tx.commit().await?)
    }

    /// Nobody has been let in at the old place since it was fenced: what is there goes.
    async fn clear_old_place(&self, customer: &Customer, old: &Side, names: &Names) -> Result<(), TenantsError> {
        old.owner.batch(&store::drop_schemas(&[&names.left, &names.capture])).await?;
        store::drop_role(&old.owner, &customer.role_name).await?;
        let tx = self.begin_catalog().await?;
        store::delete_move(&tx, customer.id).await?;
        Ok(tx.commit().await?)
    }
}

/// Begins a transaction with a statement that needs a lock, keeping others waiting for a moment only. Returns the instant of
/// the attempt when it succeeded, and then the transaction is open; none when somebody is in the way.
pub(super) async fn attempt(owner: &OwnerConnection, statement: &str, deadline: Instant) -> Result<Option<Instant>, TenantsError> {
    let asked = Instant::now();
    owner.batch(store::BEGIN).await?;
    owner.batch(&store::patient(ATTEMPT_MS)).await?;
    let Err(error) = owner.batch(statement).await else { return Ok(Some(asked)) };
    owner.batch(store::ROLLBACK).await?;
    if !error.is_cancelled() || asked > deadline {
        return Err(error.into());
    }
    tokio::time::sleep(PAUSE).await;
    Ok(None)
}
