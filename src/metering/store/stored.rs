//! Chains, copies and maintenance windows.

use std::borrow::Cow;

use granary_tenants::TenantTx;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::row::{Stored, Window};

const LIST_STORED: &str = "
    select id, source, vendor_id, kind, state, repository_id, machine_id, run_id, restore_points, stored_bytes, oldest_at, retention_days,
        immutable_until, is_verified, reported_at
    from stored_backups where id = any($1)";

const UPSERT_STORED: &str = "
    insert into stored_backups (id, source, vendor_id, kind, state, repository_id, machine_id, run_id, restore_points, stored_bytes, oldest_at,
        retention_days, immutable_until, is_verified, reported_at)
    select id, source, vendor_id, kind, state, repository_id, machine_id, run_id, restore_points, stored_bytes, oldest_at,
        retention_days, immutable_until, is_verified, reported_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::uuid[], $7::uuid[], $8::uuid[], $9::int[], $10::bigint[],
        $11::timestamptz[], $12::int[], $13::timestamptz[], $14::boolean[], $15::timestamptz[])
        as given (id, source, vendor_id, kind, state, repository_id, machine_id, run_id, restore_points, stored_bytes, oldest_at,
            retention_days, immutable_until, is_verified, reported_at)
    on conflict (id) do update set state = excluded.state, repository_id = excluded.repository_id, machine_id = excluded.machine_id,
        run_id = excluded.run_id, restore_points = excluded.restore_points, stored_bytes = excluded.stored_bytes,
        oldest_at = excluded.oldest_at, retention_days = excluded.retention_days, immutable_until = excluded.immutable_until,
        is_verified = excluded.is_verified, reported_at = excluded.reported_at";

const LIST_WINDOWS: &str = "
    select id, source, vendor_id, machine_id, starts_at, ends_at, reason, is_cancelled, said_at from maintenance_windows where id = any($1)";

const UPSERT_WINDOWS: &str = "
    insert into maintenance_windows (id, source, vendor_id, machine_id, starts_at, ends_at, reason, is_cancelled, said_at)
    select id, source, vendor_id, machine_id, starts_at, ends_at, reason, is_cancelled, said_at
    from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::boolean[], $9::timestamptz[])
        as given (id, source, vendor_id, machine_id, starts_at, ends_at, reason, is_cancelled, said_at)
    on conflict (id) do update set machine_id = excluded.machine_id, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
        reason = excluded.reason, is_cancelled = excluded.is_cancelled, said_at = excluded.said_at";

/// Returns the stored rows of chains and copies.
pub(crate) async fn list_stored(tx: &TenantTx, ids: &[&Uuid]) -> Result<Vec<(Uuid, Stored<'static>)>, MeteringError> {
    let rows = tx.query(LIST_STORED, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let stored = Stored {
            source: Cow::Owned(row.get(1)),
            vendor_id: Cow::Owned(row.get(2)),
            kind: Cow::Owned(row.get(3)),
            state: Cow::Owned(row.get(4)),
            repository_id: row.get(5),
            machine_id: row.get(6),
            run_id: row.get(7),
            restore_points: row.get(8),
            stored_bytes: row.get(9),
            oldest_at: row.get(10),
            retention_days: row.get(11),
            immutable_until: row.get(12),
            is_verified: row.get(13),
            reported_at: row.get(14),
        };
        (row.get(0), stored)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes chains and copies.
pub(crate) async fn upsert_stored(tx: &TenantTx, rows: &[(&Uuid, &Stored<'_>)]) -> Result<(), MeteringError> {
    let ids = column(rows, |(id, _)| **id);
    let sources = column(rows, |(_, row)| &*row.source);
    let vendor_ids = column(rows, |(_, row)| &*row.vendor_id);
    let kinds = column(rows, |(_, row)| &*row.kind);
    let states = column(rows, |(_, row)| &*row.state);
    let repositories = column(rows, |(_, row)| row.repository_id);
    let machines = column(rows, |(_, row)| row.machine_id);
    let runs = column(rows, |(_, row)| row.run_id);
    let points = column(rows, |(_, row)| row.restore_points);
    let bytes = column(rows, |(_, row)| row.stored_bytes);
    let oldest_at = column(rows, |(_, row)| row.oldest_at);
    let retention = column(rows, |(_, row)| row.retention_days);
    let immutable = column(rows, |(_, row)| row.immutable_until);
    let verified = column(rows, |(_, row)| row.is_verified);
    let reported_at = column(rows, |(_, row)| row.reported_at);
    tx.execute(
        UPSERT_STORED,
        &[
            &ids,
            &sources,
            &vendor_ids,
            &kinds,
            &states,
            &repositories,
            &machines,
            &runs,
            &points,
            &bytes,
            &oldest_at,
            &retention,
            &immutable,
            &verified,
            &reported_at,
        ],
    )
    .await?;
    Ok(())
}

/// Returns the stored maintenance windows.
pub(crate) async fn list_windows(tx: &TenantTx, ids: &[&Uuid]) -> Result<Vec<(Uuid, Window<'static>)>, MeteringError> {
    let rows = tx.query(LIST_WINDOWS, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let window = Window {
            source: Cow::Owned(row.get(1)),
            vendor_id: Cow::Owned(row.get(2)),
            machine_id: row.get(3),
            starts_at: row.get(4),
            ends_at: row.get(5),
            reason: Cow::Owned(row.get(6)),
            is_cancelled: row.get(7),
            said_at: row.get(8),
        };
        (row.get(0), window)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes maintenance windows.
pub(crate) async fn upsert_windows(tx: &TenantTx, rows: &[(&Uuid, &Window<'_>)]) -> Result<(), MeteringError> {
    let ids = column(rows, |(id, _)| **id);
    let sources = column(rows, |(_, row)| &*row.source);
    let vendor_ids = column(rows, |(_, row)| &*row.vendor_id);
    let machines = column(rows, |(_, row)| row.machine_id);
    let starts_at = column(rows, |(_, row)| row.starts_at);
    let ends_at = column(rows, |(_, row)| row.ends_at);
    let reasons = column(rows, |(_, row)| &*row.reason);
    let cancelled = column(rows, |(_, row)| row.is_cancelled);
    let said_at = column(rows, |(_, row)| row.said_at);
    tx.execute(UPSERT_WINDOWS, &[&ids, &sources, &vendor_ids, &machines, &starts_at, &ends_at, &reasons, &cancelled, &said_at]).await?;
    Ok(())
}
