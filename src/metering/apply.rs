//! Writes the rows of a batch: reads what is stored under the same keys, merges, writes what changed.

use std::collections::{BTreeMap, BTreeSet};

use granary_tenants::TenantTx;
use granary_types::day_of;
use serde_json::Value;
use uuid::Uuid;

use crate::error::MeteringError;
use crate::event::ContentHash;
use crate::fact::{Fact, MachineKey};
use crate::identity;
use crate::merge::{Merge, merge_into, merge_stored};
use crate::projection::{Projection, RunName};
use crate::protection::{self, Said, Saying};
use crate::run::{self, Attempt, Disk};
use crate::store;
use crate::store::events::SayingRow;
use crate::store::machines::Seen;
use crate::store::runs::RunRow;

/// Writes a batch.
pub(crate) async fn apply(tx: &TenantTx, mut batch: Projection<'_>) -> Result<(), MeteringError> {
    apply_machines(tx, &mut batch).await?;
    apply_runs(tx, &mut batch).await?;
    apply_storage(tx, &mut batch).await?;
    apply_service(tx, &mut batch).await
}

async fn apply_machines(tx: &TenantTx, batch: &mut Projection<'_>) -> Result<(), MeteringError> {
    if !batch.seen.is_empty() {
        let mentioned: Vec<_> = batch.seen.iter().map(|(key, at)| (*key, *at)).collect();
        let seen: Vec<Seen<'_>> = mentioned.into_iter().map(|(key, at)| Seen { id: batch.machine_id(key), key, at }).collect();
        store::machines::upsert_seen(tx, &seen).await?;
    }
    if !batch.told.is_empty() {
        derive_machines(tx, &batch.told).await?;
    }
    Ok(())
}

/// Derives machines anew from everything that was ever said of them, which is little.
async fn derive_machines(tx: &TenantTx, told: &BTreeSet<MachineKey<'_>>) -> Result<(), MeteringError> {
    let customer = tx.customer().id;
    let keys: Vec<MachineKey<'_>> = told.iter().copied().collect();
    let mut sayings: BTreeMap<Uuid, Vec<Said>> = BTreeMap::new();
    for row in store::events::list_sayings(tx, &keys).await? {
        let corrupt = |what: &str| MeteringError::Corrupt(format!("a logged {} {what}", row.event_type));
        let data: Value = serde_json::from_str(&row.data).map_err(|_| corrupt("is not JSON"))?;
        let (key, saying) = match Fact::read(&row.event_type, &data) {
            Ok(Fact::Machine(key, saying)) => (key, Saying::Machine(saying)),
            Ok(Fact::Replaced { old, new }) => (old, Saying::Replaced(identity::machine_id(customer, new))),
            Ok(_) | Err(_) => return Err(corrupt("does not fit its type")),
        };
        let said = Said { occurred_at: row.occurred_at, content_hash: content_hash(&row)?, saying };
        sayings.entry(identity::machine_id(customer, key)).or_default().push(said);
    }
    let derived: Vec<_> = sayings.into_iter().map(|(id, sayings)| (id, protection::derive(sayings))).collect();
    store::machines::update(tx, &derived).await
}

fn content_hash(row: &SayingRow) -> Result<ContentHash, MeteringError> {
    row.content_hash.as_slice().try_into().map_err(|_| MeteringError::Corrupt("a content hash is not 32 bytes long".to_owned()))
}

/// Most runs are new and need one probe; of known ones the attempts and disks are merged and the run derived anew.
async fn apply_runs(tx: &TenantTx, batch: &mut Projection<'_>) -> Result<(), MeteringError> {
    if batch.runs.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = batch.runs.keys().copied().collect();
    let known = store::runs::list_known(tx, &ids).await?;
    for (id, machine_id) in &known {
        if let Some(run) = batch.runs.get_mut(id) {
            run.merge(RunName { machine_id: *machine_id, ..*run });
        }
    }
    if !known.is_empty() {
        let known: Vec<Uuid> = known.iter().map(|(id, _)| *id).collect();
        for (key, attempt) in store::runs::list_attempts(tx, &known).await? {
            merge_into(&mut batch.attempts, key, attempt);
        }
        for (key, disk) in store::runs::list_disks(tx, &known).await? {
            merge_into(&mut batch.disks, key, disk);
        }
    }
    write_runs(tx, batch).await
}

async fn write_runs(tx: &TenantTx, batch: &Projection<'_>) -> Result<(), MeteringError> {
    let (customer_zone, msp_zone) = (&tx.customer().time_zone, &tx.msp().time_zone);
    let mut runs: Vec<RunRow<'_>> = Vec::with_capacity(batch.runs.len());
    let mut disks: Vec<((Uuid, i32), &Disk<'_>, _)> = Vec::with_capacity(batch.disks.len());
    for (&id, name) in &batch.runs {
        let attempts = batch.attempts.range((id, i32::MIN)..=(id, i32::MAX)).map(|((_, number), attempt)| (*number, attempt));
        let own_disks = batch.disks.range((id, i32::MIN)..=(id, i32::MAX));
        let Some(derived) = run::derive(attempts, own_disks.clone().map(|(_, disk)| disk)) else { continue };
        disks.extend(own_disks.map(|(key, disk)| (*key, disk, derived.ended_at)));
        runs.push(RunRow {
            id,
            machine_id: name.machine_id,
            source: name.source,
            vendor_id: name.vendor_id,
            service_on: day_of(derived.ended_at, customer_zone),
            billing_on: day_of(derived.ended_at, msp_zone),
            derived,
        });
    }
    let attempts: Vec<((Uuid, i32), &Attempt<'_>)> = batch.attempts.iter().map(|(key, attempt)| (*key, attempt)).collect();
    store::runs::upsert_runs(tx, &runs).await?;
    store::runs::upsert_attempts(tx, &attempts).await?;
    if !disks.is_empty() {
        store::runs::upsert_disks(tx, &disks).await?;
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
    if !batch.cycles.is_empty() {
        let stored = store::storage::list_cycles(tx, &keys(&batch.cycles)).await?;
        merge_stored(&mut batch.cycles, stored);
        let rows: Vec<_> = batch.cycles.iter().map(|(key, row)| (key, row, day_of(row.last_cycle_at, zone))).collect();
        if !rows.is_empty() {
            store::storage::upsert_cycles(tx, &rows).await?;
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
