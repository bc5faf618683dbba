//! Repositories, their samples, and replication cycles.

use std::borrow::Cow;

use granary_tenants::TenantTx;
use granary_types::day_of;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::row::{CycleSum, Cycles, Repository, Sample};

const LIST_REPOSITORIES: &str = "
    select id, updated_at, vendor_id, name, kind, capacity_bytes, is_immutable, retention_days, is_copy from repositories where id = any($1)";

const UPSERT_REPOSITORIES: &str = "
    insert into repositories (id, updated_at, vendor_id, name, kind, capacity_bytes, is_immutable, retention_days, is_copy)
    select id, updated_at, vendor_id, name, kind, capacity_bytes, is_immutable, retention_days, is_copy
    from unnest($1::uuid[], $2::timestamptz[], $3::text[], $4::text[], $5::text[], $6::bigint[], $7::boolean[], $8::int[], $9::boolean[])
        as given (id, updated_at, vendor_id, name, kind, capacity_bytes, is_immutable, retention_days, is_copy)
    on conflict (id) do update set updated_at = excluded.updated_at, name = excluded.name, kind = excluded.kind,
        capacity_bytes = excluded.capacity_bytes, is_immutable = excluded.is_immutable, retention_days = excluded.retention_days,
        is_copy = excluded.is_copy";

const LIST_SAMPLES: &str = "
    select stored.repository_id, stored.sampled_at, stored.used_bytes
    from unnest($1::uuid[], $2::timestamptz[]) as given (repository_id, sampled_at)
    join storage_samples as stored on stored.repository_id = given.repository_id and stored.sampled_at = given.sampled_at";

const UPSERT_SAMPLES: &str = "
    insert into storage_samples (repository_id, sampled_at, billing_on, used_bytes)
    select repository_id, sampled_at, billing_on, used_bytes
    from unnest($1::uuid[], $2::timestamptz[], $3::date[], $4::bigint[]) as given (repository_id, sampled_at, billing_on, used_bytes)
    on conflict (repository_id, sampled_at) do update set used_bytes = excluded.used_bytes";

const LIST_CYCLES: &str = "
    select stored.machine_id, stored.service_on, stored.last_cycle_at, stored.cycles_completed, stored.cycles_failed,
        stored.transferred_bytes, stored.lag_seconds_max, stored.summary_at, stored.single_last_at, stored.single_completed,
        stored.single_failed, stored.single_bytes, stored.single_lag_seconds_max
    from unnest($1::uuid[], $2::date[]) as given (machine_id, service_on)
    join replication_cycles as stored on stored.machine_id = given.machine_id and stored.service_on = given.service_on";

const UPSERT_CYCLES: &str = "
    insert into replication_cycles (machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes,
        lag_seconds_max, summary_at, single_last_at, single_completed, single_failed, single_bytes, single_lag_seconds_max)
    select machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes,
        lag_seconds_max, summary_at, single_last_at, single_completed, single_failed, single_bytes, single_lag_seconds_max
    from unnest($1::uuid[], $2::date[], $3::date[], $4::timestamptz[], $5::int[], $6::int[], $7::bigint[], $8::int[], $9::timestamptz[],
        $10::timestamptz[], $11::int[], $12::int[], $13::bigint[], $14::int[])
        as given (machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes,
            lag_seconds_max, summary_at, single_last_at, single_completed, single_failed, single_bytes, single_lag_seconds_max)
    on conflict (machine_id, service_on) do update set billing_on = excluded.billing_on, last_cycle_at = excluded.last_cycle_at,
        cycles_completed = excluded.cycles_completed, cycles_failed = excluded.cycles_failed,
        transferred_bytes = excluded.transferred_bytes, lag_seconds_max = excluded.lag_seconds_max, summary_at = excluded.summary_at,
        single_last_at = excluded.single_last_at, single_completed = excluded.single_completed, single_failed = excluded.single_failed,
        single_bytes = excluded.single_bytes, single_lag_seconds_max = excluded.single_lag_seconds_max";

