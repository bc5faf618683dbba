//! Writes the rows of a batch: reads what is stored under the same keys, merges, writes what changed.

use std::collections::{BTreeMap, BTreeSet};

use granary_tenants::TenantTx;
use granary_types::day_of;
use jiff::Timestamp;
use uuid::Uuid;

use crate::correction::Corrections;
use crate::counting::{Corrected, corrections_of, distinct, names_of};
use crate::error::MeteringError;
use crate::fact::{Fact, MachineKey};
use crate::identity;
use crate::merge::{Merge, merge_into, merge_stored};
use crate::projection::{Projection, RunName};
use crate::protection::{self, Said, Saying};
use crate::run::{self, Attempt, Disk};
use crate::store;
use crate::store::machines::Seen;
use crate::store::runs::{Rows, RunRow};

/// Writes a batch.
pub(crate) async fn apply(tx: &TenantTx, mut batch: Projection<'_>, corrected: Corrected) -> Result<(), MeteringError> {
    apply_machines(tx, &mut batch, corrected).await?;
    apply_runs(tx, &mut batch).await?;
    apply_storage(tx, &mut batch).await?;
    apply_service(tx, &mut batch).await
}

async fn apply_machines(tx: &TenantTx, batch: &mut Projection<'_>, corrected: Corrected) -> Result<(), MeteringError> {
    if !batch.seen.is_empty() {
        let mentioned: Vec<_> = batch.seen.iter().map(|(key, at)| (*key, *at)).collect();
        let seen: Vec<Seen<'_>> = mentioned.into_iter().map(|(key, at)| Seen { id: batch.machine_id(key), key, at }).collect();
        store::machines::upsert_seen(tx, &seen).await?;
    }
    if !batch.told.is_empty() {
        derive_machines(tx, &batch.told, corrected).await?;
    }
    Ok(())
}

/// Derives machines anew from everything that was ever said of them and counts, which is little.
async fn derive_machines(tx: &TenantTx, told: &BTreeSet<MachineKey<'_>>, corrected: Corrected) -> Result<(), MeteringError> {
    let customer = tx.customer().id;
    let keys: Vec<MachineKey<'_>> = told.iter().copied().collect();
    let mut logged = store::events::list_sayings(tx, &keys).await?;
    let mut corrections = Corrections::default();
    if corrected == Corrected::Something {
        logged.extend(store::corrections::list_amended_sayings(tx, &keys).await?);
        logged = distinct(logged);
        corrections = corrections_of(tx, &names_of(&logged)).await?;
    }
    let mut sayings: BTreeMap<Uuid, Vec<Said>> = told.iter().map(|key| (identity::machine_id(customer, *key), Vec::new())).collect();
    for event in &logged {
        let Some(counted) = corrections.counted_logged(event)? else { continue };
        let (key, saying) = match counted.fact {
            Fact::Machine(key, saying) => (key, Saying::Machine(saying)),
            Fact::Replaced { old, new } => (old, Saying::Replaced(identity::machine_id(customer, new))),
            _ => continue,
        };
        let said = Said { occurred_at: counted.occurred_at, content_hash: counted.content_hash, saying };
        // It may have been amended into something about another machine, which is told for itself.
        if let Some(said_of_it) = sayings.get_mut(&identity::machine_id(customer, key)) {
            said_of_it.push(said);
        }
    }
    let derived: Vec<_> = sayings.into_iter().map(|(id, sayings)| (id, protection::derive(sayings))).collect();
    store::machines::update(tx, &derived).await
}

/// Most runs are new and need one probe; of known ones the attempts and disks are merged and the run derived anew.
async fn apply_runs(tx: &TenantTx, batch: &mut Projection<'_>) -> Result<(), MeteringError> {
    if batch.runs.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = batch.runs.keys().copied().collect();
    let stored = store::runs::list_known(tx, &ids).await?;
    let mut known = BTreeMap::new();
    if !stored.is_empty() {
        let ids: Vec<Uuid> = stored.iter().map(|run| run.id).collect();
        known = ids.iter().map(|id| (*id, Attempts::None)).collect();
        for (key, attempt) in store::runs::list_attempts(tx, &ids).await? {
            known.insert(key.0, Attempts::Stored);
            merge_into(&mut batch.attempts, key, attempt);
        }
        for (key, disk) in store::runs::list_disks(tx, &ids).await? {
            merge_into(&mut batch.disks, key, disk);
        }
    }
    for run in stored {
        if let Some(name) = batch.runs.get_mut(&run.id) {
            name.merge(RunName { machine_id: run.machine_id, ..*name });
        }
        if known.get(&run.id) == Some(&Attempts::None) {
            merge_into(&mut batch.attempts, (run.id, 1), run.only_attempt);
        }
    }
    write_runs(tx, batch, &known).await
}

/// Whether attempts of a known run are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempts {
    /// The run says everything about its only one.
    None,
    Stored,
}

