//! Backup runs with their attempts and disks.

use std::borrow::Cow;

use granary_tenants::TenantTx;
use granary_types::RunState;
use jiff::Timestamp;
use jiff::civil::Date;
use uuid::Uuid;

use super::column;
use crate::error::MeteringError;
use crate::run::{Attempt, Derived, Disk, Gauge};

/// The limit keeps the planner at one index probe a run, whatever it believes about the size of a young table.
const LIST_KNOWN: &str = "
    select given.id, known.machine_id, known.kind, known.state, known.started_at, known.ended_at, known.error
    from unnest($1::uuid[]) as given (id)
    cross join lateral (
        select machine_id, kind, state, started_at, ended_at, error from backup_runs where id = given.id limit 1
    ) as known";

const LIST_ATTEMPTS: &str = "
    select known.run_id, known.attempt, known.kind, known.state, known.started_at, known.ended_at, known.error, known.corrected_at,
        known.scheduled_at, known.progressed_at, known.phase, known.progress_bytes
    from unnest($1::uuid[]) as given (id)
    cross join lateral (
        select run_id, attempt, kind, state, started_at, ended_at, error, corrected_at, scheduled_at, progressed_at, phase, progress_bytes
        from backup_attempts where run_id = given.id offset 0
    ) as known";

const LIST_DISKS: &str = "
    select known.run_id, known.disk_index, known.attempt, known.state, known.size_bytes, known.transferred_bytes, known.corrected_at
    from unnest($1::uuid[]) as given (id)
    cross join lateral (
        select run_id, disk_index, attempt, state, size_bytes, transferred_bytes, corrected_at from backup_disks where run_id = given.id offset 0
    ) as known";

macro_rules! insert_attempts {
    () => {
        "
    insert into backup_attempts (run_id, started_at, ended_at, attempt, kind, state, error, corrected_at, scheduled_at, progressed_at, phase,
        progress_bytes)
    select run_id, started_at, ended_at, attempt, kind, state, error, corrected_at, scheduled_at, progressed_at, phase, progress_bytes
    from unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::int[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
        $9::timestamptz[], $10::timestamptz[], $11::text[], $12::bigint[])
        as given (run_id, started_at, ended_at, attempt, kind, state, error, corrected_at, scheduled_at, progressed_at, phase, progress_bytes)"
    };
}

const INSERT_ATTEMPTS: &str = insert_attempts!();

const UPSERT_ATTEMPTS: &str = concat!(
    insert_attempts!(),
    " on conflict (run_id, attempt) do update set started_at = excluded.started_at, ended_at = excluded.ended_at, kind = excluded.kind,
        state = excluded.state, error = excluded.error, corrected_at = excluded.corrected_at, scheduled_at = excluded.scheduled_at,
        progressed_at = excluded.progressed_at, phase = excluded.phase, progress_bytes = excluded.progress_bytes"
);

macro_rules! insert_disks {
    () => {
        "
    insert into backup_disks (run_id, size_bytes, transferred_bytes, ended_at, disk_index, attempt, state, corrected_at)
    select run_id, size_bytes, transferred_bytes, ended_at, disk_index, attempt, state, corrected_at
    from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::timestamptz[], $5::int[], $6::int[], $7::text[], $8::timestamptz[])
        as given (run_id, size_bytes, transferred_bytes, ended_at, disk_index, attempt, state, corrected_at)"
    };
}

const INSERT_DISKS: &str = insert_disks!();

const UPSERT_DISKS: &str = concat!(
    insert_disks!(),
    " on conflict (run_id, disk_index) do update set size_bytes = excluded.size_bytes, transferred_bytes = excluded.transferred_bytes,
        ended_at = excluded.ended_at, attempt = excluded.attempt, state = excluded.state, corrected_at = excluded.corrected_at"
);

macro_rules! insert_runs {
    () => {
        "
    insert into backup_runs (id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
        attempt_count, kind, state, source, vendor_id, error)
    select id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
        attempt_count, kind, state, source, vendor_id, error
    from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::timestamptz[], $5::bigint[], $6::bigint[], $7::bigint[], $8::date[], $9::date[],
        $10::int[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[])
        as given (id, machine_id, started_at, ended_at, transferred_bytes, protected_bytes, duration_ms, service_on, billing_on,
            attempt_count, kind, state, source, vendor_id, error)"
    };
}