/// Returns the stored rows of repositories.
pub(crate) async fn list_repositories(tx: &TenantTx, ids: &[&Uuid]) -> Result<Vec<(Uuid, Repository<'static>)>, MeteringError> {
    let rows = tx.query(LIST_REPOSITORIES, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let repository = Repository {
            updated_at: row.get(1),
            vendor_id: Cow::Owned(row.get(2)),
            name: Cow::Owned(row.get(3)),
            kind: Cow::Owned(row.get(4)),
            capacity_bytes: row.get(5),
            is_immutable: row.get(6),
            retention_days: row.get(7),
            is_copy: row.get(8),
        };
        (row.get(0), repository)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes repositories.
pub(crate) async fn upsert_repositories(tx: &TenantTx, rows: &[(&Uuid, &Repository<'_>)]) -> Result<(), MeteringError> {
    let ids = column(rows, |(id, _)| **id);
    let updated_at = column(rows, |(_, row)| row.updated_at);
    let vendor_ids = column(rows, |(_, row)| &*row.vendor_id);
    let names = column(rows, |(_, row)| &*row.name);
    let kinds = column(rows, |(_, row)| &*row.kind);
    let capacities = column(rows, |(_, row)| row.capacity_bytes);
    let immutable = column(rows, |(_, row)| row.is_immutable);
    let retention = column(rows, |(_, row)| row.retention_days);
    let copies = column(rows, |(_, row)| row.is_copy);
    tx.execute(UPSERT_REPOSITORIES, &[&ids, &updated_at, &vendor_ids, &names, &kinds, &capacities, &immutable, &retention, &copies])
        .await?;
    Ok(())
}

/// Returns the stored samples.
pub(crate) async fn list_samples(tx: &TenantTx, keys: &[&(Uuid, Timestamp)]) -> Result<Vec<((Uuid, Timestamp), Sample)>, MeteringError> {
    let repositories = column(keys, |(repository, _)| *repository);
    let sampled_at = column(keys, |(_, at)| *at);
    let rows = tx.query(LIST_SAMPLES, &[&repositories, &sampled_at]).await?;
    Ok(rows.iter().map(|row| ((row.get(0), row.get(1)), Sample { used_bytes: row.get(2) })).collect())
}

/// Writes samples, each with its billing day.
pub(crate) async fn upsert_samples(tx: &TenantTx, rows: &[(&(Uuid, Timestamp), &Sample, Date)]) -> Result<(), MeteringError> {
    let repositories = column(rows, |((repository, _), ..)| *repository);
    let sampled_at = column(rows, |((_, at), ..)| *at);
    let billing_on = column(rows, |(.., day)| *day);
    let used = column(rows, |(_, row, _)| row.used_bytes);
    tx.execute(UPSERT_SAMPLES, &[&repositories, &sampled_at, &billing_on, &used]).await?;
    Ok(())
}

/// Returns the stored days of replication.
pub(crate) async fn list_cycles(tx: &TenantTx, keys: &[&(Uuid, Date)]) -> Result<Vec<((Uuid, Date), Cycles)>, MeteringError> {
    let machines = column(keys, |(machine, _)| *machine);
    let days = column(keys, |(_, day)| *day);
    let rows = tx.query(LIST_CYCLES, &[&machines, &days]).await?;
    Ok(rows.iter().map(cycles).collect())
}

/// A summary has no single cycles beside it, or an instant of its own.
fn cycles(row: &granary_db::Row) -> ((Uuid, Date), Cycles) {
    let sum = |last_at, first: usize| CycleSum {
        last_at,
        completed: row.get(first),
        failed: row.get(first + 1),
        transferred_bytes: row.get(first + 2),
        lag_seconds_max: row.get(first + 3),
    };
    let single = row.get::<_, Option<Timestamp>>(8).map(|last_at| sum(last_at, 9));
    let summary_at = if single.is_none() { Some(row.get(2)) } else { row.get(7) };
    ((row.get(0), row.get(1)), Cycles { summary: summary_at.map(|last_at| sum(last_at, 3)), single })
}

/// Writes days of replication, each with what counts of it and its billing day.
pub(crate) async fn upsert_cycles(tx: &TenantTx, rows: &[(&(Uuid, Date), &Cycles)]) -> Result<(), MeteringError> {
    let zone = &tx.msp().time_zone;
    let counted = column(rows, |(_, row)| row.counted());
    let machines = column(rows, |((machine, _), _)| *machine);
    let service_on = column(rows, |((_, day), _)| *day);
    let billing_on = column(&counted, |row| day_of(row.last_at, zone));
    let last_cycle_at = column(&counted, |row| row.last_at);
    let completed = column(&counted, |row| row.completed);
    let failed = column(&counted, |row| row.failed);
    let transferred = column(&counted, |row| row.transferred_bytes);
    let lag = column(&counted, |row| row.lag_seconds_max);
    let summary_at = column(rows, |(_, row)| row.summary.map(|summary| summary.last_at));
    let single_last_at = column(rows, |(_, row)| row.single.map(|single| single.last_at));
    let single_completed = column(rows, |(_, row)| row.single.map(|single| single.completed));
    let single_failed = column(rows, |(_, row)| row.single.map(|single| single.failed));
    let single_bytes = column(rows, |(_, row)| row.single.map(|single| single.transferred_bytes));
    let single_lag = column(rows, |(_, row)| row.single.map(|single| single.lag_seconds_max));
    tx.execute(
        UPSERT_CYCLES,
        &[
            &machines,
            &service_on,
            &billing_on,
            &last_cycle_at,
            &completed,
            &failed,
            &transferred,
            &lag,
            &summary_at,
            &single_last_at,
            &single_completed,
            &single_failed,
            &single_bytes,
            &single_lag,
        ],
    )
    .await?;
    Ok(())
}