/// The rows of runs that are stored or not.
#[derive(Debug, Default)]
struct RunRows<'r> {
    runs: Vec<RunRow<'r>>,
    attempts: Vec<((Uuid, i32), &'r Attempt<'r>)>,
    disks: Vec<((Uuid, i32), &'r Disk<'r>, Timestamp)>,
}

async fn write_runs(tx: &TenantTx, batch: &Projection<'_>, known: &BTreeMap<Uuid, Attempts>) -> Result<(), MeteringError> {
    let (customer_zone, msp_zone) = (&tx.customer().time_zone, &tx.msp().time_zone);
    let (mut fresh, mut changed) = (RunRows::default(), RunRows::default());
    for (&id, name) in &batch.runs {
        let own_attempts = batch.attempts.range((id, i32::MIN)..=(id, i32::MAX));
        let attempts = own_attempts.clone().map(|((_, number), attempt)| (*number, attempt));
        let own_disks = batch.disks.range((id, i32::MIN)..=(id, i32::MAX));
        let Some(derived) = run::derive(attempts.clone(), own_disks.clone().map(|(_, disk)| disk)) else { continue };
        let stored = known.get(&id).copied();
        let rows = if stored.is_none() { &mut fresh } else { &mut changed };
        if stored == Some(Attempts::Stored) || !run::says_everything(attempts) {
            rows.attempts.extend(own_attempts.map(|(key, attempt)| (*key, attempt)));
        }
        rows.disks.extend(own_disks.map(|(key, disk)| (*key, disk, derived.ended_at)));
        rows.runs.push(RunRow {
            id,
            machine_id: name.machine_id,
            source: name.source,
            vendor_id: name.vendor_id,
            service_on: day_of(derived.ended_at, customer_zone),
            billing_on: day_of(derived.ended_at, msp_zone),
            derived,
        });
    }
    for (rows, are) in [(fresh, Rows::New), (changed, Rows::Known)] {
        store::runs::write_runs(tx, &rows.runs, are).await?;
        store::runs::write_attempts(tx, &rows.attempts, are).await?;
        store::runs::write_disks(tx, &rows.disks, are).await?;
    }
    Ok(())
}

async fn apply_storage(tx: &TenantTx, batch: &mut Projection<'_>) -> Result<(), MeteringError> {
    let zone = &tx.msp().time_zone;
    if !batch.repositories.is_empty() {
        let stored = store::storage::list_repositories(tx, &keys(&batch.repositories)).await?;
        merge_stored(&mut batch.repositories, stored);
        let rows = rows(&batch.repositories);
        if !rows.is_empty() {
            store::storage::upsert_repositories(tx, &rows).await?;
        }
    }
    if !batch.samples.is_empty() {
        let stored = store::storage::list_samples(tx, &keys(&batch.samples)).await?;
        merge_stored(&mut batch.samples, stored);
        let rows: Vec<_> = batch.samples.iter().map(|(key, row)| (key, row, day_of(key.1, zone))).collect();
        if !rows.is_empty() {
            store::storage::upsert_samples(tx, &rows).await?;
        }
    }
    Ok(())
}

/// Merges a table's stored rows into a batch's and writes those that differ.
macro_rules! merge_and_write {
    ($tx:expr, $rows:expr, $list:path, $upsert:path) => {
        if !$rows.is_empty() {
            let stored = $list($tx, &keys(&$rows)).await?;
            merge_stored(&mut $rows, stored);
            let rows = rows(&$rows);
            if !rows.is_empty() {
                $upsert($tx, &rows).await?;
            }
        }
    };
}

async fn apply_service(tx: &TenantTx, batch: &mut Projection<'_>) -> Result<(), MeteringError> {
    merge_and_write!(tx, batch.cycles, store::storage::list_cycles, store::storage::upsert_cycles);
    merge_and_write!(tx, batch.stored, store::stored::list_stored, store::stored::upsert_stored);
    merge_and_write!(tx, batch.windows, store::stored::list_windows, store::stored::upsert_windows);
    merge_and_write!(tx, batch.skipped, store::service::list_skipped, store::service::upsert_skipped);
    merge_and_write!(tx, batch.restores, store::service::list_restores, store::service::upsert_restores);
    merge_and_write!(tx, batch.tickets, store::service::list_tickets, store::service::upsert_tickets);
    merge_and_write!(tx, batch.heartbeats, store::service::list_heartbeats, store::service::upsert_heartbeats);
    merge_and_write!(tx, batch.activity, store::service::list_activity, store::service::upsert_activity);
    Ok(())
}

fn keys<K, R>(rows: &BTreeMap<K, R>) -> Vec<&K> {
    rows.keys().collect()
}

fn rows<K, R>(rows: &BTreeMap<K, R>) -> Vec<(&K, &R)> {
    rows.iter().collect()
}