const INSERT_RUNS: &str = insert_runs!();

const UPSERT_RUNS: &str = concat!(
    insert_runs!(),
    " on conflict (id) do update set machine_id = excluded.machine_id, started_at = excluded.started_at, ended_at = excluded.ended_at,
        transferred_bytes = excluded.transferred_bytes, protected_bytes = excluded.protected_bytes, duration_ms = excluded.duration_ms,
        service_on = excluded.service_on, billing_on = excluded.billing_on, attempt_count = excluded.attempt_count, kind = excluded.kind,
        state = excluded.state, error = excluded.error"
);

/// Whether rows are in their table already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rows {
    New,
    /// Some of them may be.
    Known,
}

/// A run that is stored.
#[derive(Debug)]
pub(crate) struct KnownRun {
    pub(crate) id: Uuid,
    pub(crate) machine_id: Uuid,
    /// Its only attempt, when no attempt of it is stored.
    pub(crate) only_attempt: Attempt<'static>,
}

/// Returns those of the runs that are stored.
pub(crate) async fn list_known(tx: &TenantTx, ids: &[Uuid]) -> Result<Vec<KnownRun>, MeteringError> {
    let rows = tx.query(LIST_KNOWN, &[&ids]).await?;
    let read = |row: &granary_db::Row| {
        let state: RunState = row.try_get(3).map_err(|error| MeteringError::Corrupt(error.to_string()))?;
        let (kind, error): (String, Option<String>) = (row.get(2), row.get(6));
        let only_attempt = Attempt {
            kind: Cow::Owned(kind),
            state,
            started_at: row.get(4),
            ended_at: row.get(5),
            error: error.map(Cow::Owned),
            corrected_at: None,
            gauge: Gauge::default(),
        };
        Ok(KnownRun { id: row.get(0), machine_id: row.get(1), only_attempt })
    };
    rows.iter().map(read).collect()
}

/// Returns the stored attempts of runs, keyed by run and number.
pub(crate) async fn list_attempts(tx: &TenantTx, runs: &[Uuid]) -> Result<Vec<((Uuid, i32), Attempt<'static>)>, MeteringError> {
    let rows = tx.query(LIST_ATTEMPTS, &[&runs]).await?;
    let read = |row: &granary_db::Row| {
        let state: RunState = row.try_get(3).map_err(|error| MeteringError::Corrupt(error.to_string()))?;
        let (kind, error): (String, Option<String>) = (row.get(2), row.get(6));
        let phase: Option<String> = row.get(10);
        let gauge = Gauge { scheduled_at: row.get(8), progressed_at: row.get(9), phase: phase.map(Cow::Owned), bytes: row.get(11) };
        let (started_at, ended_at, error) = (row.get(4), row.get(5), error.map(Cow::Owned));
        let attempt = Attempt { kind: Cow::Owned(kind), state, started_at, ended_at, error, corrected_at: row.get(7), gauge };
        Ok(((row.get(0), row.get(1)), attempt))
    };
    rows.iter().map(read).collect()
}

/// Returns the stored disks of runs, keyed by run and index.
pub(crate) async fn list_disks(tx: &TenantTx, runs: &[Uuid]) -> Result<Vec<((Uuid, i32), Disk<'static>)>, MeteringError> {
    let rows = tx.query(LIST_DISKS, &[&runs]).await?;
    let read = |row: &granary_db::Row| {
        let disk = Disk {
            attempt: row.get(2),
            state: Cow::Owned(row.get(3)),
            size_bytes: row.get(4),
            transferred_bytes: row.get(5),
            corrected_at: row.get(6),
        };
        ((row.get(0), row.get(1)), disk)
    };
    Ok(rows.iter().map(read).collect())
}

