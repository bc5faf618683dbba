//! Repositories, their samples, and replication cycles.

use std::borrow::Cow;

use granary_tenants::TenantTx;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::row::{Cycles, Repository, Sample};

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
        stored.transferred_bytes, stored.lag_seconds_max
    from unnest($1::uuid[], $2::date[]) as given (machine_id, service_on)
    join replication_cycles as stored on stored.machine_id = given.machine_id and stored.service_on = given.service_on";

const UPSERT_CYCLES: &str = "
    insert into replication_cycles (machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes,
        lag_seconds_max)
    select machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes, lag_seconds_max
    from unnest($1::uuid[], $2::date[], $3::date[], $4::timestamptz[], $5::int[], $6::int[], $7::bigint[], $8::int[])
        as given (machine_id, service_on, billing_on, last_cycle_at, cycles_completed, cycles_failed, transferred_bytes, lag_seconds_max)
    on conflict (machine_id, service_on) do update set billing_on = excluded.billing_on, last_cycle_at = excluded.last_cycle_at,
        cycles_completed = excluded.cycles_completed, cycles_failed = excluded.cycles_failed,
        transferred_bytes = excluded.transferred_bytes, lag_seconds_max = excluded.lag_seconds_max";

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
    let read = |row: &granary_db::Row| {
        let cycles = Cycles {
            last_cycle_at: row.get(2),
            cycles_completed: row.get(3),
            cycles_failed: row.get(4),
            transferred_bytes: row.get(5),
            lag_seconds_max: row.get(6),
        };
        ((row.get(0), row.get(1)), cycles)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes days of replication, each with its billing day.
pub(crate) async fn upsert_cycles(tx: &TenantTx, rows: &[(&(Uuid, Date), &Cycles, Date)]) -> Result<(), MeteringError> {
    let machines = column(rows, |((machine, _), ..)| *machine);
    let service_on = column(rows, |((_, day), ..)| *day);
    let billing_on = column(rows, |(.., day)| *day);
    let last_cycle_at = column(rows, |(_, row, _)| row.last_cycle_at);
    let completed = column(rows, |(_, row, _)| row.cycles_completed);
    let failed = column(rows, |(_, row, _)| row.cycles_failed);
    let transferred = column(rows, |(_, row, _)| row.transferred_bytes);
    let lag = column(rows, |(_, row, _)| row.lag_seconds_max);
    tx.execute(UPSERT_CYCLES, &[&machines, &service_on, &billing_on, &last_cycle_at, &completed, &failed, &transferred, &lag]).await?;
    Ok(())
}
