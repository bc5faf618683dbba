//! Machines, their tiers and their schedules.

use std::collections::BTreeMap;

use granary_tenants::TenantTx;
use granary_types::Tier;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::fact::MachineKey;
use crate::protection::{Assignment, MachineState};

/// Nearly all of them are known, and `on conflict` would lock and so rewrite their rows to find that out.
const UPSERT_SEEN: &str = "
    insert into machines (id, source_system, vendor_id, name, discovered_at)
    select id, source_system, vendor_id, vendor_id, seen_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::timestamptz[]) as given (id, source_system, vendor_id, seen_at)
    where not exists (select from machines as known where known.id = given.id and known.discovered_at <= given.seen_at)
    on conflict (id) do update set discovered_at = excluded.discovered_at where excluded.discovered_at < machines.discovered_at";

const UPDATE: &str = "
    update machines
    set name = coalesce(given.name, machines.vendor_id), os = given.os, protected_on = given.protected_on,
        unprotected_on = given.unprotected_on, replaced_by = given.replaced_by
    from unnest($1::uuid[], $2::text[], $3::text[], $4::date[], $5::date[], $6::uuid[])
        as given (id, name, os, protected_on, unprotected_on, replaced_by)
    where machines.id = given.id
        and (machines.name, machines.os, machines.protected_on, machines.unprotected_on, machines.replaced_by)
            is distinct from (coalesce(given.name, machines.vendor_id), given.os, given.protected_on, given.unprotected_on, given.replaced_by)";

const LIST_PROTECTED: &str = "
    select vendor_id, protected_on from machines where source_system = $1 and protected_on is not null";

const LIST_ASSIGNMENTS: &str = "
    select machine_id, tier, valid_from, valid_to, reason from tier_assignments where machine_id = any($1) order by machine_id, valid_from";

const DELETE_ASSIGNMENTS: &str = "delete from tier_assignments where machine_id = any($1)";

const INSERT_ASSIGNMENTS: &str = "
    insert into tier_assignments (machine_id, tier, valid_from, valid_to, reason)
    select machine_id, tier, valid_from, valid_to, reason
    from unnest($1::uuid[], $2::text[], $3::date[], $4::date[], $5::text[]) as given (machine_id, tier, valid_from, valid_to, reason)";

const UPSERT_SCHEDULES: &str = "
    insert into schedules (machine_id, runs_per_day, starts_on, ends_on)
    select machine_id, runs_per_day, starts_on, ends_on
    from unnest($1::uuid[], $2::int[], $3::date[], $4::date[]) as given (machine_id, runs_per_day, starts_on, ends_on)
    on conflict (machine_id) do update set runs_per_day = excluded.runs_per_day, starts_on = excluded.starts_on, ends_on = excluded.ends_on
        where (schedules.runs_per_day, schedules.starts_on, schedules.ends_on)
            is distinct from (excluded.runs_per_day, excluded.starts_on, excluded.ends_on)";

const DELETE_SCHEDULES: &str = "delete from schedules where machine_id = any($1)";

/// A machine that a batch mentions, and the earliest instant at which it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) id: Uuid,
    pub(crate) key: MachineKey<'a>,
    pub(crate) at: Timestamp,
}

/// Sees to it that mentioned machines exist; the earliest mention is their discovery.
pub(crate) async fn upsert_seen(tx: &TenantTx, seen: &[Seen<'_>]) -> Result<(), MeteringError> {
    let ids = column(seen, |machine| machine.id);
    let systems = column(seen, |machine| machine.key.source_system);
    let vendor_ids = column(seen, |machine| machine.key.vendor_id);
    let at = column(seen, |machine| machine.at);
    tx.execute(UPSERT_SEEN, &[&ids, &systems, &vendor_ids, &at]).await?;
    Ok(())
}

/// Writes what the events of these machines add up to; rows that say so already stay untouched.
pub(crate) async fn update(tx: &TenantTx, machines: &[(Uuid, MachineState)]) -> Result<(), MeteringError> {
    let ids = column(machines, |(id, _)| *id);
    let names = column(machines, |(_, state)| state.name.as_deref());
    let os = column(machines, |(_, state)| state.os.as_deref());
    let protected_on = column(machines, |(_, state)| state.protected_on);
    let unprotected_on = column(machines, |(_, state)| state.unprotected_on);
    let replaced_by = column(machines, |(_, state)| state.replaced_by);
    tx.execute(UPDATE, &[&ids, &names, &os, &protected_on, &unprotected_on, &replaced_by]).await?;
    update_assignments(tx, machines).await?;
    update_schedules(tx, machines).await
}

/// Returns the machines of a source system that are or were protected, and since when.
pub(crate) async fn list_protected(tx: &TenantTx, source_system: &str) -> Result<BTreeMap<String, Date>, MeteringError> {
    let rows = tx.query(LIST_PROTECTED, &[&source_system]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

async fn update_assignments(tx: &TenantTx, machines: &[(Uuid, MachineState)]) -> Result<(), MeteringError> {
    let ids = column(machines, |(id, _)| *id);
    let mut stored: Vec<(Uuid, Tier, Date, Option<Date>, String)> = Vec::new();
    for row in tx.query(LIST_ASSIGNMENTS, &[&ids]).await? {
        let tier: &str = row.get(1);
        let tier = tier.parse().map_err(|error: granary_types::UnknownWord| MeteringError::Corrupt(error.to_string()))?;
        stored.push((row.get(0), tier, row.get(2), row.get(3), row.get(4)));
    }
    let is_stored = |id: Uuid, wanted: &[Assignment]| {
        let mut rows = stored.iter().filter(|row| row.0 == id);
        wanted
            .iter()
            .all(|one| rows.next().is_some_and(|row| (row.1, row.2, row.3, row.4.as_str()) == (one.tier, one.from, one.to, one.reason)))
            && rows.next().is_none()
    };
    let changed: Vec<&(Uuid, MachineState)> = machines.iter().filter(|(id, state)| !is_stored(*id, &state.assignments)).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let ids = column(&changed, |(id, _)| *id);
    tx.execute(DELETE_ASSIGNMENTS, &[&ids]).await?;
    let rows: Vec<(Uuid, &Assignment)> = changed.iter().flat_map(|(id, state)| state.assignments.iter().map(|one| (*id, one))).collect();
    let ids = column(&rows, |(id, _)| *id);
    let tiers = column(&rows, |(_, one)| one.tier.as_str());
    let from = column(&rows, |(_, one)| one.from);
    let to = column(&rows, |(_, one)| one.to);
    let reasons = column(&rows, |(_, one)| one.reason);
    tx.execute(INSERT_ASSIGNMENTS, &[&ids, &tiers, &from, &to, &reasons]).await?;
    Ok(())
}

async fn update_schedules(tx: &TenantTx, machines: &[(Uuid, MachineState)]) -> Result<(), MeteringError> {
    let (scheduled, bare): (Vec<_>, Vec<_>) = machines.iter().partition(|(_, state)| state.protected_on.is_some());
    if !bare.is_empty() {
        tx.execute(DELETE_SCHEDULES, &[&column(&bare, |(id, _)| *id)]).await?;
    }
    if !scheduled.is_empty() {
        let ids = column(&scheduled, |(id, _)| *id);
        let runs_per_day = column(&scheduled, |(_, state)| state.runs_per_day);
        let starts_on = column(&scheduled, |(_, state)| state.protected_on);
        let ends_on = column(&scheduled, |(_, state)| state.unprotected_on);
        tx.execute(UPSERT_SCHEDULES, &[&ids, &runs_per_day, &starts_on, &ends_on]).await?;
    }
    Ok(())
}