/// Writes attempts.
pub(crate) async fn write_attempts(tx: &TenantTx, rows: &[((Uuid, i32), &Attempt<'_>)], are: Rows) -> Result<(), MeteringError> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = if are == Rows::New { INSERT_ATTEMPTS } else { UPSERT_ATTEMPTS };
    let runs = column(rows, |((run, _), _)| *run);
    let started_at = column(rows, |(_, attempt)| attempt.started_at);
    let ended_at = column(rows, |(_, attempt)| attempt.ended_at);
    let numbers = column(rows, |((_, number), _)| *number);
    let kinds = column(rows, |(_, attempt)| &*attempt.kind);
    let states = column(rows, |(_, attempt)| attempt.state.as_str());
    let errors = column(rows, |(_, attempt)| attempt.error.as_deref());
    let corrected_at = column(rows, |(_, attempt)| attempt.corrected_at);
    let scheduled_at = column(rows, |(_, attempt)| attempt.gauge.scheduled_at);
    let progressed_at = column(rows, |(_, attempt)| attempt.gauge.progressed_at);
    let phases = column(rows, |(_, attempt)| attempt.gauge.phase.as_deref());
    let bytes = column(rows, |(_, attempt)| attempt.gauge.bytes);
    tx.execute(
        statement,
        &[&runs, &started_at, &ended_at, &numbers, &kinds, &states, &errors, &corrected_at, &scheduled_at, &progressed_at, &phases, &bytes],
    )
    .await?;
    Ok(())
}

/// Writes disks, each with the end of its run.
pub(crate) async fn write_disks(tx: &TenantTx, rows: &[((Uuid, i32), &Disk<'_>, Timestamp)], are: Rows) -> Result<(), MeteringError> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = if are == Rows::New { INSERT_DISKS } else { UPSERT_DISKS };
    let runs = column(rows, |((run, _), ..)| *run);
    let sizes = column(rows, |(_, disk, _)| disk.size_bytes);
    let transferred = column(rows, |(_, disk, _)| disk.transferred_bytes);
    let ended_at = column(rows, |(.., ended_at)| *ended_at);
    let indexes = column(rows, |((_, index), ..)| *index);
    let attempts = column(rows, |(_, disk, _)| disk.attempt);
    let states = column(rows, |(_, disk, _)| &*disk.state);
    let corrected_at = column(rows, |(_, disk, _)| disk.corrected_at);
    tx.execute(statement, &[&runs, &sizes, &transferred, &ended_at, &indexes, &attempts, &states, &corrected_at]).await?;
    Ok(())
}

/// A run, ready to be written.
#[derive(Debug)]
pub(crate) struct RunRow<'r> {
    pub(crate) id: Uuid,
    pub(crate) machine_id: Uuid,
    pub(crate) source: &'r str,
    pub(crate) vendor_id: &'r str,
    pub(crate) service_on: Date,
    pub(crate) billing_on: Date,
    pub(crate) derived: Derived<'r>,
}

/// Writes runs.
pub(crate) async fn write_runs(tx: &TenantTx, rows: &[RunRow<'_>], are: Rows) -> Result<(), MeteringError> {
    if rows.is_empty() {
        return Ok(());
    }
    let statement = if are == Rows::New { INSERT_RUNS } else { UPSERT_RUNS };
    let ids = column(rows, |row| row.id);
    let machines = column(rows, |row| row.machine_id);
    let started_at = column(rows, |row| row.derived.started_at);
    let ended_at = column(rows, |row| row.derived.ended_at);
    let transferred = column(rows, |row| row.derived.transferred_bytes);
    let protected = column(rows, |row| row.derived.protected_bytes);
    let durations = column(rows, |row| row.derived.duration_ms);
    let service_on = column(rows, |row| row.service_on);
    let billing_on = column(rows, |row| row.billing_on);
    let attempts = column(rows, |row| row.derived.attempt_count);
    let kinds = column(rows, |row| row.derived.kind);
    let states = column(rows, |row| row.derived.state.as_str());
    let sources = column(rows, |row| row.source);
    let vendor_ids = column(rows, |row| row.vendor_id);
    let errors = column(rows, |row| row.derived.error);
    tx.execute(
        statement,
        &[
            &ids,
            &machines,
            &started_at,
            &ended_at,
            &transferred,
            &protected,
            &durations,
            &service_on,
            &billing_on,
            &attempts,
            &kinds,
            &states,
            &sources,
            &vendor_ids,
            &errors,
        ],
    )
    .await?;
    Ok(())
}
